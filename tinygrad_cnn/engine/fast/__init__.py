"""Compiled kernels, and the machine that runs programs of them without the GIL (extra `fast`).

Nothing here is imported before it is needed, and `tinygrad_cnn.engine` works without it.
"""

from __future__ import annotations

import functools
import importlib.util
import warnings
from typing import Any

from tinygrad_cnn.engine.configuration import configuration

__all__ = ["is_available", "is_on", "kernels"]

LEAST = 1 << 13  # values of an array for which a call of a kernel, 4 µs, pays


@functools.cache
def is_available() -> bool:
    """Return whether the extra `fast` is installed."""
    return importlib.util.find_spec("numba") is not None


def is_on() -> bool:
    """Return whether to use compiled kernels: installed, and not switched off by `options`."""
    return configuration.get().fast and is_available() and _works()


@functools.cache
def _works() -> bool:
    """Return whether the Numba that is installed has what the kernels need; warn if not."""
    try:
        _module("numba_private")
    except (ImportError, AttributeError) as error:
        warnings.warn(
            f"the compiled kernels (extra fast) do not work with the Numba that is installed, and "
            f"NumPy computes in their place: {error}; install a version that this one of "
            "tinygrad_cnn was released with, such as numba==0.68",
            RuntimeWarning,
            stacklevel=4,
        )
        return False
    return True


def kernels(name: str, x: Any, least: int = LEAST) -> Any:
    """Return a module of `eager` that computes with an array `x`, or None for NumPy.

    Arrays of less than `least` values are for NumPy, and dtypes other than float32 and float64.
    """
    if x.size < least or x.dtype.char not in "fd" or not is_on() or not x.dtype.isnative:
        return None
    return _module(f"eager.{name}")


@functools.cache
def _module(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}")
