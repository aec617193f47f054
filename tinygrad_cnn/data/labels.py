"""Class labels: validation, and conversion to and from one-hot."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from tinygrad_cnn.data.errors import DataError
from tinygrad_cnn.support.arguments import first_index, indexed

__all__ = ["as_labels", "from_one_hot", "one_hot"]


def as_labels(labels: ArrayLike, classes: int, name: str = "labels") -> NDArray[np.int64]:
    """Check class labels and return them as int64.

    Parameters
    ----------
    labels : array_like
        Of any shape; booleans, integers, or floats with integer values.
    classes : int
        The number of classes; every label must be from 0 to ``classes - 1``.
    name : str
        The name of the labels in the message.

    Returns
    -------
    ndarray of int64
        The labels, in the same shape; not copied if already int64.

    Raises
    ------
    DataError
        If a label is negative, too large, not whole, or NaN; the message names the first.

    Examples
    --------
    >>> as_labels([2.0, 0.0], classes=3)
    array([2, 0])
    >>> as_labels([2, 0, 3], classes=3)
    Traceback (most recent call last):
        ...
    tinygrad_cnn.data.errors.DataError: labels[2] is 3; expected an integer from 0 to 2
    """
    try:
        array: NDArray[Any] = np.asarray(labels)
    except ValueError as error:  # nested lists of different lengths
        raise DataError(f"{name} cannot be converted to an array: {error}") from error
    if array.dtype.kind not in "buif":
        raise DataError(f"{name} are of dtype {array.dtype}; expected integers")
    good = (array >= 0) & (array < classes)  # false for NaN
    if array.dtype.kind == "f":
        good &= array == np.floor(array)
    if not good.all():
        index = first_index(~good)
        raise DataError(
            f"{indexed(name, index)} is {array[index]}; expected an integer from 0 to {classes - 1}"
        )
    return array.astype(np.int64, copy=False)


def one_hot(labels: ArrayLike, classes: int, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Turn class labels into indicator vectors.

    Parameters
    ----------
    labels : array_like
        Whole numbers from 0 to ``classes - 1``, of any shape ``(...)``.
    classes : int
        The number of classes, at least 1.
    dtype : dtype_like
        The dtype of the result.

    Returns
    -------
    ndarray of `dtype`, shape (..., classes)
        1 at the index of each label, 0 elsewhere: ``y[..., k] = [labels[...] = k]``.

    Raises
    ------
    DataError
        If a label is negative, too large, not whole, or NaN; the message names the first.
    ValueError, TypeError
        If `classes` is not a positive integer.

    Examples
    --------
    >>> one_hot([2, 0], classes=3)
    array([[0., 0., 1.],
           [1., 0., 0.]], dtype=float32)
    """
    if operator.index(classes) < 1:
        raise ValueError(f"one_hot: classes is {classes}; expected at least 1")
    array = as_labels(labels, classes)
    hot = np.zeros((*array.shape, classes), dtype)
    np.put_along_axis(hot, array[..., None], 1, axis=-1)
    return hot


def from_one_hot(array: ArrayLike) -> NDArray[np.int64]:
    """Turn indicator vectors back into class labels; the inverse of `one_hot`.

    Parameters
    ----------
    array : array_like
        Of shape ``(..., classes)``: each vector along the last axis has one 1, and 0 elsewhere.

    Returns
    -------
    ndarray of int64, shape (...)
        The index of the 1 in each vector.

    Raises
    ------
    DataError
        If there is no last axis, or a vector is not one-hot (the first is named).

    Examples
    --------
    >>> from_one_hot([[0, 0, 1], [1, 0, 0]])
    array([2, 0])
    """
    hot: NDArray[Any] = np.asarray(array)
    if hot.ndim == 0 or hot.shape[-1] == 0 or hot.dtype.kind not in "buif":
        raise DataError(
            f"from_one_hot: got shape {hot.shape} of {hot.dtype}; expected numbers (..., classes)"
        )
    good = (np.count_nonzero(hot, axis=-1) == 1) & (np.count_nonzero(hot == 1, axis=-1) == 1)
    if not good.all():
        index = first_index(~good)
        raise DataError(
            f"from_one_hot: {indexed('array', index)} is {hot[index]}; expected one 1 among zeros"
        )
    return np.asarray(hot.argmax(axis=-1), np.int64)
