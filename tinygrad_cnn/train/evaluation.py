"""Evaluation of a model: loss, accuracy, confusion matrix and further metrics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.core.recording import no_grad
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.data import DataLoader
from tinygrad_cnn.data.errors import check_finite
from tinygrad_cnn.distributed.data_parallel import guard_of
from tinygrad_cnn.distributed.faults import OneRank
from tinygrad_cnn.distributed.gradients import allow_empty
from tinygrad_cnn.nn import Module
from tinygrad_cnn.train.error_notes import noted
from tinygrad_cnn.train.history import COLUMNS
from tinygrad_cnn.train.metrics import Metric, MetricFunction, as_number, checked_metrics, matched
from tinygrad_cnn.train.training_step import ForwardPass, Loss, forward_pass

__all__ = ["Batches", "Evaluation", "Meter", "check_batch", "evaluate", "evaluated", "in_mode"]

Batches: TypeAlias = Iterable[tuple[NDArray[Any], NDArray[Any]]]


@dataclass(frozen=True)
class Evaluation:
    """The result of `evaluate`.

    Attributes
    ----------
    loss : float
        The mean over the examples.
    accuracy : float
        The fraction of examples, or of pixels in a segmentation, classified correctly; NaN if the
        labels are not classes, or the loss is NaN.
    confusion : ndarray of int64, shape (classes, classes)
        The confusion matrix. ``confusion[i, j]`` counts the examples of class `i` predicted as
        `j`; of shape (0, 0) if the accuracy is NaN.
    metrics : dict of str to float
        Further metrics by name.

    Examples
    --------
    >>> result = Evaluation(0.5, 0.75, np.array([[5, 2, 0], [0, 4, 0], [0, 1, 0]]))
    >>> result.worst_pairs()
    [(0, 1, 2), (2, 1, 1)]
    """

    loss: float
    accuracy: float
    confusion: NDArray[np.int64]
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def mistakes(self) -> int:
        """The number of misclassified examples."""
        return int(self.confusion.sum() - np.trace(self.confusion))

    def worst_pairs(self, most: int = 5) -> list[tuple[int, int, int]]:
        """Return (class, prediction, count) of the most frequent mistakes, worst first."""
        wrong = self.confusion - np.diag(np.diag(self.confusion))
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        pairs = [tuple(map(int, np.unravel_index(place, wrong.shape))) for place in order]
        return [(i, j, int(wrong[i, j])) for i, j in pairs if wrong[i, j] > 0]


class Meter:
    """Accumulates loss, confusion matrix and further metrics over batches.

    Parameters
    ----------
    metrics : mapping of str to Metric

    Attributes
    ----------
    images : int
    loss, accuracy : float
        Means over the images so far; NaN before the first. The accuracy is NaN once a batch has
        labels that are not classes, or a NaN loss.
    confusion : ndarray of int64, shape (classes, classes)
    further : mapping of str to Metric
        The further metrics.
    """

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self.images = 0
        self.confusion: NDArray[np.int64] = np.zeros((0, 0), np.int64)
        self._loss = 0.0
        self._counts = True
        self.further = metrics
        self._sums: dict[str, Any] = dict.fromkeys(metrics, 0)

    def add(self, loss: float, outputs: NDArray[Any], labels: NDArray[Any]) -> None:
        """Add a batch: its mean loss, the model's outputs and the labels."""
        if not len(outputs):  # this rank's part of a small batch
            return
        self.images += len(outputs)
        self._loss += loss * len(outputs)
        if math.isnan(loss):  # argmax would return the first NaN
            self._counts, self._sums = False, dict.fromkeys(self.further)
        else:
            self._count(outputs, labels)
        if not self._counts:
            self.confusion = np.zeros((0, 0), np.int64)

    def _count(self, outputs: NDArray[Any], labels: NDArray[Any]) -> None:
        if self._counts:
            found = None
            if outputs.ndim > 1 and outputs.shape[1] > 1:
                with suppress(ValueError):  # other targets, as in regression, have no accuracy
                    found = matched("accuracy", outputs, labels)
            self._counts = found is not None
            if found is not None:
                counts = found.confusion()
                self.confusion = counts if not self.confusion.size else self.confusion + counts
        for name, metric in self.further.items():
            if self._sums[name] is not None:
                try:
                    added = metric.count(outputs, labels)
                    total = None if added is None else self._sums[name] + added
                except Exception as error:
                    error.add_note(f"raised by the metric {name!r}")
                    raise
                self._sums[name] = total

    @property
    def loss(self) -> float:
        """The mean loss."""
        return self._loss / self.images if self.images else math.nan

    def loss_with(self, total: float, images: int) -> float:
        """Return the mean loss with further images, of which `total` is the sum of losses."""
        images += self.images
        return (self._loss + total) / images if images else math.nan

    @property
    def accuracy(self) -> float:
        """The accuracy."""
        count = self.confusion.sum()
        return float(np.trace(self.confusion) / count) if count else math.nan

    @property
    def metrics(self) -> dict[str, float]:
        """The further metrics; NaN before the first batch, and if labels are not classes."""
        return {
            name: math.nan if sums is None or not self.images else _value(self.further[name], sums)
            for name, sums in self._sums.items()
        }

    def merged(self, ranks: OneRank) -> Meter:
        """Return a meter of the examples of all ranks, the same on each; a collective."""
        if ranks.size == 1:
            return self
        return self.of_all(ranks.gather("the metrics", self.state_dict()))

    def of_all(self, states: Iterable[Mapping[str, Any]]) -> Meter:
        """Return a meter of the same metrics, of the examples of all `states`."""
        merged = Meter(self.further)
        for state in states:
            part = Meter(self.further)
            part.load_state_dict(state)
            merged._add_meter(part)
        return merged

    def _add_meter(self, other: Meter) -> None:
        self.images += other.images
        self._loss += other._loss
        self._counts &= other._counts
        if not self.confusion.size or not other.confusion.size:
            self.confusion = self.confusion if self.confusion.size else other.confusion
        else:
            self.confusion = self.confusion + other.confusion
        if not self._counts:
            self.confusion = np.zeros((0, 0), np.int64)
        for name, sums in other._sums.items():
            own = self._sums[name]
            self._sums[name] = None if own is None or sums is None else own + sums

    def state_dict(self) -> dict[str, Any]:
        """Return the sums so far: numbers and copied arrays."""
        return {
            "images": self.images,
            "loss": self._loss,
            "confusion": self.confusion.copy(),
            "counts": self._counts,
            "metrics": {name: deepcopy(sums) for name, sums in self._sums.items()},
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the sums of another meter; ValueError if it had other metrics."""
        sums = dict(state_dict["metrics"])
        if list(sums) != list(self._sums):
            raise ValueError(
                f"Meter.load_state_dict: the metrics are {', '.join(sums) or 'none'}; expected "
                f"{', '.join(self._sums) or 'none'}"
            )
        self.images = int(state_dict["images"])
        self._loss = float(state_dict["loss"])
        self.confusion = np.array(state_dict["confusion"], np.int64)
        self._counts = bool(state_dict["counts"])
        self._sums = deepcopy(sums)


def evaluate(
    model: Module,
    loader: Batches,
    loss: Loss = ops.cross_entropy,
    metrics: Mapping[str, Metric | MetricFunction] | None = None,
    compile: bool = False,
) -> Evaluation:
    """Evaluate a model without changing it.

    Parameters
    ----------
    model : Module
        Set to eval mode during the call; its own mode is always restored. A `DataParallel` is
        evaluated on the examples of all ranks: each passes its part.
    loader : iterable of (images, labels)
        Batches of arrays, such as a `DataLoader`. Labels are classes: integers of shape (B,), or
        one-hot rows of shape (B, classes), each with a single 1. Other targets, as in
        regression or with several labels per example, give a loss but no accuracy. Outputs
        (N, classes, H, W) and labels (N, H, W) are counted pixel by pixel.
    loss : callable
        ``loss(outputs, labels)``: the mean over a batch, as a Tensor of one element.
    metrics : mapping of str to Metric or function, optional
        Further metrics: `TopKAccuracy`, `Precision`, `Recall`, `F1Score`, `JaccardIndex`,
        `Accuracy`, or a function ``(outputs, labels) -> float`` of arrays, the mean over a batch.
    compile : bool
        Capture the first batch of each shape with `tinygrad_cnn.compile`, and replay it for the
        others.

    Returns
    -------
    Evaluation
        Loss, accuracy, confusion matrix and further metrics over all examples.

    Raises
    ------
    ValueError
        If there is no example, or `loss` returns more than one number; `DataError` if the loss is
        not finite because images or labels have NaN or infinity. With `compile`, if the model is a
        DataParallel on several ranks.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn.data import DataLoader, digits
    >>> model = tg.nn.LeNet5(rng=np.random.default_rng(0))
    >>> result = evaluate(model, DataLoader(digits().test[:100], batch_size=50))
    >>> result.confusion.sum().item(), 0 <= result.accuracy <= 1
    (100, True)
    """
    if guard_of(model).size > 1:
        loss = allow_empty(loss)
    forward = forward_pass("evaluate", model, loss, compile)
    return evaluated(model, loader, forward, metrics)


def evaluated(
    model: Module,
    loader: Batches,
    forward: ForwardPass,
    metrics: Mapping[str, Metric | MetricFunction] | None,
) -> Evaluation:
    """Evaluate a model by its forward pass: see `evaluate`."""
    meter = Meter(checked_metrics("evaluate", metrics, COLUMNS))
    batch = 1
    with (
        in_mode(model, training=False),
        no_grad(),
        noted("evaluate", lambda: f"in batch {batch}"),
    ):
        for images, labels in loader:
            outputs, loss = forward(Tensor._of(images), labels)
            value = float(loss._array.item())
            if not math.isfinite(value):
                check_batch(f"evaluate: batch {batch}", images, labels, loader)
            meter.add(value, outputs._array, labels)
            batch += 1
    meter = meter.merged(guard_of(model))
    if not meter.images:
        raise ValueError("evaluate: the loader is empty, expected at least one batch")
    return Evaluation(meter.loss, meter.accuracy, meter.confusion, meter.metrics)


def check_batch(name: str, images: NDArray[Any], labels: NDArray[Any], loader: Batches) -> None:
    """Raise DataError if the batch of a loader has NaN or infinity: the model is not at fault."""
    examples = loader.current_examples() if isinstance(loader, DataLoader) else None
    for part, array in (("images", images), ("labels", labels)):
        if isinstance(array, np.ndarray):
            known = examples is not None and len(examples) == len(array)
            check_finite(array, f"{name}: {part}", examples if known else None)


def _value(metric: Metric, sums: Any) -> float:
    return as_number(metric.value, metric.value(sums))


@contextmanager
def in_mode(model: Module, training: bool) -> Iterator[None]:
    """Set `model` to train or eval mode inside; restore the mode of each module after."""
    before = [(module, module.training) for module in model.modules()]

    def put_back() -> None:
        for module, was in before:
            module.training = was

    try:
        model.train(training)
        yield
    finally:
        try:
            put_back()
        except BaseException:  # e.g. an interrupt
            put_back()
            raise
