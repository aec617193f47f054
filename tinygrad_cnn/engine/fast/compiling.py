"""Compilation by Numba: kept on disk where it can be, and announced once where it takes long.

Numba keeps what it compiled beside the source; where that is read-only, in the user's cache folder,
or in the folder that the environment names as ``NUMBA_CACHE_DIR``. Several threads and processes
may compile at once: threads wait for each other, and a fork waits for them, so that a child never
has half of a compilation, or Numba's lock held by a thread that it has not.
"""

from __future__ import annotations

import gc
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from time import perf_counter
from typing import Any, TypeVar

from tinygrad_cnn.engine.fast.numba_private import (
    FunctionCache,
    NumbaError,
    is_uncachable,
    llvm_lock,
)

T = TypeVar("T")

LONG = 1.0  # seconds of compilation from which it is announced

_spent = [0.0]  # in this process; negative once it is announced
_lock = RLock()


def _hold() -> None:
    _lock.acquire()
    llvm_lock.__enter__()


def _release() -> None:
    llvm_lock.__exit__(None, None, None)
    _lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_release)


def compiled(make: Callable[[bool], T], function: Callable[..., Any]) -> T:
    """Return ``make(True)``, or ``make(False)`` where Numba finds no folder to keep `function` in.

    What is damaged on disk is replaced. A line on stderr says what takes so long, once, if people
    watch: if stderr is a terminal.
    """
    with _lock, _uncollected():
        begun = perf_counter()
        found = _made(make, function)
        if _spent[0] >= 0:
            _spent[0] += perf_counter() - begun
            if _spent[0] > LONG:
                _spent[0] = -1.0
                if sys.stderr is not None and sys.stderr.isatty():
                    print("tinygrad_cnn: compiling kernels, once", file=sys.stderr)
        return found


@contextmanager
def _uncollected() -> Iterator[None]:
    """Sweep no garbage: a tenth of the time, as Numba makes many objects that stay."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _made(make: Callable[[bool], T], function: Callable[..., Any]) -> T:
    try:
        return make(True)
    except NumbaError:  # a mistake in the function
        raise
    except Exception as error:  # of pickle or of the file system, by the kind of damage
        if is_uncachable(error):
            return make(False)
    try:
        FunctionCache(function).flush()
        return make(True)
    except Exception:
        return make(False)


def remove_other_versions(function: Callable[..., Any], version: str) -> None:
    """Remove what is kept of a function whose name ends with `version`, with other last digits.

    Nothing would read it again, and each change of the source leaves a file of each kernel.
    """
    start = function.__name__.removesuffix(version) + version[:-8]
    source = Path(inspect.getfile(function)).stem
    try:
        folder = Path(FunctionCache(function).cache_path)
        for file in folder.glob(f"{source}.{start}{'[0-9a-f]' * 8}-*.nb[ic]"):
            if not file.name.startswith(f"{source}.{function.__name__}-"):
                file.unlink(missing_ok=True)
    except (OSError, RuntimeError):  # no folder, or another process has the file open
        pass
