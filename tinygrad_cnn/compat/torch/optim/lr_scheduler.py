"""``torch.optim.lr_scheduler``: schedules of the learning rate."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tinygrad_cnn import optim
from tinygrad_cnn.compat.torch import names
from tinygrad_cnn.compat.torch.optim import optimizer as base


class LRScheduler(metaclass=ABCMeta):  # noqa: B024  # `get_lr` may be left out, as in PyTorch
    """Base class of schedules of your own: a subclass defines ``get_lr``.

    It returns the rate of each parameter group, from ``self.base_lrs``, the rates at the beginning,
    and ``self.last_epoch``, the number of steps so far.
    """

    def __init__(self, optimizer: Any, last_epoch: int = -1, verbose: Any = None) -> None:
        self.optimizer = optimizer
        self.last_epoch = last_epoch
        self.base_lrs = [group["lr"] for group in optimizer.param_groups]
        self.step()

    def get_lr(self) -> list[float]:
        """Return the learning rates at ``last_epoch``."""
        raise NotImplementedError(f"{type(self).__name__} defines no get_lr")

    def get_last_lr(self) -> list[float]:
        """Return the current learning rate of each parameter group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def step(self, epoch: int | None = None) -> None:
        """Go on to the next step, or to `epoch`, and set the learning rates."""
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = rate

    def state_dict(self) -> dict[str, Any]:
        """Return all attributes but the optimizer."""
        return {name: value for name, value in vars(self).items() if name != "optimizer"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Set the attributes."""
        vars(self).update(state_dict)


def _ported(kind: Any) -> Any:
    """Return a schedule of ours that takes PyTorch's arguments."""

    def __init__(
        self: Any, optimizer: Any, *args: Any, last_epoch: int = -1, verbose: Any = None,
        **options: Any,
    ) -> None:  # fmt: skip
        if last_epoch != -1:
            raise NotImplementedError(
                f"{kind.__name__}: last_epoch={last_epoch} is not here; use load_state_dict()"
            )
        own = isinstance(optimizer, base.Optimizer) and not isinstance(optimizer, optim.Optimizer)
        kind.__init__(self, base.RatesOf(optimizer) if own else optimizer, *args, **options)

    def apply(self: Any) -> None:
        """Set the learning rates of the optimizer and its groups to those of the current t."""
        kind.apply(self)
        if isinstance(self.optimizer, base.RatesOf):
            rates = self.optimizer.param_groups
            for group, rate in zip(self.optimizer.whole.param_groups, rates, strict=True):
                group["lr"] = rate["lr"]

    body = {"__init__": __init__, "apply": apply, "__doc__": kind.__doc__, "__module__": __name__}
    return type(kind.__name__, (kind,), body)


for _name in optim.__all__:
    _kind = getattr(optim, _name)
    _kinds = optim.LRScheduler | optim.ReduceLROnPlateau
    if isinstance(_kind, type) and issubclass(_kind, _kinds) and _kind is not optim.LRScheduler:
        globals()[_name] = _ported(_kind)


class OneCycleLR(globals()["OneCycleLR"]):  # type: ignore[misc]  # with PyTorch's peak
    """`tinygrad_cnn.optim.OneCycleLR` with the peak at ``pct_start * total_steps - 1``."""

    def _peak(self) -> float:
        return float(self.pct_start * self.total_steps) - 1.0


LRScheduler.register(optim.LRScheduler)
_LRScheduler = LRScheduler

if not TYPE_CHECKING:
    __getattr__ = names.missing(__name__, "torch.optim.lr_scheduler", "torch.optim.lr_scheduler")
else:

    def __getattr__(name: str) -> Any: ...
