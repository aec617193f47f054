"""Evaluation of a model: loss, accuracy and confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.core.recording import no_grad
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.data.errors import check_finite
from tinygrad_cnn.nn import Module

__all__ = ["Batches", "Evaluation", "Loss", "Meter", "evaluate", "in_mode"]

Batches: TypeAlias = Iterable[tuple[NDArray[Any], NDArray[Any]]]
Loss: TypeAlias = Callable[[Tensor, NDArray[Any]], Tensor]


@dataclass(frozen=True)
class Evaluation:
    """The result of `evaluate`.

    Attributes
    ----------
    loss : float
        The mean over the examples.
    accuracy : float
        The fraction of examples classified correctly; NaN if the labels are not classes, or the
        loss is NaN.
    confusion : ndarray of int64, shape (classes, classes)
        The confusion matrix. ``confusion[i, j]`` counts the examples of class `i` predicted as
        `j`; of shape (0, 0) if the accuracy is NaN.

    Examples
    --------
    >>> result = Evaluation(0.5, 0.75, np.array([[5, 2, 0], [0, 4, 0], [0, 1, 0]]))
    >>> result.worst_pairs()
    [(0, 1, 2), (2, 1, 1)]
    """

    loss: float
    accuracy: float
    confusion: NDArray[np.int64]

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
    """Accumulates loss and confusion matrix over batches.

    Attributes
    ----------
    images : int
    loss, accuracy : float
        Means over the images so far; NaN before the first. The accuracy is NaN once a batch has
        labels that are not classes, or a NaN loss.
    confusion : ndarray of int64, shape (classes, classes)
    """

    def __init__(self) -> None:
        self.images = 0
        self.confusion: NDArray[np.int64] = np.zeros((0, 0), np.int64)
        self._loss = 0.0
        self._counts = True

    def add(self, loss: float, outputs: NDArray[Any], labels: NDArray[Any]) -> None:
        """Add a batch: its mean loss, the model's outputs and the labels."""
        self.images += len(outputs)
        self._loss += loss * len(outputs)
        # A NaN loss: argmax would return the first NaN.
        actual = _classes(labels, outputs) if self._counts and not math.isnan(loss) else None
        if actual is None:
            self._counts, self.confusion = False, np.zeros((0, 0), np.int64)
            return
        count = outputs.shape[1]
        pairs = actual * count + outputs.argmax(axis=1)
        counts = np.bincount(pairs, minlength=count * count).reshape(count, count)
        self.confusion = counts if not self.confusion.size else self.confusion + counts

    @property
    def loss(self) -> float:
        """The mean loss."""
        return self._loss / self.images if self.images else math.nan

    @property
    def accuracy(self) -> float:
        """The accuracy."""
        return float(np.trace(self.confusion)) / self.images if self.confusion.size else math.nan


def evaluate(model: Module, loader: Batches, loss: Loss = ops.cross_entropy) -> Evaluation:
    """Evaluate a model without changing it.

    Parameters
    ----------
    model : Module
        Set to eval mode during the call; its own mode is always restored.
    loader : iterable of (images, labels)
        Batches of arrays, such as a `DataLoader`. Labels are classes: integers of shape (B,), or
        one-hot rows of shape (B, classes), each with a single 1. Other targets, as in
        regression or with several labels per example, give a loss but no accuracy.
    loss : callable
        ``loss(outputs, labels)``: the mean over a batch, as a Tensor of one element.

    Returns
    -------
    Evaluation
        Loss, accuracy and confusion matrix over all examples.

    Raises
    ------
    ValueError
        If there is no example, or `loss` returns more than one number; `DataError` if the loss is
        not finite because images or labels have NaN or infinity.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn.data import DataLoader, digits
    >>> model = tg.nn.LeNet5(rng=np.random.default_rng(0))
    >>> result = evaluate(model, DataLoader(digits().test[:100], batch_size=50))
    >>> result.confusion.sum().item(), 0 <= result.accuracy <= 1
    (100, True)
    """
    meter = Meter()
    with in_mode(model, training=False), no_grad():
        for batch, (images, labels) in enumerate(loader, start=1):
            outputs = model(Tensor._of(images))
            value = loss_value(loss(outputs, labels))
            if not math.isfinite(value):
                check_batch(f"evaluate: batch {batch}", images, labels)
            meter.add(value, outputs._array, labels)
    if not meter.images:
        raise ValueError("evaluate: the loader is empty")
    return Evaluation(meter.loss, meter.accuracy, meter.confusion)


def loss_value(loss: Tensor) -> float:
    """Return the result of a loss function as a float; ValueError if it is not one number."""
    if getattr(loss, "size", 0) != 1:
        came = f"shape {loss.shape}" if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(
            f"the loss function returned {came}; expected a Tensor of one "
            "element, the mean of the batch"
        )
    return float(loss._array.item())


def check_batch(name: str, images: NDArray[Any], labels: NDArray[Any]) -> None:
    """Raise DataError if a batch has NaN or infinity: then the model is not at fault."""
    for part, array in (("images", images), ("labels", labels)):
        if isinstance(array, np.ndarray):
            check_finite(array, f"{name}: {part}")


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


def _classes(labels: NDArray[Any], outputs: NDArray[Any]) -> NDArray[np.int64] | None:
    """Return the class of each example; None if the labels are not classes."""
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        return None
    if labels.ndim == 1 and labels.dtype.kind in "iu":
        classes = labels.astype(np.int64, copy=False)  # narrower types would overflow
        largest = classes.view(np.uint64).max(initial=0)  # negative ones become 2⁶³ or more
        return classes if largest < outputs.shape[1] else None
    if labels.shape == outputs.shape:
        ones = labels == 1
        if (ones.sum(axis=1) == 1).all() and (labels[~ones] == 0).all():
            return np.asarray(ones.argmax(axis=1), np.int64)
    return None
