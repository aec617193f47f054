"""`LRScheduler`: the base class of learning-rate schedules.

`tinygrad_cnn.train.fit` steps a schedule itself. In a loop of your own, call ``schedule.step()``
after ``optimizer.step()``: once per update or once per epoch, whichever unit the schedule's
arguments use.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal

from tinygrad_cnn.core.effects import effect
from tinygrad_cnn.optim.optimizer import Optimizer, Option, options_of
from tinygrad_cnn.optim.param_group import ParamGroup
from tinygrad_cnn.support.arguments import number, whole


class LRScheduler:
    """Base class: a learning rate that is a function of t, the number of calls of `step`.

    Subclasses define `rate`.

    Parameters
    ----------
    optimizer : Optimizer
        Its current learning rate becomes lr₀; that of a parameter group, the lr₀ of the group.

    Attributes
    ----------
    interval : {"batch", "epoch"}
        How often `tinygrad_cnn.train.fit` calls `step`; a class attribute.
    last_epoch : int
        t, also where a step is a batch: the name is PyTorch's.
    base_lr : float
        lr₀.
    group_lrs : list of float
        lr₀ of each parameter group with a learning rate of its own.

    Raises
    ------
    TypeError
        If `optimizer` is not an Optimizer.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> class Halving(tg.optim.LRScheduler):
    ...     def rate(self, t):
    ...         return self.base_lr / 2**t
    >>> optimizer = tg.optim.SGD([tg.nn.Parameter([0.0])], lr=1.0)
    >>> schedule = Halving(optimizer)
    >>> schedule.step()
    >>> optimizer.lr
    0.5
    """

    interval: ClassVar[Literal["batch", "epoch"]] = "batch"
    last_epoch = Option(partial(whole, least=0))
    base_lr = Option(number)

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"{type(self).__name__}: optimizer is {type(optimizer).__name__}, expected an "
                "Optimizer"
            )
        self.optimizer = optimizer
        self.last_epoch = 0
        # An unstepped schedule, such as a warm-up, may have changed the rates already.
        rates = vars(optimizer).get("_rates_before", _rates(optimizer))
        self.base_lr, self.group_lrs = rates[0], rates[1:]

    def begin(self) -> None:
        """Set the learning rate to that of t = 0: for a schedule that does not start at lr₀."""
        vars(self.optimizer)["_rates_before"] = [self.base_lr, *self.group_lrs]
        self.apply()

    def rate(self, t: int) -> float:
        """Return the learning rate after `t` steps."""
        raise NotImplementedError(f"{type(self).__name__} defines no rate")

    @effect
    def step(self, metrics: Any = None) -> None:
        """Increment t, and set the optimizer's learning rate.

        Parameters
        ----------
        metrics : float or Tensor of one element, optional
            The loss or accuracy of the epoch; only `ReduceLROnPlateau` uses it.
        """
        self._own_groups(self.group_lrs)
        vars(self.optimizer).pop("_rates_before", None)
        self.last_epoch += 1
        self.apply()

    def apply(self) -> None:
        """Set the learning rates of the optimizer and its groups to those of the current t."""
        self.optimizer.lr = self.rate(self.last_epoch)
        for group, base_lr in zip(self._own_groups(self.group_lrs), self.group_lrs, strict=True):
            of_group = copy.copy(self)
            of_group.base_lr = base_lr
            group["lr"] = of_group.rate(self.last_epoch)

    def _own_groups(self, rates: list[float]) -> list[ParamGroup]:
        """Return the groups with a learning rate of their own; `rates` has one for each."""
        own = [group for group in self.optimizer.param_groups if "lr" in group.own]
        if len(own) != len(rates):
            raise ValueError(
                f"{type(self).__name__}: {len(own)} parameter groups have a learning rate of their "
                f"own, but the schedule knows {len(rates)}; set them before making the schedule"
            )
        return own

    def get_last_lr(self) -> list[float]:
        """Return the current learning rate of each parameter group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return all attributes that are numbers, strings or lists of them, by name."""
        return {name: copy.copy(value) for name, value in vars(self).items() if _is_plain(value)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the progress and arguments of another schedule of this class; set the rate.

        Raises
        ------
        ValueError
            If `state_dict` is not that of a schedule of this class. Nothing is changed.
        """
        vars(self).update(self.checked_state(state_dict))
        self.apply()

    def checked_state(self, state_dict: Mapping[str, Any]) -> dict[str, Any]:
        """Return the attributes to set from `state_dict`, or raise ValueError."""
        owner = f"{type(self).__name__}.load_state_dict"
        options = options_of(type(self))
        known = LRScheduler.state_dict(self)
        state_dict = {"group_lrs": [], **state_dict}  # earlier versions had no groups
        if state_dict.keys() != known.keys():
            raise ValueError(f"{owner}: got {sorted(state_dict)}, expected {sorted(known)}")
        checked: dict[str, Any] = {}
        for name, value in state_dict.items():
            if name in options:
                checked[name] = options[name].check(owner, name, value)
            elif _is_plain(value):
                checked[name] = tuple(value) if isinstance(known[name], tuple) else copy.copy(value)
            else:
                raise ValueError(f"{owner}: {name} is {value!r}, expected numbers or strings")
        self._own_groups(checked["group_lrs"])
        return checked


def _rates(optimizer: Optimizer) -> list[float]:
    """Return the learning rates of the optimizer, and of groups with one of their own."""
    return [optimizer.lr, *(group["lr"] for group in optimizer.param_groups if "lr" in group.own)]


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, int | float | str)
