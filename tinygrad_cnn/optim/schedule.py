"""Learning-rate schedules."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from tinygrad_cnn.optim.optimizer import Optimizer, Option, options_of
from tinygrad_cnn.support.arguments import number, positive, share, whole


class Schedule:
    """Base class: a learning rate that is a function of t, the number of calls of `step`.

    Subclasses define `rate`. Call `step` after ``optimizer.step()``: once per epoch or once per
    update, whichever unit the schedule's arguments use.

    Parameters
    ----------
    optimizer : Optimizer
        Its current learning rate becomes lr₀, and is then set to the rate at t = 0.

    Attributes
    ----------
    steps_taken : int
        t.
    lr_start : float
        lr₀.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> class Halving(tg.optim.Schedule):
    ...     def rate(self, t):
    ...         return self.lr_start / 2**t
    >>> optimizer = tg.optim.SGD([tg.nn.Parameter([0.0])], lr=1.0)
    >>> schedule = Halving(optimizer)
    >>> schedule.step()
    >>> optimizer.lr
    0.5
    """

    steps_taken = Option(partial(whole, least=0))
    lr_start = Option(number)

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = checked_optimizer(type(self).__name__, optimizer)
        self.steps_taken = 0
        self.lr_start = optimizer.lr

    def rate(self, t: int) -> float:
        """Return the learning rate after `t` steps."""
        raise NotImplementedError(f"{type(self).__name__} defines no rate")

    def step(self) -> None:
        """Increment t, and set the optimizer's learning rate."""
        self.steps_taken += 1
        self.optimizer.lr = self.rate(self.steps_taken)

    def state_dict(self) -> dict[str, Any]:
        """Return all attributes that are numbers, strings or lists of them, by name."""
        return attributes_of(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the progress and arguments of another schedule of this class; set the rate.

        Arguments that are missing, as in states of earlier versions, keep their values.

        Raises
        ------
        ValueError
            If `state` is not that of a schedule of this class. Nothing is changed.
        """
        restore(self, state)
        self.optimizer.lr = self.rate(self.steps_taken)


class StepDecay(Schedule):
    """Multiply the rate by a factor every `every` steps: lr = lr₀ · factor^⌊t / every⌋.

    Parameters
    ----------
    optimizer : Optimizer
    every : int
        At least 1.
    factor : float
        Above 0.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> optimizer = tg.optim.SGD([tg.nn.Parameter([0.0])], lr=1.0)
    >>> schedule = tg.optim.StepDecay(optimizer, every=2, factor=0.5)
    >>> [schedule.rate(t) for t in range(6)]
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """

    every = Option(whole, optional=True)
    factor = Option(positive, optional=True)

    def __init__(self, optimizer: Optimizer, every: int, factor: float) -> None:
        super().__init__(optimizer)
        self.every = every
        self.factor = factor

    def rate(self, t: int) -> float:
        """Return the learning rate after `t` steps."""
        return self.lr_start * self.factor ** (t // self.every)


class Cosine(Schedule):
    """Decay the rate to lr_min along half a cosine, then keep it there.

    lr = lr_min + ½ (lr₀ − lr_min) (1 + cos(π t / steps)),  for t ≤ steps.

    Parameters
    ----------
    optimizer : Optimizer
    steps : int
        At least 1.
    lr_min : float
        0 or more.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, eq 5,
    without the restarts.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> optimizer = tg.optim.SGD([tg.nn.Parameter([0.0])], lr=1.0)
    >>> schedule = tg.optim.Cosine(optimizer, steps=4)
    >>> [round(schedule.rate(t), 3) for t in range(6)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """

    steps = Option(whole, optional=True)
    lr_min = Option(number, optional=True)

    def __init__(self, optimizer: Optimizer, steps: int, lr_min: float = 0.0) -> None:
        super().__init__(optimizer)
        self.steps = steps
        self.lr_min = lr_min

    def rate(self, t: int) -> float:
        """Return the learning rate after `t` steps."""
        return _along_cosine(self.lr_start, self.lr_min, t / self.steps)


class OneCycle(Schedule):
    """Raise the rate to lr_max, then lower it to almost 0, each along half a cosine.

    The updates are numbered t = 0 … T with T = steps − 1, and the peak is at P = warmup · T. The
    rate goes from start · lr_max at 0 to lr_max at P, then to end · lr_max at T, where it stays.
    Between a and b, it is b + ½ (a − b) (1 + cos πu), with u from 0 to 1.

    Parameters
    ----------
    optimizer : Optimizer
        Its learning rate is set to start · lr_max.
    steps : int
        The total number of updates, at least 1. Call `step` after each.
    lr_max : float
        Above 0.
    warmup : float
        The fraction of updates in which the rate rises, in [0, 1].
    start, end : float
        The first and the last rate as fractions of `lr_max`, 0 or more.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Smith and Topin, "Super-convergence: very fast training of neural networks using large learning
    rates", 2018. PyTorch's ``final_div_factor`` refers to the first rate; `end` to the highest.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> optimizer = tg.optim.SGD([tg.nn.Parameter([0.0])], lr=1.0)
    >>> schedule = tg.optim.OneCycle(optimizer, steps=5, lr_max=1.0, warmup=0.5, start=0, end=0)
    >>> [round(schedule.rate(t), 3) for t in range(6)]
    [0.0, 0.5, 1.0, 0.5, 0.0, 0.0]
    """

    steps = Option(whole, optional=True)
    lr_max = Option(positive, optional=True)
    warmup = Option(share, optional=True)
    start = Option(number, optional=True)
    end = Option(number, optional=True)

    def __init__(
        self,
        optimizer: Optimizer,
        steps: int,
        lr_max: float,
        warmup: float = 0.3,
        start: float = 1 / 25,
        end: float = 1 / 1e4,
    ) -> None:
        super().__init__(optimizer)
        self.steps = steps
        self.lr_max = lr_max
        self.warmup = warmup
        self.start = start
        self.end = end
        optimizer.lr = self.rate(0)

    def rate(self, t: int) -> float:
        """Return the learning rate after `t` steps."""
        last = self.steps - 1
        peak = self.warmup * last
        if t < peak:
            return _along_cosine(self.start * self.lr_max, self.lr_max, t / peak)
        way = (t - peak) / (last - peak) if last > peak else float(t > last)
        return _along_cosine(self.lr_max, self.end * self.lr_max, way)


def _along_cosine(a: float, b: float, way: float) -> float:
    """Interpolate from `a` to `b` along half a cosine; `way` is clamped to 1."""
    return b + 0.5 * (a - b) * (1.0 + math.cos(math.pi * min(way, 1.0)))


def checked_optimizer(owner: str, optimizer: Any) -> Optimizer:
    """Return `optimizer`; raise TypeError if it is not an Optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{owner}: optimizer is {type(optimizer).__name__}, expected an Optimizer")
    return optimizer


def attributes_of(schedule: Any) -> dict[str, Any]:
    """Return a copy of all attributes that are numbers, strings or lists of them."""
    return {name: copy.copy(value) for name, value in vars(schedule).items() if _is_plain(value)}


def restore(schedule: Any, state: Mapping[str, Any]) -> None:
    """Set the attributes of `schedule` from `state`, after checking that they match."""
    owner = f"{type(schedule).__name__}.load_state_dict"
    options = options_of(type(schedule))
    known = attributes_of(schedule)
    needed = {name for name, option in options.items() if not option.optional}
    if not needed <= state.keys() <= known.keys():
        raise ValueError(f"{owner}: got {sorted(state)}, expected {sorted(known)}")
    checked: dict[str, Any] = {}
    for name, value in state.items():
        if name in options:
            checked[name] = options[name].check(owner, name, value)
        elif _is_plain(value):
            checked[name] = tuple(value) if isinstance(known[name], tuple) else copy.copy(value)
        else:
            raise ValueError(f"{owner}: {name} is {value!r}, expected numbers or strings")
    vars(schedule).update(checked)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, int | float | str)
