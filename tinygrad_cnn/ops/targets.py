"""Targets of classifiers: labels or rows of class weights, checked, with their weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.variable import Array, array_of
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.ops.loss import share
from tinygrad_cnn.support.arguments import first_index, indexed


@dataclass(slots=True)
class Target:
    """The checked target of scores of `shape` with the class axis `at`: labels or rows.

    Attributes
    ----------
    labels : ndarray
        Of the shape of the examples, 0 where ignored. Empty if there are rows.
    rows : ndarray or None
        The weight of each class of each example, of `shape`.
    shares : ndarray or None
        The weight of each label, 0 where ignored. None if all are 1.
    weight : ndarray or None
        The weight of each class, with axes that broadcast to `shape`.
    """

    name: str
    shape: Shape
    at: int
    dtype: np.dtype[Any]
    labels: NDArray[Any]
    rows: NDArray[Any] | None
    shares: NDArray[Any] | None
    weight: NDArray[Any] | None

    def count(self, reduction: str) -> float:
        """Return the divisor of the summed losses."""
        if reduction != "mean" or self.shares is None:
            return share(without(self.shape, self.at), reduction)
        if count := float(self.shares.sum(dtype=np.float64)):
            return count
        raise ValueError(f"{self.name}: nothing to average: every label is ignored or weighs 0")

    def one_hot(self) -> NDArray[Any]:
        """Return the labels as one-hot rows along the class axis."""
        labels, classes = self.labels.reshape(-1), self.shape[self.at]
        rows = np.zeros((labels.size, classes), self.dtype)
        rows[np.arange(labels.size), labels] = 1.0
        if self.at == len(self.shape) - 1:
            return rows.reshape(self.shape)
        return np.moveaxis(rows.reshape(*self.labels.shape, classes), -1, self.at)

    def smoothed(self, smoothing: float) -> NDArray[Any]:
        """Return the weight of each class of each example, with smoothed labels or rows."""
        if not 0.0 <= smoothing <= 1.0:
            raise ValueError(f"{self.name}: label_smoothing is {smoothing}, expected 0 to 1")
        wanted = self.one_hot() if self.rows is None else self.rows
        if smoothing:
            wanted = wanted * (1.0 - smoothing) + smoothing / self.shape[self.at]
        if self.weight is not None:
            wanted = wanted * self.weight
        if self.shares is not None:
            wanted = wanted * np.expand_dims(self.shares != 0, self.at)
        return wanted


_UNSIGNED = {np.dtype(f"{kind}{n}"): np.dtype(f"u{n}") for kind in "iu" for n in (1, 2, 4, 8)}
_NO_LABELS = np.zeros(0, np.intp)


def checked_target(
    name: str,
    target: Array,
    shape: Shape,
    at: int,
    weight: Array | None,
    ignore_index: int,
    dtype: np.dtype[Any],
) -> Target:
    """Return the target; raise if it or `weight` is invalid."""
    target, examples = np.asarray(target), without(shape, at)
    if dtype.kind == "c":  # of a complex step
        dtype = np.empty(0, dtype).real.dtype
    labels, rows, shares = _NO_LABELS, None, None
    if weight is not None:
        weight = np.real(array_of(weight)).astype(dtype)
        if weight.shape != (shape[at],):
            raise ValueError(f"{name}: weight has shape {weight.shape}, expected ({shape[at]},)")
    if target.shape == examples:
        labels, ignored = _labels(name, target, shape[at], ignore_index)
        shares = None if weight is None else weight[labels]
        if ignored is not None:
            shares = np.where(ignored, 0, 1 if shares is None else shares).astype(dtype)
    elif target.shape == shape and target.dtype.kind in "fiub":
        rows = _rows(name, target, at).astype(dtype)
    else:
        raise ValueError(
            f"{name}: target has shape {target.shape} and dtype {target.dtype}; expected "
            f"labels of shape {examples} or floating rows of shape {shape}"
        )
    if weight is not None:
        weight = weight.reshape(-1, *(1,) * (len(shape) - at - 1))
    return Target(name, shape, at, dtype, labels, rows, shares, weight)


def class_axis(name: str, shape: Shape, axis: int | None) -> int:
    """Return the class axis of scores of `shape`, not negative."""
    if axis is None:
        axis = 1 if len(shape) > 2 else len(shape) - 1
    elif shape and not (_is_whole(axis) and -len(shape) <= axis < len(shape)):
        raise ValueError(f"{name}: axis is {axis!r}, but logits has shape {shape}")
    if not shape or shape[axis] == 0:
        raise ValueError(f"{name}: logits has shape {shape}, expected one class or more")
    return axis % len(shape)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def refuse_ambiguous(name: str, target: Array, shape: Shape) -> None:
    """Raise if the target suggests that the classes are on the last of three or more axes."""
    if len(shape) < 3:
        return
    target = np.asarray(target)
    if target.shape == shape:
        fits = [np.allclose(target.sum(axis=k), 1.0, atol=1e-3) for k in (1, -1)]
        doubtful = fits == [False, True]
    else:
        doubtful = target.shape == shape[:-1]
    if doubtful:
        raise ValueError(
            f"{name}: logits has shape {shape} and target {target.shape}, as if the classes "
            "were on the last axis, but by default they are on axis 1; pass axis=-1 or axis=1"
        )


def without(shape: Shape, at: int) -> Shape:
    """Return `shape` without the axis `at`."""
    return shape[:at] + shape[at + 1 :]


def _rows(name: str, target: NDArray[Any], at: int) -> NDArray[Any]:
    """Return rows of class weights; raise if they are invalid."""
    if target.size and not (target.min() >= 0 and target.max() < np.inf):
        index = first_index(~((target >= 0) & (target < np.inf)))
        raise ValueError(
            f"{name}: {indexed('target', index)} is {target[index]}, expected a finite number >= 0"
        )
    if target.dtype.kind != "f" and not (target.sum(axis=at) == 1).all():
        raise ValueError(
            f"{name}: target holds {target.dtype} of the shape of the logits, {target.shape}, "
            "but its rows are not one-hot; weights are floats"
        )
    return target


def _labels(
    name: str, target: NDArray[Any], classes: int, ignore_index: int
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Return the labels, 0 where ignored, and a mask of the ignored ones, or None.

    Raise if they are not integers in range.
    """
    if target.dtype.kind not in "iu":
        raise TypeError(f"{name}: target holds {target.dtype}, expected integer labels")
    unsigned = _UNSIGNED.get(target.dtype)
    if unsigned is not None and target.size and ignore_index < 0:
        extreme = target.item(target.view(unsigned).argmax())  # a negative label, if there is one
        if 0 <= extreme < classes:
            return target, None
    flat = target.reshape(-1)
    ignored = flat == ignore_index
    known = np.where(ignored, 0, flat)
    outside = (known < 0) | (known >= classes)
    if outside.any():
        first = int(np.argmax(outside))
        raise ValueError(
            f"{name}: target has label {flat[first]} at {first}, expected 0 to {classes - 1}"
        )
    if not ignored.any():
        return target, None
    return known.reshape(target.shape), ignored.reshape(target.shape)
