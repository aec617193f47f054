"""A schedule that lowers the rate when a metric has stopped improving."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from tinygrad_cnn.core.effects import effect
from tinygrad_cnn.optim.lr_scheduler import LRScheduler
from tinygrad_cnn.optim.optimizer import Optimizer, Option
from tinygrad_cnn.support.arguments import choice, number, positive, whole


def _factor(owner: str, name: str, value: Any) -> float:
    positive(owner, name, value)
    return number(owner, name, value, below=1.0)


def _best(owner: str, name: str, value: Any) -> float:
    """Return `value` if it is a number or an infinity; else raise ValueError."""
    if not isinstance(value, int | float) or isinstance(value, bool) or math.isnan(value):
        raise ValueError(f"{owner}: {name} is {value!r}, expected a number")
    return float(value)


class ReduceLROnPlateau(LRScheduler):
    """Multiply the rate by a factor whenever a metric has stopped improving.

    A metric improves on the best so far if it is below best − threshold·|best| (for mode "max":
    above best + threshold·|best|). Once it has not improved more than `patience` times in a row,
    lr ← lr · factor, and the count restarts. NaN is not an improvement.

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

    @effect
    def step(self, metrics: Any = None) -> None:
        """Record the metric of an epoch, and lower the rate if it has stopped improving.

        Raises
        ------
        TypeError
            If there is no metric.
        """
        if metrics is None:
            raise TypeError(f"{type(self).__name__}: step needs a metric, such as the epoch's loss")
        value = float(metrics)
        self.last_epoch += 1
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
            self.optimizer.lr = self._lowered(self.optimizer.lr)
            for group in self.optimizer.param_groups:
                if "lr" in group.own:
                    group["lr"] = self._lowered(group["lr"])
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0

    def apply(self) -> None:
        """Leave the rates: those of another t are not known."""

    def _lowered(self, lr: float) -> float:
        lower = max(lr * self.factor, self.min_lr)
        return lower if lr - lower > self.eps else lr
