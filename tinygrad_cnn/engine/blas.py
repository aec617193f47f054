"""A thread limit for BLAS: one thread while the engine's own threads run.

BLAS threads spin while they wait for each other. Inside the engine's threads they would compete for
the same cores: on a busy machine a step can take thirty times as long. So the first piece of work
to start sets BLAS to one thread, and the last to finish restores the previous number.

The limit is set through OpenBLAS's own functions. threadpoolctl accepts a limit only from the first
Python thread that sets one; the engine must accept it from any thread. By default ctypes releases
the GIL around a call. The call takes less than a microsecond, but getting the GIL back from a
helper that was just woken takes 15 µs; `PyDLL` keeps the GIL.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
from collections.abc import Callable
from threading import RLock
from typing import TypeVar

from threadpoolctl import LibController, ThreadpoolController

T = TypeVar("T")
Ask = Callable[[], int]
Tell = Callable[[int], object]

_lock = RLock()  # reentrant: a signal handler may compute
_running: set[object] = set()  # one token per piece of work, over all Python threads
_before: list[tuple[Tell, int]] = []  # each library's number of threads before the first piece


def on_one_thread(work: Callable[[], T]) -> T:
    """Return ``work()``, computed with BLAS at one thread.

    Safe to call from several Python threads and from `work` itself. An interrupt may come anywhere:
    the limit is restored, again if the interrupt came while restoring it.
    """
    token = object()
    try:
        _hold(token)
        return work()
    finally:
        try:
            _let_go(token)
        except BaseException:
            _let_go(token)
            raise


def set_blas_threads(n: int) -> None:
    """Let BLAS use at most `n` threads in this process, outside `on_one_thread`."""
    with _lock:
        _before[:] = [(set_count, n) for set_count, _ in _before]
        if not _running:
            for _, set_count in _libraries():
                set_count(n)


def _hold(token: object) -> None:
    with _lock:
        _running.add(token)
        if not _before:
            _before.extend([(set_count, count()) for count, set_count in _libraries()])
        for set_count, n in _before:
            if n != 1:
                set_count(1)


def _let_go(token: object) -> None:
    with _lock:
        _running.discard(token)
        if not _running:
            for set_count, n in _before:
                if n != 1:
                    set_count(n)
            _before.clear()


@functools.cache
def _libraries() -> list[tuple[Ask, Tell]]:
    """Return the functions that get and set the threads of each loaded BLAS library."""
    controllers = ThreadpoolController().select(user_api="blas").lib_controllers
    return [_openblas(c) or (c.get_num_threads, c.set_num_threads) for c in controllers]


def _openblas(controller: LibController) -> tuple[Ask, Tell] | None:
    """Return the get and set functions of OpenBLAS, if it is OpenBLAS with pthreads."""
    if controller.info().get("threading_layer") != "pthreads":
        return None
    library = ctypes.PyDLL(controller.filepath)
    for before, after in itertools.product(("", "scipy_"), ("", "64_", "_64")):
        names = [f"{before}openblas_{verb}_num_threads{after}" for verb in ("get", "set")]
        if all(hasattr(library, name) for name in names):
            return library[names[0]], library[names[1]]
    return None


def _start_afresh() -> None:
    """Reset the limit after a fork: the threads that held it were not copied."""
    global _lock
    _lock = RLock()
    _running.clear()
    _let_go(None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)
