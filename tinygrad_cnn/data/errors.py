"""Errors: invalid data."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DataError", "check_finite"]


class DataError(ValueError):
    """Invalid data. The message names the data, the value found, and the value expected.

    Examples
    --------
    >>> raise DataError("a.gz: the file is empty; expected an IDX file")
    Traceback (most recent call last):
        ...
    tinygrad_cnn.data.errors.DataError: a.gz: the file is empty; expected an IDX file
    """


def check_finite(array: NDArray[Any], name: str) -> None:
    """Check that an array has neither NaN nor infinity.

    Parameters
    ----------
    array : ndarray
        Of any shape; only floats can fail.
    name : str
        The name of the array in the message.

    Raises
    ------
    DataError
        If it does; the message names the first.

    Examples
    --------
    >>> check_finite(np.array([[1.0, np.nan]]), "images")
    Traceback (most recent call last):
        ...
    tinygrad_cnn.data.errors.DataError: images[0, 1] is nan; expected finite numbers
    """
    if array.dtype.kind != "f" or not array.size:
        return
    if np.isfinite(array.min()) and np.isfinite(array.max()):  # both are NaN if any element is
        return
    position = [int(i) for i in np.argwhere(~np.isfinite(array))[0]]
    where = f"[{', '.join(map(str, position))}]" if position else ""
    raise DataError(f"{name}{where} is {array[tuple(position)]}; expected finite numbers")
