"""``torch.optim.lr_scheduler``: schedules of the learning rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinygrad_cnn import optim
from tinygrad_cnn.compat.torch import names
from tinygrad_cnn.optim import LRScheduler, ReduceLROnPlateau


def _ported(kind: Any) -> Any:
    """Return a schedule of ours that takes PyTorch's arguments."""

    def __init__(  # noqa: N807
        self: Any, optimizer: Any, *args: Any, last_epoch: int = -1, verbose: Any = None,
        **options: Any,
    ) -> None:  # fmt: skip
        if last_epoch != -1:
            raise NotImplementedError(
                f"{kind.__name__}: last_epoch={last_epoch} is not here; use load_state_dict()"
            )
        kind.__init__(self, optimizer, *args, **options)

    body = {"__init__": __init__, "__doc__": kind.__doc__, "__module__": __name__}
    return type(kind.__name__, (kind,), body)


for _name in optim.__all__:
    _kind = getattr(optim, _name)
    if isinstance(_kind, type) and issubclass(_kind, LRScheduler | ReduceLROnPlateau):
        globals()[_name] = LRScheduler if _kind is LRScheduler else _ported(_kind)


class OneCycleLR(globals()["OneCycleLR"]):  # type: ignore[misc]  # with PyTorch's peak
    """`tinygrad_cnn.optim.OneCycleLR` with the peak at ``pct_start * total_steps - 1``."""

    def _peak(self) -> float:
        return float(self.pct_start * self.total_steps) - 1.0


_LRScheduler = LRScheduler

if not TYPE_CHECKING:
    __getattr__ = names.missing(__name__, "torch.optim.lr_scheduler", "torch.optim.lr_scheduler")
else:

    def __getattr__(name: str) -> Any: ...
