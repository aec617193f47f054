"""Rows of an axis taken by their numbers, and added back: in the order of memory, piece by piece.

A row is the part of an array at one position of an axis. NumPy's indexing returns the axes in their
logical order: images with the images last come out with the images first, one value at a time. Here
the layout stays, and the adjacent values of a row are moved together.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.engine import memory, threads
from tinygrad_cnn.engine.arrays import Array, inverse, memory_order

PIECE = 1 << 20  # bytes that one piece of work writes
TURNS = 32  # how often a row may be taken for its copies to be added turn by turn

RowNumbers: TypeAlias = NDArray[np.integer[Any]]


def take(x: Array, rows: RowNumbers, axis: int) -> Array:
    """Return the rows of an axis with these numbers, in the memory order of `x`.

    Raises
    ------
    IndexError
        If there is no such row.
    """
    order = memory_order(x.shape, x.strides)
    ordered, place = x.transpose(order), order.index(axis)
    shape = (*ordered.shape[:place], len(rows), *ordered.shape[place + 1 :])
    if math.prod(shape) * x.itemsize <= PIECE:
        return ordered.take(rows, place).transpose(inverse(order))
    numbers = _counted(rows, x.shape[axis])
    if numbers is None:
        return ordered.take(rows, place)  # raises
    out = memory.empty(shape, x.dtype)
    step, count = _steps(shape[0], out.nbytes)

    def piece(i: int) -> None:
        part = slice(i * step, (i + 1) * step)
        if place == 0:
            ordered.take(numbers[part], 0, out[part], "clip")
        else:
            ordered[part].take(numbers, place, out[part], "clip")

    threads.run(piece, count, 4 * out.nbytes)
    return out.transpose(inverse(order))


def put(u: Array, rows: RowNumbers, axis: int, count: int) -> Array | None:
    """Return `count` rows of zeros with `u` added at these numbers, the adjoint of `take`.

    None if that takes many steps, or there is no such row.
    """
    numbers = _counted(rows, count)
    if numbers is None or not numbers.size or np.bincount(numbers).max() > TURNS:
        return None
    order = memory_order(u.shape, u.strides)
    ordered, place = u.transpose(order), order.index(axis)
    out = memory.empty((*ordered.shape[:place], count, *ordered.shape[place + 1 :]), u.dtype)
    ahead: Any = (slice(None),) * place
    turns = [((*ahead, to), (*ahead, of)) for to, of in _turns(numbers)]
    full = len(np.arange(count)[turns[0][0][-1]]) == count

    def add(out: Array, u: Array) -> None:
        if not full:
            out[...] = 0
        for turn, (to, of) in enumerate(turns):
            if turn == 0:
                out[to] = u[of]
            else:
                out[to] += u[of]

    cut = 0 if place or out.ndim == 1 else 1  # the axis that is cut: never that of the rows
    if out.ndim == 1:
        add(out, ordered)
        return out
    step, pieces = _steps(out.shape[cut], out.nbytes)

    def piece(i: int) -> None:
        part = (*(slice(None),) * cut, slice(i * step, (i + 1) * step))
        add(out[part], ordered[part])

    threads.run(piece, pieces, 4 * out.nbytes)
    return out.transpose(inverse(order))


def _counted(rows: RowNumbers, count: int) -> RowNumbers | None:
    """Return numbers from 0 to `count` − 1, negative ones from the end; None if one is not."""
    if rows.size and (rows.min() < -count or rows.max() >= count):
        return None
    rows = rows.astype(np.intp)
    return np.where(rows < 0, rows + count, rows)


def _turns(numbers: RowNumbers) -> list[tuple[Any, Any]]:
    """Return rows to add to, no row twice at a time, and the rows to add.

    Slices if possible: of all first copies of rows, then all second copies and so on, or else of
    runs of consecutive rows, the longest first.
    """
    of = np.argsort(numbers, kind="stable")
    to = numbers[of]
    first = np.concatenate([[True], to[1:] != to[:-1]])
    places = np.arange(len(to))
    copy = places - np.maximum.accumulate(np.where(first, places, 0))
    turns = [(_as_slice(to[copy == k]), _as_slice(of[copy == k])) for k in range(copy.max() + 1)]
    starts = np.concatenate([[0], np.nonzero(np.diff(numbers) != 1)[0] + 1])
    if len(starts) > TURNS or all(type(part) is slice for turn in turns for part in turn):
        return turns
    ends = np.concatenate([starts[1:], [len(numbers)]])
    runs = sorted(zip(starts.tolist(), ends.tolist(), strict=True), key=lambda run: run[0] - run[1])
    return [(slice(int(numbers[a]), int(numbers[a]) + b - a), slice(a, b)) for a, b in runs]


def _as_slice(numbers: RowNumbers) -> Any:
    """Return numbers at equal distances as a slice."""
    first = int(numbers[0])
    if len(numbers) == 1:
        return slice(first, first + 1)
    step = int(numbers[1]) - first
    if step > 0 and (np.diff(numbers) == step).all():
        return slice(first, int(numbers[-1]) + 1, step)
    return numbers


def _steps(length: int, size: int) -> tuple[int, int]:
    """Return the length and the number of pieces of an axis, for an array of `size` bytes."""
    step = max(1, length * PIECE // max(1, size))
    return step, -(-length // step)
