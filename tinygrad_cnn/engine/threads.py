"""How many threads the computation may use, and products that use them.

Work is cut into pieces by its size alone, never by the number of threads: whoever does a piece, the
result is the same to the last bit.
"""

from __future__ import annotations

import os
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.engine import buffers, pool
from tinygrad_cnn.engine.blas import on_one_thread
from tinygrad_cnn.engine.context import changed

SMALL = 1 << 17  # multiply-adds up to which BLAS uses one thread of its own accord
WORTH = 1 << 24  # operations from which on a second thread is worth calling: 400 µs or more
PIECE = 1 << 23  # multiply-adds that are worth a piece of their own

_limit: ContextVar[int | None] = ContextVar("num_threads", default=None)


def num_threads(n: int) -> changed[int | None]:
    """Compute with at most `n` threads inside ``with num_threads(n):``.

    Otherwise with one for each core that the process may run on. The results are the same bits for
    every `n`.

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
    return changed(_limit, lambda _: n)


def run(piece: pool.Piece, count: int, operations: int) -> None:
    """Call `piece` with 0 … `count` − 1, by as many threads as may be used and are worth it.

    `operations` says how much work there is in all: multiply-adds, or bytes read and written.
    """
    if operations <= SMALL:
        pool.run_alone(piece, count)
    else:
        pool.run(piece, count, (_limit.get() or _cores()) if operations >= WORTH else 1)


def matmul(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Return ``np.matmul(a, b)``, in pieces where that is worth it."""
    if a.ndim < 2 or b.ndim < 2:
        return np.asarray(np.matmul(a, b))
    if a.shape[-1] == b.shape[-2] == 1 and a.ndim == b.ndim == 2:
        return np.asarray(a * b)  # nothing to add up; BLAS would take four times as long
    if a.size * b.shape[-1] <= SMALL:
        return np.asarray(np.matmul(a, b))
    pieces = a.size * b.shape[-1] // PIECE
    rows, columns = a.shape[-2], b.shape[-1]
    if a.ndim > 2 or b.ndim > 2 or pieces < 2 or a.shape[1] != b.shape[0] or a.dtype != b.dtype:
        return np.asarray(on_one_thread(lambda: np.matmul(a, b)))
    y = buffers.empty((rows, columns), a.dtype)
    along = int(columns > rows)
    cuts = _cuts(max(rows, columns), pieces)

    def piece(i: int) -> None:
        part = slice(cuts[i], cuts[i + 1])
        if along:
            np.matmul(a, b[:, part], out=y[:, part])
        else:
            np.matmul(a[part], b, out=y[part])

    run(piece, len(cuts) - 1, rows * a.shape[1] * columns)
    return y


def _cuts(length: int, pieces: int) -> list[int]:
    """Return where to cut `length` into at most that many pieces, whole vectors of 16 each."""
    step = max(1, -(-length // (16 * pieces))) * 16
    return [*range(0, length, step), length]


def _cores() -> int:
    """Return how many cores the process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
