"""Compiled kernels, and the machine that runs programs of them without the GIL (extra `fast`).

Nothing here is imported before it is needed, and `tinygrad_cnn.engine` works without it.
"""

from __future__ import annotations

import functools
import importlib.util

from tinygrad_cnn.engine.configuration import configuration

__all__ = ["is_available", "is_on"]


@functools.cache
def is_available() -> bool:
    """Return whether the extra `fast` is installed."""
    return importlib.util.find_spec("numba") is not None


def is_on() -> bool:
    """Return whether to use compiled kernels: installed, and not switched off by `options`."""
    return configuration.get().fast and is_available()
