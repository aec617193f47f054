"""Images at another size, as products with two banded matrices: y = R x Cᵀ.

Each row of R, and of C, is zero but for a few neighbors. So some rows of the result are the product
of a small block of R with the rows of the image under it, and the same for the columns: the work
grows with the number of pixels, not with that number times the image's side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from tinygrad_cnn.engine import planes, threads
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.memory import empty, view

LONG = 16  # values of a pixel from which they are the columns of a product
ROWS_OF_LONG = 8  # rows of a matrix in one block then,
ROWS = 32  # and otherwise


class Block(NamedTuple):
    """Rows `first` to `last` of a matrix: zero but for `values`, its columns `low` to `high`."""

    first: int
    last: int
    low: int
    high: int
    values: Array


class BandedMatrix:
    """A matrix cut into blocks of nonzeros, with few or with many rows each.

    It is given by its entries: `values` at `rows` and `columns`, three arrays of one shape. Values
    at the same place are added.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        rows: Array,
        columns: Array,
        values: Array,
        dtype: DTypeLike,
    ) -> None:
        used = values != 0
        rows, columns, values = rows[used], columns[used], values[used]
        order = np.argsort(rows, kind="stable")
        rows, columns, values = rows[order], columns[order], values[order]
        self.rows, n = shape
        diagonal = np.arange(n)
        self.is_identity = (
            self.rows == n
            and np.array_equal(rows, diagonal)
            and np.array_equal(columns, diagonal)
            and bool((values == 1).all())
        )
        self.few, self.many = (
            list(_blocks(self.rows, rows, columns, values, dtype, count))
            for count in (ROWS_OF_LONG, ROWS)
        )


def _blocks(
    height: int, rows: Array, columns: Array, values: Array, dtype: DTypeLike, count: int
) -> Iterator[Block]:
    """Cut entries, sorted by row, into blocks of `count` rows, without a dense matrix."""
    for first in range(0, height, count):
        last = min(first + count, height)
        some = slice(*np.searchsorted(rows, (first, last)))
        used = columns[some]
        low, high = (int(used.min()), int(used.max()) + 1) if used.size else (0, 0)
        block = np.zeros((last - first, high - low))
        np.add.at(block, (rows[some] - first, used - low), values[some])
        yield Block(first, last, low, high, block.astype(dtype))


def resampled(x: Array, rows: BandedMatrix, columns: BandedMatrix) -> Array:
    """Return R x Cᵀ: (..., H, W) → (..., OH, OW), in the layout of `x`.

    Bytes are computed in float32, and rounded. An infinity or a NaN changes only those values of
    the result that it has a nonzero weight in.
    """
    if x.dtype.char == "e":
        return resampled(x.astype(np.float32), rows, columns).astype(x.dtype)
    x, order = planes.arranged(x)
    if rows.is_identity and columns.is_identity:
        return x.copy(order="K")
    of_x = planes.planes(x, order)
    if 1 < of_x.shape[3] < LONG:
        order = tuple(range(x.ndim))
        of_x = planes.planes(planes.ordered(x, order), order)
    y = planes.empty((*x.shape[:-2], rows.rows, columns.rows), order, x.dtype)
    of_y = planes.planes(y, order)
    count, _, width, length = of_x.shape
    bytes_only = x.dtype == np.uint8
    of_rows, of_columns = (m.many if length == 1 else m.few for m in (rows, columns))
    tallest = max(max(b.high - b.low, b.last - b.first) for b in of_rows)
    depth = max(1, planes.PIECE // (tallest * max(width, columns.rows) * length * x.itemsize))
    parts = [(plane, block) for plane in range(0, count, depth) for block in of_rows]

    def multiply(block: Block, some: Array, out: Array, matmul: Callable[..., Any]) -> None:
        if length == 1:
            wide = some[..., 0]
            if not columns.is_identity:
                wide = empty((len(some), block.high - block.low, columns.rows), some.dtype)
                lines = some.reshape(-1, width)
                flat = view(wide, (len(lines), columns.rows))
                for part in of_columns:
                    values = lines[:, part.low : part.high]
                    matmul(part.values, values.T, out=flat[:, part.first : part.last].T)
            if rows.is_identity:
                out[..., 0] = wide
            else:
                matmul(block.values, wide, out=out[..., 0])
        else:
            tall = some
            if not rows.is_identity:
                flat = some.reshape(*some.shape[:2], width * length)
                tall = empty((len(some), len(block.values), width * length), some.dtype)
                matmul(block.values, flat, out=tall)
                tall = tall.reshape(*out.shape[:2], width, length)
            if columns.is_identity:
                out[...] = tall
                return
            for part in of_columns:
                values = tall[:, :, part.low : part.high]
                matmul(part.values, values, out=out[:, :, part.first : part.last])

    def piece(i: int) -> None:
        plane, block = parts[i]
        some = of_x[plane : plane + depth, block.low : block.high]
        to = of_y[plane : plane + depth, block.first : block.last]
        out = to
        if bytes_only:
            some, out = some.astype(np.float32), empty(to.shape, np.float32)
        with np.errstate(invalid="ignore", over="ignore"):
            multiply(block, some, out, np.matmul)
            finite = bytes_only or np.isfinite(out.sum())
        if not finite:  # 0·inf is NaN: leave out the zeros
            multiply(block, some, out, _matmul_of_nonzeros)
        if bytes_only:
            np.clip(np.rint(out, out=out), 0, 255, out=to, casting="unsafe")

    threads.run(piece, len(parts), 32 * y.size)
    return y


def _matmul_of_nonzeros(matrix: Array, x: Array, out: Array) -> None:
    """Write the product matrix · x to `out`, row by row, without the zeros of the matrix."""
    for i, row in enumerate(matrix):
        (used,) = np.nonzero(row)
        np.matmul(row[None, used], x[..., used, :], out=out[..., i : i + 1, :])
