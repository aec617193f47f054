"""Max pooling of large images: the maxima, and which cells they are.

The winner of a window is the kernel offset, i·KW + j, of its first cell that equals the maximum:
the number of cells before it, which all differ. In large windows the cells are compared along the
columns and then along the rows: a later cell wins if it is greater.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_cnn.engine import planes, threads
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.memory import empty
from tinygrad_cnn.engine.planes import Span
from tinygrad_cnn.engine.pooling.windowed import (
    covered,
    of_phase,
    offsets,
    over_windows,
    parts,
    under,
)
from tinygrad_cnn.engine.windows import Windows

LONG = 32  # values of a pixel from which its windows are compared where they are
COMPARED = 9  # cells of a window up to which each is compared with the maximum


def maximum(x: Array, at: Windows) -> Array:
    """Return the largest value under each window: (..., H, W) → (..., OH, OW)."""
    return over_windows(x, at, np.maximum, lowest(x.dtype))


def winner(x: Array, y: Array, at: Windows) -> Array:
    """Return the kernel offset, i·KW + j, of the first value under each window that equals `y`.

    That of a window that holds NaN is any: `offsets` replaces it.
    """
    x, order = planes.arranged(x)
    y = planes.ordered(y, order)
    won = planes.empty(y.shape, order, np.min_scalar_type(len(at.cells) - 1))
    of_x, of_y, of_won = (planes.planes(array, order) for array in (x, y, won))
    every = parts(of_x, at, (0, at.rows.windows))
    if len(at.cells) > COMPARED:
        compare = _compare_along_axes
    elif of_x.shape[3] < LONG and x.dtype.kind == "f":
        compare = _compare_sorted
    else:
        compare = _compare_each

    def piece(i: int) -> None:
        some, rows = every[i]
        compare(of_x[some], at, rows, of_y[some, slice(*rows)], of_won[some, slice(*rows)])

    threads.run(piece, len(every), 32 * x.size)
    return won


def _compare_each(x: Array, at: Windows, rows: Span, y: Array, won: Array) -> None:
    """Write the number of cells of each window before the first that equals the maximum."""
    missed, differs = np.ones(y.shape, bool), empty(y.shape, bool)
    if len(at.cells) == 1:
        won[...] = 0
    for k, (to, cells) in zip(range(len(at.cells) - 1), under(at, rows), strict=False):
        if k == 0:
            np.not_equal(x[cells], y[to], out=missed[to])
            won[...] = missed
        else:
            part = differs[to]
            np.not_equal(x[cells], y[to], out=part)
            missed[to] &= part
            won += missed.view(np.uint8)


def _compare_sorted(x: Array, at: Windows, rows: Span, y: Array, won: Array) -> None:
    """Do as `_compare_each`, for pixels of few values, after sorting the cells by their phase.

    A cell's phase is its position modulo the stride. The cells of a phase under one kernel offset
    of all windows are adjacent, also across rows, with a few unused cells between.
    """
    count, height, width, length = y.shape
    of_rows, of_columns = (
        [divmod(k * axis.dilation, axis.stride) for k in range(axis.kernel)]
        for axis in (at.rows, at.columns)
    )
    tall, wide = height + of_rows[-1][0], width + of_columns[-1][0]
    over = int(wide > width)  # a row more, for the unused cells beyond the last
    line, size = wide * length, height * wide * length
    phases = {}
    for p in {p for _, p in of_rows}:
        of_p, from_p = of_phase(at.rows, rows[0], p, tall)
        for q in {q for _, q in of_columns}:
            of_q, from_q = of_phase(at.columns, 0, q, wide)
            into = empty((count, tall + over, wide, length), x.dtype)
            if (of_p, of_q) != (slice(0, tall + over), slice(0, wide)):
                into[...] = np.nan  # equals no value, so that the border never wins
            into[:, of_p, of_q] = x[:, from_p, from_q]
            phases[p, q] = into.reshape(count, -1)
    largest = y
    if over:
        largest = np.zeros((count, height, wide, length), y.dtype)
        largest[:, :, :width] = y
    largest = largest.reshape(count, size)
    counted = np.zeros((count, size), won.dtype)
    missed, differs = np.ones((count, size), bool), empty((count, size), bool)
    for k in range(len(at.cells) - 1):
        (down, p), (right, q) = of_rows[k // at.columns.kernel], of_columns[k % at.columns.kernel]
        start = down * line + right * length
        np.not_equal(phases[p, q][:, start : start + size], largest, out=differs)
        missed &= differs
        counted += missed.view(np.uint8)
    won[...] = counted.reshape(count, height, wide, length)[:, :, :width]


def _compare_along_axes(x: Array, at: Windows, rows: Span, y: Array, won: Array) -> None:
    """Write the winners of large windows: the first along each row of them, then of these."""
    columns, low = (0, at.columns.windows), lowest(x.dtype)
    cells = covered(covered(x, 1, at.rows, rows, low), 2, at.columns, columns, low)
    cuts = [cells[:, :, cut] for cut in offsets(at.columns, columns)]
    wide, places = _first_largest(cuts, None, 1, won.dtype)
    of_rows = offsets(at.rows, rows)
    _, won[...] = _first_largest(
        [wide[:, cut] for cut in of_rows],
        [places[:, cut] for cut in of_rows],
        at.columns.kernel,
        won.dtype,
    )
    greater = y > low
    if not greater.all():  # the border may have won: take the first cell on the image
        starts = at.rows.starts()[slice(*rows), np.newaxis], at.columns.starts()
        down, right = (
            np.maximum(0, -(start // axis.dilation))
            for start, axis in zip(starts, (at.rows, at.columns), strict=True)
        )
        first = (down * at.columns.kernel + right)[:, :, np.newaxis].astype(won.dtype)
        np.copyto(won, first, where=~greater)


def _first_largest(
    arrays: Sequence[Array], places: Sequence[Array] | None, step: int, dtype: np.dtype[Any]
) -> tuple[Array, Array]:
    """Return the maximum of the arrays, and the kernel offset of the first that is as large.

    That of array k is k·step, plus its own place.
    """
    best = arrays[0].copy()
    won = np.zeros(best.shape, dtype) if places is None else places[0].copy()
    greater, offset = empty(best.shape, bool), empty(best.shape, dtype)
    for k, array in enumerate(arrays[1:], 1):
        np.greater(array, best, out=greater)
        np.maximum(best, array, out=best)
        if places is None:
            np.multiply(greater.view(np.uint8), dtype.type(k * step), out=offset)
        else:
            np.add(places[k], dtype.type(k * step), out=offset)
            np.multiply(offset, greater.view(np.uint8), out=offset)
        np.maximum(won, offset, out=won)  # later offsets are larger
    return best, won


def lowest(dtype: np.dtype[Any]) -> Any:
    """Return the lowest value of a dtype."""
    if dtype.kind == "b":
        return False
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min
