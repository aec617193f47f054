"""The values under windows combined, by maximum or by sum, in pieces that fit the cache.

They are combined along the rows of each window first, then along its columns: KH + KW − 2 passes,
not KH·KW − 1. Only the first of them reads memory, only the last writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad_cnn.engine import planes, threads
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.memory import empty
from tinygrad_cnn.engine.planes import Span
from tinygrad_cnn.engine.windows import WindowAxis, Windows, inside


def over_windows(
    x: Array,
    at: Windows,
    combine: np.ufunc,
    beyond: Any,
    finish: Callable[[Array, slice], object] | None = None,
) -> Array:
    """Return the values under each window combined: (..., H, W) → (..., OH, OW).

    Cells beyond the image are `beyond`. `finish` changes rows of planes of the result in place.
    """
    x, order = planes.arranged(x)
    y = planes.empty((*x.shape[:-2], *at.count), order, x.dtype)
    of_x, of_y = planes.planes(x, order), planes.planes(y, order)
    every = [part for rows in _apart_from_border(at.rows) for part in parts(of_x, at, rows)]
    left, width = at.columns.before, at.columns.size

    def piece(i: int) -> None:
        some, rows = every[i]
        cells = covered(of_x[some], 1, at.rows, rows, beyond)
        cuts = [cells[:, cut] for cut in offsets(at.rows, rows)]
        if left == 0 and at.columns.reach <= width:
            tall = _combined(combine, cuts, None)
        else:
            shape = len(cells), rows[1] - rows[0], at.columns.padded, cells.shape[3]
            tall = empty(shape, x.dtype)
            tall[:, :, :left] = tall[:, :, left + width :] = beyond
            _combined(combine, cuts, tall[:, :, left : left + width])
        columns = offsets(at.columns, (0, at.columns.windows))
        out = of_y[some, slice(*rows)]
        _combined(combine, [tall[:, :, cut] for cut in columns], out)
        if finish is not None:
            finish(out, slice(*rows))

    threads.run(piece, len(every), 16 * x.size)
    return y


def parts(x: Array, at: Windows, rows: Span) -> list[tuple[slice, Span]]:
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


def covered(x: Array, place: int, axis: WindowAxis, windows: Span, beyond: Any) -> Array:
    """Return the cells along an axis of `x` under some windows: a view, or a copy with a border."""
    first = windows[0] * axis.stride - axis.before
    last = (windows[1] - 1) * axis.stride - axis.before + axis.dilation * (axis.kernel - 1) + 1
    ahead = (slice(None),) * place
    low, high = max(first, 0), min(last, axis.size)
    some: Array = x[(*ahead, slice(low, high))]
    if (low, high) == (first, last):
        return some
    out = empty((*x.shape[:place], last - first, *x.shape[place + 1 :]), x.dtype)
    out[(*ahead, slice(low - first))] = beyond
    out[(*ahead, slice(high - first, None))] = beyond
    out[(*ahead, slice(low - first, high - first))] = some
    return out


def offsets(axis: WindowAxis, windows: Span) -> list[slice]:
    """Return the cells of some windows under each kernel offset, from their first cell on."""
    length = (windows[1] - windows[0] - 1) * axis.stride + 1
    starts = range(0, axis.kernel * axis.dilation, axis.dilation)
    return [slice(start, start + length, axis.stride) for start in starts]


def under(at: Windows, rows: Span) -> Iterator[tuple[Any, Any]]:
    """Yield, for each kernel offset, which windows have it on the image, and their cells.

    The windows count from the first of `rows`.
    """
    of_rows, of_columns = (
        [of_phase(axis, first, k * axis.dilation, last - first) for k in range(axis.kernel)]
        for axis, (first, last) in ((at.rows, rows), (at.columns, (0, at.columns.windows)))
    )
    for down, row_cells in of_rows:
        for right, column_cells in of_columns:
            yield (slice(None), down, right), (slice(None), row_cells, column_cells)


def of_phase(axis: WindowAxis, window: int, phase: int, count: int) -> tuple[slice, slice]:
    """Return which of the first cells of a phase, from a window on, are on the image, and where."""
    offset = window * axis.stride + phase - axis.before
    low, high = inside(offset, axis.stride, axis.size, 0, count)
    if low >= high:
        return slice(0), slice(0)
    start, last = low * axis.stride + offset, (high - 1) * axis.stride + offset
    return slice(low, high), slice(start, last + 1, axis.stride)


def first_reached(axis: WindowAxis, first: int, last: int) -> Span:
    """Return the cells of the image up to the end of some windows, without those of earlier ones.

    The last windows have the rest of the image.
    """
    reach = axis.dilation * (axis.kernel - 1) + 1 - axis.before
    low = min((first - 1) * axis.stride + reach, axis.size) if first else 0
    high = min((last - 1) * axis.stride + reach, axis.size) if last < axis.windows else axis.size
    return low, high


def _combined(combine: np.ufunc, arrays: Sequence[Array], out: Array | None) -> Array:
    """Return the arrays combined, in `out` if given; of one array without, itself."""
    first, *others = arrays
    if not others:
        if out is None:
            return first
        out[...] = first
        return out
    result: Array = combine(first, others[0], out=out)
    for array in others[1:]:
        combine(result, array, out=result)
    return result
