"""Metrics of outputs and labels, summed over the batches of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.support.arguments import choice, whole

__all__ = [
    "METRICS",
    "Accuracy",
    "F1Score",
    "JaccardIndex",
    "Metric",
    "MetricFunction",
    "Precision",
    "Recall",
    "TopKAccuracy",
    "as_number",
    "checked_metrics",
    "matched",
]

IGNORED = -100  # as in cross_entropy
AVERAGES = ("macro", "micro", "weighted", "binary")

Counts: TypeAlias = NDArray[np.floating[Any] | np.integer[Any]]
MetricFunction: TypeAlias = Callable[[NDArray[Any], NDArray[Any]], Any]


class Metric:
    """Base class of metrics: counts of each batch are added, and give one number.

    Derive from it for a metric that is not the mean of its values over batches; for such a mean, a
    function ``(outputs, labels) -> float`` is enough.

    Examples
    --------
    >>> class RootMeanSquare(Metric):
    ...     def count(self, outputs, labels):
    ...         return np.array([((outputs - labels) ** 2).sum(), outputs.size])
    ...
    ...     def value(self, counts):
    ...         return float(np.sqrt(counts[0] / counts[1]))
    """

    def count(self, outputs: NDArray[Any], labels: NDArray[Any]) -> Counts | None:
        """Return the counts of a batch, an array; None if labels are not classes but weights."""
        raise NotImplementedError(f"{type(self).__name__} has no count(outputs, labels)")

    def value(self, counts: Counts) -> float:
        """Return the metric, from the sum of the counts."""
        raise NotImplementedError(f"{type(self).__name__} has no value(counts)")


@dataclass(frozen=True)
class TopKAccuracy(Metric):
    """The fraction of labels that are among the `k` classes with the largest outputs.

    Parameters
    ----------
    k : int
        Of equal outputs, those of the first classes count as larger, as for ``argmax``.
    ignore_index : int
        Examples or pixels with this label do not count.

    Raises
    ------
    ValueError
        If `k` is below 1.

    Examples
    --------
    >>> outputs, labels = np.array([[1, 2, 3], [3, 2, 1]]), np.array([1, 2])
    >>> top = TopKAccuracy(2)
    >>> top.value(top.count(outputs, labels))
    0.5
    """

    k: int = 5
    ignore_index: int = IGNORED

    def __post_init__(self) -> None:
        whole("TopKAccuracy", "k", self.k)

    def count(self, outputs: NDArray[Any], labels: NDArray[Any]) -> Counts | None:
        """Return the number of hits and of labels."""
        found = matched("TopKAccuracy", outputs, labels, self.ignore_index)
        if found is None:
            return None
        if outputs.ndim < 2 or outputs.shape[1] == 1:
            raise ValueError(
                f"TopKAccuracy: outputs have shape {outputs.shape}; expected one per class"
            )
        scores = np.moveaxis(outputs, 1, -1).reshape(-1, found.classes)[found.kept]
        own = scores[np.arange(len(scores)), found.actual][:, None]
        before = np.arange(found.classes) < found.actual[:, None]
        rank = ((scores > own) | (before & (scores == own))).sum(axis=1)
        return np.array([(rank < self.k).sum(), len(rank)])

    def value(self, counts: Counts) -> float:
        """Return the fraction of hits."""
        return _divided(*counts)


class _OfConfusion(Metric):
    ignore_index: int

    def count(self, outputs: NDArray[Any], labels: NDArray[Any]) -> Counts | None:
        """Return the confusion matrix: row i, column j counts class i predicted as j."""
        found = matched(type(self).__name__, outputs, labels, self.ignore_index)
        return None if found is None else found.confusion()


@dataclass(frozen=True)
class Accuracy(_OfConfusion):
    """The fraction of examples, or of pixels, whose largest output is that of their class.

    Parameters
    ----------
    ignore_index : int
        Examples or pixels with this label do not count.

    Examples
    --------
    >>> outputs = np.zeros((1, 3, 2, 2))  # of a segmentation: 3 classes, 2×2 pixels
    >>> accuracy = Accuracy(ignore_index=255)
    >>> accuracy.value(accuracy.count(outputs, np.array([[[0, 0], [1, 255]]])))
    0.6666666666666666
    """

    ignore_index: int = IGNORED

    def value(self, counts: Counts) -> float:
        """Return the fraction."""
        return _divided(np.trace(counts), counts.sum())


@dataclass(frozen=True)
class _Averaged(_OfConfusion):
    average: str = "macro"
    ignore_index: int = IGNORED

    def __post_init__(self) -> None:
        choice(type(self).__name__, "average", self.average, AVERAGES)

    def value(self, counts: Counts) -> float:
        """Return the average over the classes."""
        hits, predicted, actual = np.diag(counts), counts.sum(axis=0), counts.sum(axis=1)
        all_of = self._all(hits, predicted, actual)
        if self.average == "micro":
            return _divided(hits.sum(), all_of.sum())
        values = hits / np.maximum(all_of, 0.5)  # counts are 0, 1/2 or more
        if self.average == "binary":
            if len(hits) != 2:
                raise ValueError(
                    f"{type(self).__name__}: average is 'binary' but there are {len(hits)} "
                    f"classes; expected 2, or one of {', '.join(AVERAGES[:-1])}"
                )
            return float(values[1])
        weight = actual if self.average == "weighted" else (predicted + actual > 0)
        return _divided((weight * values).sum(), weight.sum())

    @staticmethod
    def _all(hits: Counts, predicted: Counts, actual: Counts) -> Counts:
        """Return, of each class, what its hits are a fraction of."""
        raise NotImplementedError


@dataclass(frozen=True)
class Precision(_Averaged):
    """Of the examples predicted as a class, the fraction that belong to it.

    Parameters
    ----------
    average : {"macro", "micro", "weighted", "binary"}
        "macro" is the mean over the classes that occur in labels or predictions; "weighted" weights
        them by their number of labels; "micro" sums the counts of all classes first; "binary" is
        the value of class 1 of two. A class without any has the value 0.
    ignore_index : int
        Examples or pixels with this label do not count.

    Raises
    ------
    ValueError
        If `average` is none of these.

    Examples
    --------
    >>> outputs, labels = np.eye(3)[[0, 0, 1, 1]], np.array([0, 1, 1, 1])
    >>> precision = Precision()
    >>> precision.value(precision.count(outputs, labels))
    0.75
    """

    @staticmethod
    def _all(hits: Counts, predicted: Counts, actual: Counts) -> Counts:
        return predicted


@dataclass(frozen=True)
class Recall(_Averaged):
    """Of the examples of a class, the fraction predicted as it.

    Parameters and errors as for `Precision`.

    Examples
    --------
    >>> outputs, labels = np.eye(3)[[0, 0, 1, 1]], np.array([0, 0, 1, 0])
    >>> recall = Recall()
    >>> recall.value(recall.count(outputs, labels))
    0.8333333333333333
    """

    @staticmethod
    def _all(hits: Counts, predicted: Counts, actual: Counts) -> Counts:
        return actual


@dataclass(frozen=True)
class F1Score(_Averaged):
    """The harmonic mean of precision and recall of a class.

    Parameters and errors as for `Precision`.

    Examples
    --------
    >>> outputs, labels = np.array([2.0, -1.0, 1.0, -3.0]), np.array([1, 1, 0, 0])
    >>> f1 = F1Score(average="binary")  # one logit per example
    >>> f1.value(f1.count(outputs, labels))
    0.5
    """

    @staticmethod
    def _all(hits: Counts, predicted: Counts, actual: Counts) -> Counts:
        half: Counts = (predicted + actual) / 2
        return half


@dataclass(frozen=True)
class JaccardIndex(_Averaged):
    """Intersection over union: of the pixels labeled or predicted as a class, those that are both.

    Over all pixels of the set, not image by image. "macro" is the mean IoU.

    Parameters and errors as for `Precision`.

    Examples
    --------
    >>> masks = np.array([[[0, 1], [1, 1]]])
    >>> outputs = np.where(np.array([[[0, 0], [1, 1]]]), 3.0, -3.0)[:, None]  # a logit per pixel
    >>> iou = JaccardIndex(average="binary")
    >>> iou.value(iou.count(outputs, masks))
    0.6666666666666666
    """

    @staticmethod
    def _all(hits: Counts, predicted: Counts, actual: Counts) -> Counts:
        union: Counts = predicted + actual - hits
        return union


METRICS: dict[str, Metric] = {
    "top5": TopKAccuracy(5),
    "precision": Precision(),
    "recall": Recall(),
    "f1": F1Score(),
    "iou": JaccardIndex(),
}
"""Metrics by name, for settings and the command line."""


@dataclass(frozen=True)
class _Mean(Metric):
    function: MetricFunction

    def count(self, outputs: NDArray[Any], labels: NDArray[Any]) -> Counts:
        value = as_number(self.function, self.function(outputs, labels))
        return np.array([value * len(outputs), len(outputs)])

    def value(self, counts: Counts) -> float:
        return _divided(*counts)


def as_number(function: Callable[..., Any], value: Any) -> float:
    """Return what a user's function returned as a number; else raise TypeError with its line."""
    if not isinstance(value, str | bytes):
        with suppress(TypeError, ValueError):
            return float(value.item() if isinstance(value, np.ndarray) else value)
    code = getattr(function, "__code__", None)
    line = f"{code.co_filename}:{code.co_firstlineno}: " if code else ""
    name = getattr(function, "__qualname__", type(function).__name__)
    array = isinstance(value, np.ndarray)
    came = f"an array of shape {value.shape}" if array else repr(value)
    raise TypeError(f"{line}{name} returned {came}, expected a number")


def checked_metrics(
    owner: str, metrics: Mapping[str, Metric | MetricFunction] | None, taken: tuple[str, ...]
) -> dict[str, Metric]:
    """Return metrics by name, functions as means; else raise TypeError or ValueError."""
    if metrics is None:
        return {}
    if not isinstance(metrics, Mapping):
        raise TypeError(
            f"{owner}: metrics are a {type(metrics).__name__}; expected a dict, such as "
            '{"top5": TopKAccuracy(5)}'
        )
    found: dict[str, Metric] = {}
    for name, metric in metrics.items():
        if not isinstance(name, str) or not name or name in taken or name.startswith("validation_"):
            raise ValueError(
                f"{owner}: a metric has the name {name!r}; expected a name that is not a column of "
                f"the history ({', '.join(taken)}) and does not start with validation_"
            )
        if not isinstance(metric, Metric) and (not callable(metric) or isinstance(metric, type)):
            raise TypeError(
                f"{owner}: metrics[{name!r}] is {metric!r}; expected a Metric, or a function "
                "(outputs, labels) -> float"
            )
        found[name] = metric if isinstance(metric, Metric) else _Mean(metric)
    return found


@dataclass(frozen=True)
class Matched:
    """Classes and predictions of examples or pixels, one after the other.

    Attributes
    ----------
    actual, predicted : ndarray of int64, shape (n,)
    classes : int
    kept : ndarray of bool
        Which of all examples or pixels these are: those with a label that is not ignored.
    """

    actual: NDArray[np.int64]
    predicted: NDArray[np.int64]
    classes: int
    kept: NDArray[np.bool_]

    def confusion(self) -> NDArray[np.int64]:
        """Return the confusion matrix: row i, column j counts class i predicted as j."""
        pairs = self.actual * self.classes + self.predicted
        counts = np.bincount(pairs, minlength=self.classes**2)
        return counts.reshape(self.classes, self.classes).astype(np.int64, copy=False)


def matched(
    owner: str, outputs: NDArray[Any], labels: NDArray[Any], ignore_index: int = IGNORED
) -> Matched | None:
    """Return the classes in labels and outputs.

    Parameters
    ----------
    owner : str
        For messages.
    outputs : ndarray
        Of shape (N, classes), (N, classes, ...), or one logit for two classes: (N,), (N, 1),
        (N, 1, ...).
    labels : ndarray
        Integers of the shape of outputs without the classes; or one-hot, of the same shape. For one
        logit 0 and 1, of any dtype.
    ignore_index : int
        What has this label is left out.

    Returns
    -------
    Matched or None
        None if labels are weights of several classes, as of `MixUp`.

    Raises
    ------
    ValueError
        If the shapes do not match, or a label is out of range.
    """
    labels = np.asarray(labels)
    shape = outputs.shape
    if outputs.ndim < 2 or shape[1] == 1:
        if labels.size != outputs.size or len(labels) != len(outputs):
            raise _mismatch(owner, outputs, labels)
        flat = labels.reshape(-1)
        kept = flat != ignore_index
        actual = flat[kept]
        if not np.isin(actual, (0, 1)).all():
            raise ValueError(f"{owner}: labels of one logit have other values than 0 and 1")
        predicted = outputs.reshape(-1)[kept] > 0
        return Matched(actual.astype(np.int64), predicted.astype(np.int64), 2, kept)
    predicted = outputs.argmax(axis=1).reshape(-1)
    if labels.shape == (shape[0], *shape[2:]) and labels.dtype.kind in "iu":
        actual = labels.reshape(-1).astype(np.int64, copy=False)  # narrower types would overflow
        kept = actual != ignore_index
        if not kept.all():
            actual, predicted = actual[kept], predicted[kept]
        if actual.view(np.uint64).max(initial=0) >= shape[1]:  # negative ones become 2⁶³ or more
            wrong = actual[(actual < 0) | (actual >= shape[1])][0]
            raise ValueError(
                f"{owner}: a label is {wrong}, expected 0 to {shape[1] - 1}, or {ignore_index}, "
                "which is left out"
            )
    elif labels.shape == shape:
        hot = labels == 1
        if (hot.sum(axis=1) != 1).any() or (labels[~hot] != 0).any():
            return None
        actual = hot.argmax(axis=1).reshape(-1)
        kept = np.ones(len(actual), np.bool_)
    else:
        raise _mismatch(owner, outputs, labels)
    return Matched(actual, predicted, shape[1], kept)


def _mismatch(owner: str, outputs: NDArray[Any], labels: NDArray[Any]) -> ValueError:
    return ValueError(
        f"{owner}: outputs have shape {outputs.shape} and labels are {labels.dtype} of shape "
        f"{labels.shape}; expected (N, classes, ...) and integers (N, ...), or one-hot labels of "
        "the same shape"
    )


def _divided(part: Any, whole: Any) -> float:
    return float(part / whole) if whole else float("nan")
