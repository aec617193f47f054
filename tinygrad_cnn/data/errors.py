"""Errors: invalid data, or a missing optional package."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DataError", "check_finite", "require"]


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


def require(module: str, purpose: str) -> Any:
    """Import a module of the extra ``data`` at its first use.

    Parameters
    ----------
    module : str
        The module to import, dotted or not.
    purpose : str
        The feature that needs it: the subject of the error message.

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    ModuleNotFoundError
        If it is not installed; the message has the command to install it.

    Examples
    --------
    >>> require("json", "reading settings").loads("[1]")
    [1]
    >>> require("no_such_module", "downloading MNIST")
    Traceback (most recent call last):
        ...
    ModuleNotFoundError: downloading MNIST needs the module 'no_such_module', which is not \
installed: pip install "tinygrad_cnn[data]"
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{purpose} needs the module {error.name!r}, which is not installed: "
            'pip install "tinygrad_cnn[data]"',
            name=error.name,
        ) from error
