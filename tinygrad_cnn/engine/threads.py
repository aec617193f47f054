"""The number of threads, and multithreaded matrix products.

The pieces of a computation depend on its size, never on the number of threads: results are
bit-identical for any number.
"""

from __future__ import annotations

import os
from contextvars import ContextVar

import numpy as np

from tinygrad_cnn.engine import thread_pool
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.blas import on_one_thread, set_blas_threads
from tinygrad_cnn.engine.context import changed
from tinygrad_cnn.engine.memory import empty

SMALL = 1 << 17  # multiply-adds; up to here BLAS itself uses one thread
WORTH = 1 << 24  # operations from which a second thread pays: some 200 µs
BYTE = 2  # operations that take as long as reading or writing one byte of a large array,
FUNCTION = 32  # and as an exp, log or tanh of one value
PIECE = 1 << 23  # multiply-adds of one piece

_limit: ContextVar[int | None] = ContextVar("num_threads", default=None)
_default: list[int] = []  # of this process, instead of the number of its cores


def num_threads(n: int) -> changed[int | None]:
    """Compute with at most `n` threads inside ``with num_threads(n):``.

    The default is one thread per core available to the process. Results are bit-identical for every
    `n`.

    Parameters
    ----------
    n : int
        The number of threads, 1 or more.

    Raises
    ------
    ValueError
        If `n` is not an integer of at least 1.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> with tg.num_threads(2):
    ...     y = tg.Tensor([1.0, 2.0]) @ tg.Tensor([3.0, 4.0])
    >>> y.item()
    11.0
    """
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise ValueError(f"num_threads: n is {n!r}, expected an integer >= 1")
    return changed(_limit, lambda _: n)


def set_default_threads(n: int) -> None:
    """Use at most `n` threads in this process outside ``with num_threads(...)``, in BLAS too."""
    _default[:] = [n]
    set_blas_threads(n)


def limit() -> int:
    """Return the number of threads that a computation may use."""
    return _limit.get() or _cores()


def run(piece: thread_pool.Piece, count: int, operations: int) -> None:
    """Call `piece` with 0 … `count` − 1, on several threads if the work is large enough.

    `operations` is the total work: multiply-adds, `BYTE` for each byte read or written, `FUNCTION`
    for each value of a function such as exp. A piece should make few and large calls of NumPy, of
    20 µs or more: between calls, threads wait for each other.
    """
    if operations <= SMALL:
        thread_pool.run_alone(piece, count)
    else:
        thread_pool.run(piece, count, limit() if operations >= WORTH else 1)


def matmul(a: Array, b: Array) -> Array:
    """Return ``np.matmul(a, b)``, in pieces if it is large."""
    left, right = a.shape, b.shape
    if len(left) < 2 or len(right) < 2:
        return np.asarray(np.matmul(a, b))
    if left[-1] == 1 == right[-2] and len(left) == len(right) == 2:
        return a * b  # no sums; BLAS would take four times as long
    if a.size * right[-1] <= SMALL:
        return np.matmul(a, b)  # type: ignore[no-any-return]  # an array
    pieces = a.size * right[-1] // PIECE
    rows, columns = left[-2], right[-1]
    if len(left) > 2 or len(right) > 2 or pieces < 2 or left[1] != right[0] or a.dtype != b.dtype:
        return np.asarray(on_one_thread(lambda: np.matmul(a, b)))
    y = empty((rows, columns), a.dtype)
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
    """Return the cuts of `length` into at most `pieces` pieces, in multiples of 16."""
    step = max(1, -(-length // (16 * pieces))) * 16
    return [*range(0, length, step), length]


def _cores() -> int:
    """Return the default number of threads: one per core available to the process."""
    if _default:
        return _default[0]
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
