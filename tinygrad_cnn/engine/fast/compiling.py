"""Compilation by Numba: kept on disk where it can be, and announced once where it takes long.

Numba keeps what it compiled beside the source; where that is read-only, in the user's cache folder,
or in the folder that the environment names as ``NUMBA_CACHE_DIR``. Several threads and processes
may compile at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from threading import Lock
from time import perf_counter
from typing import TypeVar

T = TypeVar("T")

LONG = 1.0  # seconds of compilation from which it is announced

_spent = [0.0]  # in this process; negative once it is announced
_lock = Lock()


def compiled(make: Callable[[bool], T]) -> T:
    """Return ``make(True)``, or ``make(False)`` where Numba finds no folder to keep it in.

    A line on stderr says what takes so long, once, if people watch: if stderr is a terminal.
    """
    begun = perf_counter()
    try:
        found = make(True)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        found = make(False)
    with _lock:
        if _spent[0] >= 0:
            _spent[0] += perf_counter() - begun
            if _spent[0] > LONG:
                _spent[0] = -1.0
                if sys.stderr is not None and sys.stderr.isatty():
                    print("tinygrad_cnn: compiling kernels, once", file=sys.stderr)
    return found
