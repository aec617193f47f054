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
from threading import Lock

from threadpoolctl import LibController, ThreadpoolController

_lock = Lock()
_running = 0  # pieces of work, in all Python threads
_before: list[int] = []  # the threads of each library when the first of them began

Ask = Callable[[], int]
Tell = Callable[[int], object]


class one_thread:  # noqa: N801  # a context manager
    """Hold BLAS at one thread; may be entered by several Python threads, and inside itself."""

    def __enter__(self) -> None:
        global _running
        with _lock:
            _running += 1
            if _running == 1:
                _before[:] = [ask() for ask, _ in _libraries()]
                for (_, tell), n in zip(_libraries(), _before, strict=True):
                    if n != 1:
                        tell(1)

    def __exit__(self, *_: object) -> None:
        global _running
        with _lock:
            _running -= 1
            if _running == 0:
                _let_go()


def _let_go() -> None:
    for (_, tell), n in zip(_libraries(), _before, strict=True):
        if n != 1:
            tell(n)


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
    global _lock, _running
    _lock = Lock()
    if _running:
        _running = 0
        _let_go()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)
