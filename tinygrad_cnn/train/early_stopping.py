"""`BestWeights` and `EarlyStopping`: callbacks that follow one metric of the history."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.distributed.ranks import connected
from tinygrad_cnn.nn import Module
from tinygrad_cnn.support.arguments import choice, flag, number, whole
from tinygrad_cnn.train.history import Epoch, History
from tinygrad_cnn.train.loop import Callback
from tinygrad_cnn.train.metrics import METRICS
from tinygrad_cnn.train.own_state import is_ours, load_own_state, own_state
from tinygrad_cnn.train.state import write_weights

__all__ = ["BestWeights", "EarlyStopping"]

MODES = ("min", "max")
PREFIX = "validation_"
LARGER_IS_BETTER = ("accuracy", *METRICS)


class _Follower(Callback):
    """Follows the best value of a column, and keeps its weights if asked to."""

    def __init__(self, monitor: str, mode: str | None, min_delta: float, keeps: bool) -> None:
        name = type(self).__name__
        self.monitor = monitor
        self.mode = _mode(name, monitor, mode)
        self.min_delta = number(name, "min_delta", min_delta)
        self._keeps = keeps
        self._model: Module | None = None
        self._forget()

    def _forget(self) -> None:
        self.best = math.nan
        self.best_epoch = 0
        self.waited = 0
        self.weights: dict[str, NDArray[Any]] = {}
        self._own: dict[str, Any] = {}

    def start(
        self, model: Module, columns: Sequence[str], history: History, epochs: int
    ) -> bool | None:
        """Check that `fit` measures the metric; ValueError if it does not."""
        if self.monitor not in columns:
            expected = f"expected one of {', '.join(columns)}"
            if self.monitor.startswith(PREFIX) and not any(c.startswith(PREFIX) for c in columns):
                expected = "fit has no validation set: give it one by fit(validation=...)"
            elif self.monitor.removeprefix(PREFIX) in METRICS:
                name = self.monitor.removeprefix(PREFIX)
                expected = f'fit does not measure it: add it by fit(metrics={{"{name}": ...}})'
            raise ValueError(f"{type(self).__name__}: monitor is {self.monitor!r}; {expected}")
        if not history:  # a new training
            self._forget()
        self._model = model
        return None

    def epoch(self, history: History) -> bool | None:
        """Compare the epoch with the best before; ties and NaN are not improvements."""
        self._compare(history[-1])
        return None

    def _compare(self, row: Epoch) -> None:
        value = row.metrics.get(self.monitor, getattr(row, self.monitor, math.nan))
        if math.isnan(value) and not self.best_epoch and not self.waited:
            warnings.warn(
                f"{type(self).__name__}: {self.monitor} is NaN in epoch {row.epoch}, so that no "
                "epoch can be the best; labels that are not classes have no accuracy",
                stacklevel=2,
            )
        if not self._improved(float(value)):
            self.waited += 1
            return
        self.best, self.best_epoch, self.waited = float(value), row.epoch, 0
        if self._keeps and self._model is not None:
            self.weights = self._model.state_dict()
            self._own = {} if is_ours(self._model) else own_state(self._model)

    def _improved(self, value: float) -> bool:
        if not self.best_epoch:
            return not math.isnan(value)
        if self.mode == "min":
            return value < self.best - self.min_delta
        return value > self.best + self.min_delta

    def restore(self, model: Module) -> None:
        """Load the best weights into a model; it is unchanged if there are none yet."""
        if self.weights:
            model.load_state_dict(self.weights)
            load_own_state(model, self._own)

    @contextmanager
    def restored(self, model: Module) -> Iterator[None]:
        """Use the best weights in a model inside, and its own after that."""
        before = model.state_dict(), own_state(model)
        self.restore(model)
        try:
            yield
        finally:
            model.load_state_dict(before[0])
            load_own_state(model, before[1])

    def state_dict(self) -> dict[str, Any]:
        """Return the best value, its epoch and weights, and the number of epochs since then."""
        return {
            "monitor": self.monitor,
            "mode": self.mode,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "waited": self.waited,
            "weights": dict(self.weights),
            "own": self._own,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the state of another callback; ValueError if it followed another metric."""
        followed = state_dict["monitor"], state_dict["mode"]
        if followed != (self.monitor, self.mode):
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: monitor and mode are {followed}, expected "
                f"{(self.monitor, self.mode)}"
            )
        self.best = float(state_dict["best"])
        self.best_epoch = whole(type(self).__name__, "best_epoch", state_dict["best_epoch"], 0)
        self.waited = whole(type(self).__name__, "waited", state_dict["waited"], 0)
        self.weights = {k: np.array(array) for k, array in state_dict["weights"].items()}
        self._own = dict(state_dict["own"])


class BestWeights(_Follower):
    """Callback that keeps the weights of the best epoch, and writes them to a file.

    Parameters
    ----------
    path : str or path-like, optional
        A safetensors file, written atomically at every improvement. Its metadata have ``epoch``,
        ``metric`` and ``value``; `tinygrad_cnn.load` reads the weights. Of several ranks, rank 0
        writes it.
    monitor : str
        A column of the history, such as "validation_loss" or "validation_accuracy".
    mode : {"min", "max"}, optional
        Whether smaller or larger values are better; needed only for metrics other than losses,
        accuracy and the keys of ``METRICS``.

    Attributes
    ----------
    best : float
        The best value so far; NaN before the first.
    best_epoch : int
        Its epoch, the first of several with the same value; 0 before the first.
    waited : int
        The number of epochs since then.
    weights : dict of str to ndarray
        The ``state_dict()`` of the model after that epoch.

    Raises
    ------
    ValueError
        If the direction of the metric is unknown; from `fit`, if it does not measure the metric.
    OSError
        From `fit`, if the file cannot be written.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn.train import fit
    >>> split = tg.data.digits().with_validation(0.1)
    >>> train = tg.data.DataLoader(split.train[:500], shuffle=True)
    >>> held_out = tg.data.DataLoader(split.validation)
    >>> model = tg.nn.MLP((784, 16, 10), rng=np.random.default_rng(0))
    >>> best = BestWeights()
    >>> history = fit(
    ...     model,
    ...     tg.cross_entropy,
    ...     tg.optim.SGD(model.parameters(), lr=0.1),
    ...     train,
    ...     epochs=3,
    ...     validation=held_out,
    ...     callbacks=[best],
    ... )
    >>> best.best == min(history.column("validation_loss"))
    True
    >>> best.restore(model)
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        monitor: str = "validation_loss",
        *,
        mode: str | None = None,
    ) -> None:
        super().__init__(monitor, mode, min_delta=0.0, keeps=True)
        self.path = path
        self._written = False

    def epoch(self, history: History) -> bool | None:
        """Keep the weights, and write the file, if the epoch is the best so far."""
        super().epoch(history)
        self._written &= self.waited > 0
        self._write()
        return None

    def end(self, history: History) -> None:
        """Write the file, if a resumed training has not written it yet."""
        self._write()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the state of another callback; the file is written again after an epoch."""
        super().load_state_dict(state_dict)
        self._written = False

    def _write(self) -> None:
        if self._written or self.path is None or not self.weights or connected().rank:
            return
        metadata = {"epoch": str(self.best_epoch), "metric": self.monitor, "value": repr(self.best)}
        write_weights(self.path, self.weights, self._own, metadata)
        self._written = True


class EarlyStopping(_Follower):
    """Callback that ends training when a metric has stopped improving.

    Parameters
    ----------
    patience : int
        The number of epochs without improvement after which training ends.
    monitor : str
        A column of the history, such as "validation_loss" or "validation_accuracy".
    min_delta : float
        Only a change by more than this is an improvement.
    mode : {"min", "max"}, optional
        Whether smaller or larger values are better; needed only for metrics other than losses,
        accuracy and the keys of ``METRICS``.
    restore_best : bool
        Whether the model has the weights of the best epoch at the end of `fit`, however training
        ends; by default it has the last ones. The optimizer keeps its last state.

    Attributes
    ----------
    best, best_epoch, waited, weights
        As of `BestWeights`; the weights only with `restore_best`.

    Raises
    ------
    ValueError
        If an argument is out of range, or the direction of the metric is unknown; from `fit`, if it
        does not measure the metric.

    Notes
    -----
    Without the test set: give `fit` a validation set that is not used for the result. Its state is
    part of a checkpoint, so that a resumed training ends after the same epoch.

    Examples
    --------
    >>> from tinygrad_cnn.train import Epoch
    >>> stopping = EarlyStopping(patience=2, monitor="loss")
    >>> history = History()
    >>> for number, loss in enumerate([0.5, 0.4, 0.4, 0.45, 0.3], start=1):
    ...     history.append(Epoch(number, loss))
    ...     if stopping.epoch(history):
    ...         break
    >>> stopping.best, stopping.best_epoch, len(history)
    (0.4, 2, 4)
    """

    def __init__(
        self,
        patience: int,
        monitor: str = "validation_loss",
        *,
        min_delta: float = 0.0,
        mode: str | None = None,
        restore_best: bool = False,
    ) -> None:
        self.patience = whole("EarlyStopping", "patience", patience)
        keeps = flag("EarlyStopping", "restore_best", restore_best)
        super().__init__(monitor, mode, min_delta, keeps)

    def start(
        self, model: Module, columns: Sequence[str], history: History, epochs: int
    ) -> bool | None:
        """Check that `fit` measures the metric; return True if the patience is at an end."""
        super().start(model, columns, history, epochs)
        if not self._keeps and not self.best_epoch and not self.waited:
            self.follow(history)  # a callback that is new in a resumed training
        return self.stopped

    def follow(self, history: History) -> None:
        """Take account of all epochs of a history, from the first on."""
        self._forget()
        for row in history:
            self._compare(row)

    @property
    def stopped(self) -> bool:
        """Whether the patience is at an end."""
        return self.waited >= self.patience

    def epoch(self, history: History) -> bool | None:
        """Return True if the patience is at an end."""
        super().epoch(history)
        return self.stopped

    def end(self, history: History) -> None:
        """Restore the best weights, with `restore_best`."""
        if self._model is not None:
            self.restore(self._model)


def _mode(owner: str, monitor: str, mode: str | None) -> str:
    """Return the direction in which a metric improves."""
    if mode is not None:
        return str(choice(owner, "mode", mode, MODES))
    name = monitor.removeprefix(PREFIX)
    if name.endswith("loss"):
        return "min"
    if name in LARGER_IS_BETTER:
        return "max"
    raise ValueError(
        f"{owner}: mode is None; expected 'min' or 'max', because monitor is {monitor!r}, of which "
        "it is unknown whether smaller or larger is better"
    )
