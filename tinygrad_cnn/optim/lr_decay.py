"""Schedules whose rate is a formula of the number of steps."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_cnn.optim.lr_scheduler import LRScheduler
from tinygrad_cnn.optim.optimizer import Optimizer, Option
from tinygrad_cnn.support.arguments import number, positive, whole


def milestones_of(owner: str, name: str, value: Any) -> list[int]:
    """Return numbers of steps as a list, after checking that they ascend."""
    try:
        found = [whole(owner, f"{name}[{i}]", each, least=0) for i, each in enumerate(value)]
    except TypeError:
        raise ValueError(
            f"{owner}: {name} is {value!r}, expected a list of whole numbers"
        ) from None
    if found != sorted(found):
        raise ValueError(f"{owner}: {name} is {value!r}, expected an ascending order")
    return found


class StepLR(LRScheduler):
    """Multiply the rate by γ every `step_size` steps: lr = lr₀ · γ^⌊t / step_size⌋.

    Parameters
    ----------
    optimizer : Optimizer
    step_size : int
        At least 1.
    gamma : float
        γ, above 0.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> optimizer = tg.optim.SGD([tg.nn.Parameter([0.0])], lr=1.0)
    >>> schedule = tg.optim.StepLR(optimizer, step_size=2, gamma=0.5)
    >>> [schedule.rate(t) for t in range(6)]
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """

    step_size = Option(whole)
    gamma = Option(positive)

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        super().__init__(optimizer)
        self.step_size = step_size
        self.gamma = gamma

    def rate(self, t: int) -> float:
        """Return the learning rate after `t` steps."""
        return self.base_lr * self.gamma ** (t // self.step_size)


class MultiStepLR(LRScheduler):
    """Multiply the rate by γ at each of the `milestones`: lr = lr₀ · γ^(milestones ≤ t).

    Parameters
    ----------
    optimizer : Optimizer
    milestones : sequence of int
        Numbers of steps, in ascending order.
    gamma : float
        γ, above 0.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> optimizer = tg.optim.SGD([tg.nn.Parameter([0.0])], lr=1.0)
    >>> schedule = tg.optim.MultiStepLR(optimizer, milestones=[2, 3], gamma=0.5)
    >>> [schedule.rate(t) for t in range(5)]
    [1.0, 1.0, 0.5, 0.25, 0.25]
    """

    milestones = Option(milestones_of)
    gamma = Option(positive)

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1) -> None:
        super().__init__(optimizer)
        self.milestones = milestones
        self.gamma = gamma

    def rate(self, t: int) -> float:
        """Return the learning rate after `t` steps."""
        return self.base_lr * self.gamma ** bisect_right(self.milestones, t)


class ExponentialLR(LRScheduler):
    """Multiply the rate by γ in each step: lr = lr₀ · γᵗ.

    Parameters
    ----------
    optimizer : Optimizer
    gamma : float
        γ, above 0.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> optimizer = tg.optim.SGD([tg.nn.Parameter([0.0])], lr=1.0)
    >>> schedule = tg.optim.ExponentialLR(optimizer, gamma=0.5)
    >>> [schedule.rate(t) for t in range(4)]
    [1.0, 0.5, 0.25, 0.125]
    """

    gamma = Option(positive)

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        super().__init__(optimizer)
        self.gamma = gamma

    def rate(self, t: int) -> float:
        """Return the learning rate after `t` steps."""
        return self.base_lr * self.gamma**t


class LinearLR(LRScheduler):
    """Change the rate in a straight line, as a warm-up: lr = lr₀ · (a + (b − a) · min(t / T, 1)).

    Parameters
    ----------
    optimizer : Optimizer
        Its learning rate is set to that of t = 0.
    start_factor : float
        a, above 0.
    end_factor : float
        b, 0 or more.
    total_iters : int
        T, at least 1.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> optimizer = tg.optim.SGD([tg.nn.Parameter([0.0])], lr=1.0)
    >>> schedule = tg.optim.LinearLR(optimizer, start_factor=0.25, total_iters=3)
    >>> optimizer.lr, [schedule.rate(t) for t in range(5)]
    (0.25, [0.25, 0.5, 0.75, 1.0, 1.0])
    """

    start_factor = Option(positive)
    end_factor = Option(number)
    total_iters = Option(whole)

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
    ) -> None:
        super().__init__(optimizer)
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        self.begin()

    def rate(self, t: int) -> float:
        """Return the learning rate after `t` steps."""
        part = min(t / self.total_iters, 1.0)
        return self.base_lr * (self.start_factor + (self.end_factor - self.start_factor) * part)


class LambdaLR(LRScheduler):
    """Multiply the first rate by a function of the number of steps: lr = lr₀ · f(t).

    Parameters
    ----------
    optimizer : Optimizer
        Its learning rate is set to that of t = 0.
    lr_lambda : callable
        f, from an int to a factor of 0 or more. It is not part of the state.

    Raises
    ------
    TypeError
        If `lr_lambda` is not callable.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> optimizer = tg.optim.SGD([tg.nn.Parameter([0.0])], lr=1.0)
    >>> schedule = tg.optim.LambdaLR(optimizer, lambda t: 1 / (1 + t))
    >>> [schedule.rate(t) for t in (0, 1, 3)]
    [1.0, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[int], float]) -> None:
        super().__init__(optimizer)
        if not callable(lr_lambda):
            raise TypeError(
                f"{type(self).__name__}: lr_lambda is {lr_lambda!r}, expected a function of t"
            )
        self.lr_lambda = lr_lambda
        self.begin()

    def rate(self, t: int) -> float:
        """Return the learning rate after `t` steps."""
        return self.base_lr * self.lr_lambda(t)


class CosineAnnealingLR(LRScheduler):
    """Lower the rate to eta_min in T_max steps along half a cosine; after them it rises again.

    lr = eta_min + ½ (lr₀ − eta_min) (1 + cos(π t / T_max)).

    Parameters
    ----------
    optimizer : Optimizer
    T_max : int
        At least 1.
    eta_min : float
        0 or more.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, eq 5,
    without the restarts; PyTorch's definition.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> optimizer = tg.optim.SGD([tg.nn.Parameter([0.0])], lr=1.0)
    >>> schedule = tg.optim.CosineAnnealingLR(optimizer, T_max=4)
    >>> [round(schedule.rate(t), 3) for t in range(5)]
    [1.0, 0.854, 0.5, 0.146, 0.0]
    """

    T_max = Option(whole)
    eta_min = Option(number)

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:  # noqa: N803  # as in PyTorch
        super().__init__(optimizer)
        self.T_max = T_max
        self.eta_min = eta_min

    def rate(self, t: int) -> float:
        """Return the learning rate after `t` steps."""
        return cosine(self.base_lr, self.eta_min, t / self.T_max)


class CosineAnnealingWarmRestarts(LRScheduler):
    """Lower the rate along half a cosine, again and again, in cycles that become longer.

    Cycle i has T_0 · T_multⁱ steps; u of them into the cycle of length T,
    lr = eta_min + ½ (lr₀ − eta_min) (1 + cos(π u / T)).

    Parameters
    ----------
    optimizer : Optimizer
    T_0 : int
        The length of the first cycle, at least 1.
    T_mult : int
        At least 1.
    eta_min : float
        0 or more.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, eq 5.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> optimizer = tg.optim.SGD([tg.nn.Parameter([0.0])], lr=1.0)
    >>> schedule = tg.optim.CosineAnnealingWarmRestarts(optimizer, T_0=2, T_mult=2)
    >>> [round(schedule.rate(t), 3) for t in range(7)]
    [1.0, 0.5, 1.0, 0.854, 0.5, 0.146, 1.0]
    """

    T_0 = Option(whole)
    T_mult = Option(whole)
    eta_min = Option(number)

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,  # noqa: N803  # as in PyTorch
        T_mult: int = 1,  # noqa: N803
        eta_min: float = 0.0,
    ) -> None:
        super().__init__(optimizer)
        self.T_0 = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min

    def rate(self, t: int) -> float:
        """Return the learning rate after `t` steps."""
        length = self.T_0
        if self.T_mult == 1:
            t %= length
        while t >= length:
            t, length = t - length, length * self.T_mult
        return cosine(self.base_lr, self.eta_min, t / length)


def cosine(a: float, b: float, u: float) -> float:
    """Interpolate from `a`, at u = 0, to `b`, at u = 1, along half a cosine."""
    return b + 0.5 * (a - b) * (1.0 + math.cos(math.pi * u))
