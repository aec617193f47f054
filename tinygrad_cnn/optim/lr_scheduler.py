"""Learning-rate schedules.

`tinygrad_cnn.train.fit` steps a schedule itself. In a loop of your own, call ``schedule.step()``
after ``optimizer.step()``: once per update or once per epoch, whichever unit the schedule's
arguments use.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal

from tinygrad_cnn.optim.optimizer import Hyperparameter, Optimizer, Option, options_of
from tinygrad_cnn.support.arguments import choice, flag, number, positive, share, whole


def _factor(owner: str, name: str, value: Any) -> float:
    positive(owner, name, value)
    return number(owner, name, value, below=1.0)


def _best(owner: str, name: str, value: Any) -> float:
    """Return `value` if it is a number or an infinity; else raise ValueError."""
    if not isinstance(value, int | float) or isinstance(value, bool) or math.isnan(value):
        raise ValueError(f"{owner}: {name} is {value!r}, expected a number")
    return float(value)


class LRScheduler:
    """Base class: a learning rate that is a function of t, the number of calls of `step`.

    Subclasses define `rate`.

    Parameters
    ----------
    optimizer : Optimizer
        Its current learning rate becomes lr₀.

    Attributes
    ----------
    interval : {"batch", "epoch"}
        How often `tinygrad_cnn.train.fit` calls `step`; a class attribute.
    last_epoch : int
        t, also where a step is a batch: the name is PyTorch's.
    base_lr : float
        lr₀.

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
        self.base_lr = optimizer.lr

    def rate(self, t: int) -> float:
        """Return the learning rate after `t` steps."""
        raise NotImplementedError(f"{type(self).__name__} defines no rate")

    def step(self, metrics: Any = None) -> None:
        """Increment t, and set the optimizer's learning rate.

        Parameters
        ----------
        metrics : float or Tensor of one element, optional
            The loss or accuracy of the epoch; only `ReduceLROnPlateau` uses it.
        """
        self.last_epoch += 1
        self.apply()

    def apply(self) -> None:
        """Set the optimizer's learning rate to that of the current t."""
        self.optimizer.lr = self.rate(self.last_epoch)

    def get_last_lr(self) -> list[float]:
        """Return the current learning rate in a list: all parameters have the same one."""
        return [self.optimizer.lr]

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
        owner = f"{type(self).__name__}.load_state_dict"
        options = options_of(type(self))
        known = self.state_dict()
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
        vars(self).update(checked)
        self.apply()


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
        return _cosine(self.base_lr, self.eta_min, t / self.T_max)


class OneCycleLR(LRScheduler):
    """Raise the rate to max_lr, then lower it to almost 0, while the momentum does the opposite.

    The updates are numbered t = 0 … T with T = total_steps − 1, and the peak is at P = pct_start·T.
    The rate goes from max_lr / div_factor at 0 to max_lr at P, then to
    max_lr / (div_factor · final_div_factor) at T, where it stays. Between a and b, it is
    b + ½ (a − b) (1 + cos πu), with u from 0 to 1. The momentum (of `Adam`, β₁) goes from
    max_momentum to base_momentum and back.

    Parameters
    ----------
    optimizer : Optimizer
        Its learning rate and momentum are set to those of t = 0.
    max_lr : float
        Above 0.
    total_steps : int, optional
        The number of updates; by default epochs · steps_per_epoch. Call `step` after each.
    epochs, steps_per_epoch : int, optional
    pct_start : float
        The fraction of updates in which the rate rises, in [0, 1].
    anneal_strategy : {"cos", "linear"}
        With "linear", the rate between a and b is a + (b − a) u.
    cycle_momentum : bool
        Whether to change the momentum.
    base_momentum, max_momentum : float
        In [0, 1).
    div_factor, final_div_factor : float
        Above 0.

    Raises
    ------
    ValueError
        If an argument is out of range, there is no number of steps, or the optimizer has no
        momentum to change.

    Notes
    -----
    Smith and Topin, "Super-convergence: very fast training of neural networks using large learning
    rates", 2018. PyTorch's definition, but for the peak, which PyTorch puts at
    pct_start·total_steps − 1, at most one step earlier.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> optimizer = tg.optim.SGD([tg.nn.Parameter([0.0])], lr=1.0)
    >>> schedule = tg.optim.OneCycleLR(optimizer, max_lr=1.0, total_steps=5, pct_start=0.5)
    >>> [round(schedule.rate(t), 3) for t in range(6)]
    [0.04, 0.52, 1.0, 0.5, 0.0, 0.0]
    >>> round(optimizer.lr, 2), optimizer.momentum
    (0.04, 0.95)
    """

    max_lr = Option(positive)
    total_steps = Option(whole)
    pct_start = Option(share)
    anneal_strategy = Option(partial(choice, options=("cos", "linear")))
    cycle_momentum = Option(flag)
    base_momentum = Hyperparameter(below=1.0)
    max_momentum = Hyperparameter(below=1.0)
    div_factor = Option(positive)
    final_div_factor = Option(positive)

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
    ) -> None:
        super().__init__(optimizer)
        owner = type(self).__name__
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError(f"{owner}: needs total_steps, or epochs and steps_per_epoch")
            total_steps = whole(owner, "epochs", epochs) * whole(
                owner, "steps_per_epoch", steps_per_epoch
            )
        self.max_lr = max_lr
        self.total_steps = total_steps
        self.pct_start = pct_start
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = cycle_momentum
        self.base_momentum = base_momentum
        self.max_momentum = max_momentum
        self.div_factor = div_factor
        self.final_div_factor = final_div_factor
        if cycle_momentum and not (hasattr(optimizer, "momentum") or hasattr(optimizer, "betas")):
            raise ValueError(
                f"{owner}: {type(optimizer).__name__} has no momentum or betas; pass "
                "cycle_momentum=False"
            )
        self.apply()

    def rate(self, t: int) -> float:
        """Return the learning rate after `t` steps."""
        start, end = 1.0 / self.div_factor, 1.0 / (self.div_factor * self.final_div_factor)
        return self._between(start * self.max_lr, self.max_lr, end * self.max_lr, t)

    def momentum(self, t: int) -> float:
        """Return the momentum after `t` steps."""
        return self._between(self.max_momentum, self.base_momentum, self.max_momentum, t)

    def apply(self) -> None:
        """Set the optimizer's learning rate and momentum to those of the current t."""
        super().apply()
        if self.cycle_momentum:
            optimizer: Any = self.optimizer
            momentum = self.momentum(self.last_epoch)
            if hasattr(optimizer, "betas"):
                optimizer.betas = momentum, optimizer.betas[1]
            else:
                optimizer.momentum = momentum

    def _between(self, start: float, middle: float, end: float, t: int) -> float:
        last = self.total_steps - 1
        peak = self.pct_start * last
        anneal = _cosine if self.anneal_strategy == "cos" else _line
        if t < peak:
            return anneal(start, middle, t / peak)
        u = (t - peak) / (last - peak) if last > peak else float(t > last)
        return anneal(middle, end, min(u, 1.0))


class ReduceLROnPlateau(LRScheduler):
    """Multiply the rate by a factor whenever a metric has stopped improving.

    A metric improves on the best so far if it is below best − threshold·|best| (for mode "max":
    above best + threshold·|best|). Once it has not improved more than `patience` times in a row,
    lr ← lr · factor, and the count restarts. NaN is no improvement.

    Parameters
    ----------
    optimizer : Optimizer
    mode : {"min", "max"}
        "min" for a loss, "max" for an accuracy.
    factor : float
        In (0, 1).
    patience : int
        0 or more.
    threshold : float
        0 or more.
    threshold_mode : {"rel", "abs"}
        With "abs", the margin is the threshold itself, not threshold·|best|.
    cooldown : int
        The number of calls after a reduction that do not count, 0 or more.
    min_lr : float
        The rate never falls below it; 0 or more.
    eps : float
        A reduction by no more than `eps` is not made.

    Attributes
    ----------
    best : float
    num_bad_epochs : int
        The number of consecutive calls without improvement.
    cooldown_counter : int
        The number of calls still to come that do not count.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    PyTorch's definition, except that its margin below a negative best has the wrong sign.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> optimizer = tg.optim.SGD([tg.nn.Parameter([0.0])], lr=1.0)
    >>> schedule = tg.optim.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for loss in (3.0, 2.0, 2.0, 2.0, 1.0):
    ...     schedule.step(loss)
    ...     print(optimizer.lr)
    1.0
    1.0
    1.0
    0.5
    0.5
    """

    interval = "epoch"
    mode = Option(partial(choice, options=("min", "max")))
    factor = Option(_factor)
    patience = Option(partial(whole, least=0))
    threshold = Option(number)
    threshold_mode = Option(partial(choice, options=("rel", "abs")))
    cooldown = Option(partial(whole, least=0))
    min_lr = Option(number)
    eps = Option(number)
    best = Option(_best)
    num_bad_epochs = Option(partial(whole, least=0))
    cooldown_counter = Option(partial(whole, least=0))

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(optimizer)
        self.mode = mode
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.cooldown = cooldown
        self.min_lr = min_lr
        self.eps = eps
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0

    def rate(self, t: int) -> float:
        """Return the current learning rate: that of another t is not known."""
        return self.optimizer.lr

    def step(self, metrics: Any = None) -> None:
        """Record the metric of an epoch, and lower the rate if it has stopped improving.

        Raises
        ------
        TypeError
            If there is no metric.
        """
        if metrics is None:
            raise TypeError(f"{type(self).__name__}: step needs a metric, such as the epoch's loss")
        self.last_epoch += 1
        value = float(metrics)
        margin = self.threshold
        if self.threshold_mode == "rel":
            margin *= abs(self.best) if math.isfinite(self.best) else 0.0
        if value < self.best - margin if self.mode == "min" else value > self.best + margin:
            self.best = value
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            lr = max(self.optimizer.lr * self.factor, self.min_lr)
            if self.optimizer.lr - lr > self.eps:
                self.optimizer.lr = lr
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0


def _cosine(a: float, b: float, u: float) -> float:
    """Interpolate from `a`, at u = 0, to `b`, at u = 1, along half a cosine."""
    return b + 0.5 * (a - b) * (1.0 + math.cos(math.pi * u))


def _line(a: float, b: float, u: float) -> float:
    return a + (b - a) * u


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, int | float | str)
