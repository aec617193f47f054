"""BLAS held at one thread while ours run.

BLAS's own threads spin while they wait for each other: inside ours they would fight for the same
cores, and on a machine that does something else as well a step can take thirty times as long. So
the first piece of work that begins sets BLAS to one thread, and the last that ends gives back what
it had.

OpenBLAS is asked and told by its own functions. threadpoolctl obeys only the first Python thread
that sets a limit, where we obey whoever computes. And ctypes lets go of the GIL around a call,
unless told otherwise: this one takes less than a microsecond, but to get the GIL back from a helper
that has just been woken takes 15.
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

_lock = RLock()  # a signal handler that computes may come in between
_running: set[object] = set()  # a token for each piece of work, in all Python threads
_before: list[tuple[Tell, int]] = []  # what each library had when the first of them began


def on_one_thread(work: Callable[[], T]) -> T:
    """Return ``work()``, with BLAS held at one thread meanwhile.

    Several Python threads may call it, and `work` itself. An interrupt may come anywhere: whatever
    has been done by then is undone, a second time if the interrupt came while it was undone.
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


def _hold(token: object) -> None:
    with _lock:
        _running.add(token)
        if not _before:
            _before.extend([(tell, ask()) for ask, tell in _libraries()])
        for tell, n in _before:
            if n != 1:
                tell(1)


def _let_go(token: object) -> None:
    with _lock:
        _running.discard(token)
        if not _running:
            for tell, n in _before:
                if n != 1:
                    tell(n)
            _before.clear()


@functools.cache
def _libraries() -> list[tuple[Ask, Tell]]:
    """Return how to ask and tell the BLAS libraries that are loaded (NumPy's) their threads."""
    controllers = ThreadpoolController().select(user_api="blas").lib_controllers
    return [_openblas(c) or (c.get_num_threads, c.set_num_threads) for c in controllers]


def _openblas(controller: LibController) -> tuple[Ask, Tell] | None:
    """Return the functions of OpenBLAS itself, if it is that, with threads of its own."""
    if controller.info().get("threading_layer") != "pthreads":
        return None
    library = ctypes.PyDLL(controller.filepath)
    for before, after in itertools.product(("", "scipy_"), ("", "64_", "_64")):
        names = [f"{before}openblas_{verb}_num_threads{after}" for verb in ("get", "set")]
        if all(hasattr(library, name) for name in names):
            return library[names[0]], library[names[1]]
    return None


def _start_afresh() -> None:
    """After a fork: the threads whose work held BLAS were not copied, so nobody will let it go."""
    global _lock
    _lock = RLock()
    _running.clear()
    _let_go(None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)
