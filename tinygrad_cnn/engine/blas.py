"""BLAS held at one thread while ours run.

BLAS's own threads spin while they wait for each other: inside ours they would fight for the same
cores, and on a machine that does something else as well a step can take thirty times as long. So
the first piece of work that begins sets BLAS to one thread, and the last that ends gives back what
it had.

BLAS is asked and told without letting go of the GIL, which ctypes does by default: it takes less
than a microsecond, but to get the GIL back from a thread that has just begun its piece takes 15.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from threadpoolctl import LibController, ThreadpoolController

_lock = Lock()
_running = 0  # pieces of work, in all Python threads
_before: list[int] = []  # the threads of each library when the first of them began


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold BLAS at one thread; may be entered by several Python threads, and inside itself."""
    global _running
    with _lock:
        _running += 1
        if _running == 1:
            _before[:] = [library.num_threads for library in _libraries()]
            _set([1] * len(_before))
    try:
        yield
    finally:
        with _lock:
            _running -= 1
            if _running == 0:
                _set(_before)


def _set(threads: list[int]) -> None:
    for library, n in zip(_libraries(), threads, strict=True):
        if library.num_threads != n:
            library.set_num_threads(n)


@functools.cache
def _libraries() -> list[LibController]:
    """Return the BLAS libraries that are loaded (NumPy's)."""
    libraries = list(ThreadpoolController().select(user_api="blas").lib_controllers)
    for library in libraries:
        library.dynlib = ctypes.PyDLL(library.filepath)
    return libraries


def _start_afresh() -> None:
    """After a fork: the threads whose work held BLAS were not copied, so nobody will let it go."""
    global _lock, _running
    _lock = Lock()
    if _running:
        _running = 0
        _set(_before)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)
