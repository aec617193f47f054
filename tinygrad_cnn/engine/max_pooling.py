"""Max pooling of large images, piece by piece: the maxima, and which cells they are.

The maximum is taken along the rows of each window, then along its columns: KH + KW − 2 comparisons,
not KH·KW − 1. A piece fits the cache, so only the first of them reads memory.

The winner of a window is the kernel offset, i·KW + j, of its first cell that equals the maximum:
the number of cells before it, which all differ. In large windows it comes of the comparisons, along
the columns and then along the rows: a later cell wins if it is greater.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad_cnn.engine import planes, threads
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.memory import empty
from tinygrad_cnn.engine.planes import Span
from tinygrad_cnn.engine.windows import WindowAxis, Windows, inside

LONG = 32  # values of a pixel from which its windows are compared where they are
COMPARED = 9  # cells of a window up to which each is compared with the maximum


def maximum(x: Array, at: Windows) -> Array:
    """Return the largest value under each window: (..., H, W) → (..., OH, OW)."""
    x, order = planes.arranged(x)
    y = planes.empty((*x.shape[:-2], *at.count), order, x.dtype)
    of_x, of_y = planes.planes(x, order), planes.planes(y, order)
    parts = [part for rows in _apart_from_border(at.rows) for part in _parts(of_x, at, rows)]
    left, width = at.columns.before, at.columns.size

    def piece(i: int) -> None:
        some, rows = parts[i]
        cells = _covered(of_x[some], 1, at.rows, rows)
        cuts = [cells[:, cut] for cut in _offsets(at.rows, rows)]
        if left == 0 and at.columns.reach <= width:
            tall = _largest(cuts, None)
        else:
            shape = len(cells), rows[1] - rows[0], at.columns.padded, cells.shape[3]
            tall = empty(shape, x.dtype)
            tall[:, :, :left] = tall[:, :, left + width :] = lowest(x.dtype)
            _largest(cuts, tall[:, :, left : left + width])
        columns = _offsets(at.columns, (0, at.columns.windows))
        _largest([tall[:, :, cut] for cut in columns], of_y[some, slice(*rows)])

    threads.run(piece, len(parts), x.nbytes + y.nbytes)
    return y


def winner(x: Array, y: Array, at: Windows) -> Array:
    """Return the kernel offset, i·KW + j, of the first value under each window that equals `y`.

    Of a window that holds NaN, it is that of one of its cells.
    """
    x, order = planes.arranged(x)
    y = planes.ordered(y, order)
    won = planes.empty(y.shape, order, np.min_scalar_type(len(at.cells) - 1))
    of_x, of_y, of_won = (planes.planes(array, order) for array in (x, y, won))
    parts = _parts(of_x, at, (0, at.rows.windows))
    if len(at.cells) > COMPARED:
        compare = _compare_along_axes
    elif of_x.shape[3] < LONG and x.dtype.kind == "f":
        compare = _compare_sorted
    else:
        compare = _compare_each

    def piece(i: int) -> None:
        some, rows = parts[i]
        compare(of_x[some], at, rows, of_y[some, slice(*rows)], of_won[some, slice(*rows)])

    threads.run(piece, len(parts), x.nbytes + y.nbytes)
    return won


# --- pieces --------------------------------------------------------------------------------------


def _parts(x: Array, at: Windows, rows: Span) -> list[tuple[slice, Span]]:
    """Return the pieces of some rows of windows: planes, and rows."""
    row_bytes = at.rows.stride * x.shape[2] * x.shape[3] * x.itemsize
    return [
        (slice(*some), (rows[0] + first, rows[0] + last))
        for some, (first, last) in planes.pieces(len(x), rows[1] - rows[0], row_bytes)
    ]


def _apart_from_border(axis: WindowAxis) -> list[Span]:
    """Return the windows that reach beyond the image and the others, if these are most of them."""
    low, _ = inside(-axis.before, axis.stride, axis.size, 0, axis.windows)
    last = axis.dilation * (axis.kernel - 1) - axis.before
    _, high = inside(last, axis.stride, axis.size, low, axis.windows)
    if 2 * (high - low) < axis.windows:
        return [(0, axis.windows)]
    return [span for span in ((0, low), (low, high), (high, axis.windows)) if span[0] < span[1]]


def _covered(x: Array, place: int, axis: WindowAxis, windows: Span) -> Array:
    """Return the cells along an axis of `x` under some windows: a view, or a copy with a border.

    The border has the lowest value of the dtype.
    """
    first = windows[0] * axis.stride - axis.before
    last = (windows[1] - 1) * axis.stride - axis.before + axis.dilation * (axis.kernel - 1) + 1
    ahead = (slice(None),) * place
    low, high = max(first, 0), min(last, axis.size)
    some: Array = x[(*ahead, slice(low, high))]
    if (low, high) == (first, last):
        return some
    out = empty((*x.shape[:place], last - first, *x.shape[place + 1 :]), x.dtype)
    out[(*ahead, slice(low - first))] = lowest(x.dtype)
    out[(*ahead, slice(high - first, None))] = lowest(x.dtype)
    out[(*ahead, slice(low - first, high - first))] = some
    return out


def _offsets(axis: WindowAxis, windows: Span) -> list[slice]:
    """Return the cells of some windows under each kernel offset, from their first cell on."""
    length = (windows[1] - windows[0] - 1) * axis.stride + 1
    starts = range(0, axis.kernel * axis.dilation, axis.dilation)
    return [slice(start, start + length, axis.stride) for start in starts]


def under(at: Windows, rows: Span) -> Iterator[tuple[Any, Any]]:
    """Yield, for each kernel offset, which windows have it on the image, and their cells.

    The windows count from the first of `rows`.
    """
    of_rows, of_columns = (
        [_of_phase(axis, first, k * axis.dilation, last - first) for k in range(axis.kernel)]
        for axis, (first, last) in ((at.rows, rows), (at.columns, (0, at.columns.windows)))
    )
    for down, row_cells in of_rows:
        for right, column_cells in of_columns:
            yield (slice(None), down, right), (slice(None), row_cells, column_cells)


# --- maxima and winners --------------------------------------------------------------------------


def _largest(arrays: Sequence[Array], out: Array | None) -> Array:
    """Return the maximum of the arrays, in `out` if given; of one array without, itself."""
    first, *others = arrays
    if not others:
        if out is None:
            return first
        out[...] = first
        return out
    best: Array = np.maximum(first, others[0], out=out)
    for array in others[1:]:
        np.maximum(best, array, out=best)
    return best


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
    of all windows are adjacent, also across rows, where a few cells between are compared in vain.
    """
    count, height, width, length = y.shape
    of_rows, of_columns = (
        [divmod(k * axis.dilation, axis.stride) for k in range(axis.kernel)]
        for axis in (at.rows, at.columns)
    )
    tall, wide = height + of_rows[-1][0], width + of_columns[-1][0]
    over = int(wide > width)  # a row more, for the cells in vain beyond the last
    line, size = wide * length, height * wide * length
    phases = {}
    for p in {p for _, p in of_rows}:
        of_p, from_p = _of_phase(at.rows, rows[0], p, tall)
        for q in {q for _, q in of_columns}:
            of_q, from_q = _of_phase(at.columns, 0, q, wide)
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


def _of_phase(axis: WindowAxis, window: int, phase: int, count: int) -> tuple[slice, slice]:
    """Return which of the first cells of a phase, from a window on, are on the image, and where."""
    offset = window * axis.stride + phase - axis.before
    low, high = inside(offset, axis.stride, axis.size, 0, count)
    if low >= high:
        return slice(0), slice(0)
    start, last = low * axis.stride + offset, (high - 1) * axis.stride + offset
    return slice(low, high), slice(start, last + 1, axis.stride)


def _compare_along_axes(x: Array, at: Windows, rows: Span, y: Array, won: Array) -> None:
    """Write the winners of large windows: the first along each row of them, then of these."""
    columns = (0, at.columns.windows)
    cells = _covered(_covered(x, 1, at.rows, rows), 2, at.columns, columns)
    cuts = [cells[:, :, cut] for cut in _offsets(at.columns, columns)]
    wide, places = _first_largest(cuts, None, 1, won.dtype)
    of_rows = _offsets(at.rows, rows)
    _, won[...] = _first_largest(
        [wide[:, cut] for cut in of_rows],
        [places[:, cut] for cut in of_rows],
        at.columns.kernel,
        won.dtype,
    )
    greater = y > lowest(y.dtype)
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
