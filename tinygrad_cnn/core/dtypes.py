"""The default dtype: that of Python numbers and new parameters."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from tinygrad_cnn.engine.context import changed

float_dtype: ContextVar[np.dtype[Any]] = ContextVar("float_dtype", default=np.dtype("f4"))  # noqa: B039  # immutable
"""The dtype of Python numbers and new parameters; see `default_dtype`."""


def default_dtype(dtype: DTypeLike) -> changed[np.dtype[Any]]:
    """Set the dtype of Python numbers and new parameters inside ``with default_dtype(dtype):``.

    Parameters
    ----------
    dtype : dtype_like
        float32 or float64.

    Raises
    ------
    TypeError
        If `dtype` is neither.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> with tg.default_dtype("float64"):
    ...     tg.Tensor(1.0).dtype
    dtype('float64')
    """
    chosen = native_float("default_dtype", dtype)
    return changed(float_dtype, lambda _: chosen)


def native_float(function: str, dtype: DTypeLike) -> np.dtype[Any]:
    """Return float32 or float64 in native byte order; raise TypeError for another dtype."""
    try:
        chosen = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"{function}: dtype is {dtype!r}, expected float32 or float64") from None
    if chosen.char not in "fd":
        raise TypeError(f"{function}: dtype is {chosen}, expected float32 or float64")
    return np.dtype(chosen.char)


def get_default_dtype() -> np.dtype[Any]:
    """Return the dtype of Python numbers and new parameters."""
    return float_dtype.get()
