"""Errors: invalid data."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.support.arguments import first_index, indexed

__all__ = ["DataError", "check_finite", "check_memory"]


class DataError(ValueError):
    """Invalid data. The message names the data, the value found, and the value expected.

    Examples
    --------
    >>> raise DataError("a.gz: the file is empty; expected an IDX file")
    Traceback (most recent call last):
        ...
    tinygrad_cnn.data.errors.DataError: a.gz: the file is empty; expected an IDX file
    """


def check_finite(
    array: NDArray[Any], name: str, examples: NDArray[np.integer[Any]] | None = None
) -> None:
    """Check that an array has neither NaN nor infinity.

    Parameters
    ----------
    array : ndarray
        Of any shape; only floats can fail.
    name : str
        The name of the array in the message.
    examples : ndarray of int, optional
        The number of each example of a batch in the whole set, for the message.

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
    index = first_index(~np.isfinite(array))
    where = indexed(name, index)
    if examples is not None and index:
        where += f" (example {examples[index[0]]})"
    raise DataError(f"{where} is {array[index]}; expected finite numbers")


def check_memory(size: int, name: str) -> None:
    """Check that a file's contents fit into the memory of this machine, before reading them.

    A small compressed file, or a header, can claim any size.

    Parameters
    ----------
    size : int
        The bytes that the file claims.
    name : str
        The name of the file in the message.

    Raises
    ------
    DataError
        If they do not.

    Examples
    --------
    >>> check_memory(1 << 60, "images.npz")
    Traceback (most recent call last):
        ...
    tinygrad_cnn.data.errors.DataError: images.npz: claims 1,073,741,824 GB; this machine has \
... GB of memory
    """
    if not hasattr(os, "sysconf"):  # Windows
        return
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory:
        raise DataError(
            f"{name}: claims {size >> 30:,} GB; this machine has {memory >> 30:,} GB of memory"
        )
