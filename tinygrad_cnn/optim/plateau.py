"""`Plateau`: a schedule that lowers the rate when a metric stops improving."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from tinygrad_cnn.optim.optimizer import Optimizer, Option
from tinygrad_cnn.optim.schedule import attributes_of, checked_optimizer, restore
from tinygrad_cnn.support.arguments import choice, number, positive, whole


def _shrinking(owner: str, name: str, value: Any) -> float:
    positive(owner, name, value)
    return number(owner, name, value, below=1.0)


def _reached(owner: str, name: str, value: Any) -> float:
    """Return `value` if it is a number or an infinity; else raise ValueError."""
    if not isinstance(value, int | float) or isinstance(value, bool) or math.isnan(value):
        raise ValueError(f"{owner}: {name} is {value!r}, expected a number")
    return float(value)


class Plateau:
    """Multiply the rate by a factor whenever a metric has stopped improving.

    A metric improves on the best so far if it is below best − threshold·|best| (for mode "max":
    above best + threshold·|best|). Once it has not improved more than `patience` times in a row,
    lr ← lr · factor, and the count restarts. NaN is no improvement.

    Parameters
    ----------
    optimizer : Optimizer
    factor : float
        In (0, 1).
    patience : int
        0 or more.
    mode : {"min", "max"}
        "min" for a loss, "max" for an accuracy.
    threshold : float
        0 or more.

    Attributes
    ----------
    best : float
    bad_steps : int
        The number of consecutive calls without improvement.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> optimizer = tg.optim.SGD([tg.nn.Parameter([0.0])], lr=1.0)
    >>> schedule = tg.optim.Plateau(optimizer, factor=0.5, patience=1)
    >>> for loss in (3.0, 2.0, 2.0, 2.0, 1.0):
    ...     schedule.step(loss)
    ...     print(optimizer.lr)
    1.0
    1.0
    1.0
    0.5
    0.5
    """

    factor = Option(_shrinking, optional=True)
    patience = Option(partial(whole, least=0), optional=True)
    mode = Option(partial(choice, options=("min", "max")), optional=True)
    threshold = Option(number, optional=True)
    best = Option(_reached)
    bad_steps = Option(partial(whole, least=0))

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 0.1,
        patience: int = 10,
        mode: str = "min",
        threshold: float = 1e-4,
    ) -> None:
        self.optimizer = checked_optimizer(type(self).__name__, optimizer)
        self.factor = factor
        self.patience = patience
        self.mode = mode
        self.threshold = threshold
        self.best = math.inf if mode == "min" else -math.inf
        self.bad_steps = 0

    def step(self, metric: float) -> None:
        """Record a new `metric`, a number or a Tensor with one element."""
        value = float(metric)
        margin = self.threshold * abs(self.best) if math.isfinite(self.best) else 0.0
        if value < self.best - margin if self.mode == "min" else value > self.best + margin:
            self.best = value
            self.bad_steps = 0
            return
        self.bad_steps += 1
        if self.bad_steps > self.patience:
            self.optimizer.lr *= self.factor
            self.bad_steps = 0

    def state_dict(self) -> dict[str, Any]:
        """Return all attributes by name, except the optimizer, which saves the rate."""
        return attributes_of(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the progress and the arguments of another plateau schedule.

        Arguments that are missing, as in states of earlier versions, keep their values.

        Raises
        ------
        ValueError
            If `state` is not that of a plateau schedule. Nothing is changed.
        """
        restore(self, state)
