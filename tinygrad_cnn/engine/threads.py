"""How many threads the computation may use.

BLAS's own threads spin while they wait for each other: on a machine that does something else as
well, a step can take thirty times as long. So BLAS is held at one thread while our products run,
unless more are asked for, and gets back what it had.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import LibController, ThreadpoolController

SMALL = 1 << 17  # multiply-adds up to which BLAS uses one thread of its own accord

_limit: ContextVar[int] = ContextVar("num_threads", default=1)
_lock = Lock()
_running = 0  # products, in all Python threads
_before: list[int] = []  # the threads of each library when the first of them began


@contextmanager
def num_threads(n: int) -> Iterator[None]:
    """Compute with at most `n` threads inside ``with num_threads(n):``; otherwise with one.

    Parameters
    ----------
    n : int
        1 or more.

    Raises
    ------
    ValueError
        If `n` is no whole number from 1 up.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> with tg.num_threads(2):
    ...     y = tg.Tensor([1.0, 2.0]) @ tg.Tensor([3.0, 4.0])
    >>> y.item()
    11.0
    """
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise ValueError(f"num_threads: n is {n!r}, expected a whole number from 1 up")
    token = _limit.set(n)
    try:
        yield
    finally:
        _limit.reset(token)


def matmul(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Return ``np.matmul(a, b)``, computed by as many threads as are asked for."""
    if a.ndim < 2 or b.ndim < 2 or a.size * b.shape[-1] <= SMALL:
        return np.asarray(np.matmul(a, b))
    with _blas_at(_limit.get()):
        return np.asarray(np.matmul(a, b))


@contextmanager
def _blas_at(threads: int) -> Iterator[None]:
    """Hold BLAS at `threads`; the first of several products at once sets it, the last restores."""
    global _running
    with _lock:
        _running += 1
        if _running == 1:
            _before[:] = [library.num_threads for library in _libraries()]
            _set([threads] * len(_before))
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
    return list(ThreadpoolController().select(user_api="blas").lib_controllers)
