"""Schedules made of other schedules: one after another, or all at once."""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from tinygrad_cnn.optim.lr_decay import milestones_of
from tinygrad_cnn.optim.lr_scheduler import LRScheduler
from tinygrad_cnn.optim.optimizer import Optimizer, Option
from tinygrad_cnn.optim.plateau import ReduceLROnPlateau


class CombinedLR(LRScheduler):
    """Base class of schedules made of others."""

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler]) -> None:
        super().__init__(optimizer)
        owner = type(self).__name__
        self.schedulers = list(schedulers)
        if not self.schedulers:
            raise ValueError(f"{owner}: schedulers is empty, expected one or more")
        for i, each in enumerate(self.schedulers):
            if not isinstance(each, LRScheduler) or isinstance(each, ReduceLROnPlateau):
                raise TypeError(
                    f"{owner}: schedulers[{i}] is {type(each).__name__}, expected a schedule whose "
                    "rate is a function of t"
                )
            if each.optimizer is not optimizer:
                raise ValueError(f"{owner}: schedulers[{i}] belongs to another optimizer")
            if getattr(each, "cycle_momentum", False):
                raise ValueError(
                    f"{owner}: schedulers[{i}] changes the momentum, which a combination does not; "
                    "pass it cycle_momentum=False"
                )

    def _rate_of(self, i: int, t: int) -> float:
        """Return the rate of schedule `i` after `t` steps, from our lr₀."""
        each = copy.copy(self.schedulers[i])
        each.base_lr = self.base_lr
        return each.rate(t)

    def state_dict(self) -> dict[str, Any]:
        """Return the state, and those of the schedules as ``"0.gamma"`` and so on."""
        found = super().state_dict()
        for i, each in enumerate(self.schedulers):
            found |= {f"{i}.{name}": value for name, value in each.state_dict().items()}
        return found

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the state of another schedule of this class, made of the same classes."""
        schedulers = [copy.copy(each) for each in self.schedulers]
        for i, each in enumerate(schedulers):
            own = {k.partition(".")[2]: v for k, v in state_dict.items() if k.startswith(f"{i}.")}
            vars(each).update(each.checked_state(own))
        own = {k: v for k, v in state_dict.items() if not k.partition(".")[0].isdigit()}
        vars(self).update(self.checked_state(own), schedulers=schedulers)
        self.apply()


class SequentialLR(CombinedLR):
    """Use one schedule after another, such as a warm-up and then a cosine.

    Parameters
    ----------
    optimizer : Optimizer
        Its learning rate is set to that of t = 0.
    schedulers : sequence of LRScheduler
        Of the same optimizer, none a `ReduceLROnPlateau`.
    milestones : sequence of int
        The numbers of steps after which the next schedule begins, with its t = 0.

    Raises
    ------
    ValueError
        If there is not one milestone less than schedules, or a schedule is of another optimizer.
    TypeError
        If a schedule is no such schedule.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> optim = tg.optim
    >>> optimizer = optim.SGD([tg.nn.Parameter([0.0])], lr=1.0)
    >>> warm_up = optim.LinearLR(optimizer, start_factor=0.5, total_iters=2)
    >>> schedule = optim.SequentialLR(
    ...     optimizer, [warm_up, optim.ExponentialLR(optimizer, gamma=0.5)], milestones=[2]
    ... )
    >>> [schedule.rate(t) for t in range(5)]
    [0.5, 0.75, 1.0, 0.5, 0.25]
    """

    milestones = Option(milestones_of)

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int]
    ) -> None:
        super().__init__(optimizer, schedulers)
        self.milestones = milestones
        if len(self.milestones) != len(self.schedulers) - 1:
            raise ValueError(
                f"{type(self).__name__}: got {len(self.schedulers)} schedulers and "
                f"{len(self.milestones)} milestones, expected one milestone less"
            )
        self.begin()

    def rate(self, t: int) -> float:
        """Return the learning rate after `t` steps."""
        i = bisect_right(self.milestones, t)
        return self._rate_of(i, t - self.milestones[i - 1] if i else t)


class ChainedScheduler(CombinedLR):
    """Use several schedules at once: lr₀ times the factor of each.

    Parameters
    ----------
    schedulers : sequence of LRScheduler
        Of one optimizer, none a `ReduceLROnPlateau`.
    optimizer : Optimizer, optional
        By default, that of the first schedule.

    Raises
    ------
    ValueError
        If there is no schedule, or one is of another optimizer.
    TypeError
        If a schedule is no such schedule.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> optim = tg.optim
    >>> optimizer = optim.SGD([tg.nn.Parameter([0.0])], lr=1.0)
    >>> warm_up = optim.LinearLR(optimizer, start_factor=0.5, total_iters=2)
    >>> schedule = optim.ChainedScheduler([warm_up, optim.ExponentialLR(optimizer, gamma=0.5)])
    >>> [schedule.rate(t) for t in range(4)]
    [0.5, 0.375, 0.25, 0.125]
    """

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        first: Any = next(iter(schedulers), None)
        super().__init__(optimizer or getattr(first, "optimizer", first), schedulers)
        self.begin()

    def rate(self, t: int) -> float:
        """Return the learning rate after `t` steps."""
        rate = self.base_lr
        for i in range(len(self.schedulers)):
            rate *= self._rate_of(i, t) / self.base_lr if self.base_lr else 0.0
        return rate
