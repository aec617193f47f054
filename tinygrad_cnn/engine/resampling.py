"""Images at another size, as products with two banded matrices: y = R x Cᵀ.

Each row of R, and of C, is zero but for a few neighbors. So some rows of the result are the product
of a small block of R with the rows of the image under it, and the same for the columns: the work
grows with the number of pixels, not with that number times the image's side.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

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
    """A matrix cut into blocks of nonzeros, with few or with many rows each."""

    def __init__(self, matrix: Array) -> None:
        self.rows = len(matrix)
        self.few = self._blocks(matrix, ROWS_OF_LONG)
        self.many = self._blocks(matrix, ROWS)

    def _blocks(self, matrix: Array, count: int) -> list[Block]:
        made = []
        for first in range(0, len(matrix), count):
            rows = matrix[first : first + count]
            (used,) = np.nonzero(rows.any(0))
            low, high = (int(used[0]), int(used[-1]) + 1) if used.size else (0, 0)
            values = np.ascontiguousarray(rows[:, low:high])
            made.append(Block(first, first + len(rows), low, high, values))
        return made


def resampled(x: Array, rows: BandedMatrix, columns: BandedMatrix) -> Array:
    """Return R x Cᵀ: (..., H, W) → (..., OH, OW), in the layout of `x`.

    Bytes are computed in float32, and rounded.
    """
    if x.dtype.char == "e":
        return resampled(x.astype(np.float32), rows, columns).astype(x.dtype)
    x, order = planes.arranged(x)
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

    def piece(i: int) -> None:
        plane, block = parts[i]
        some = of_x[plane : plane + depth, block.low : block.high]
        to = of_y[plane : plane + depth, block.first : block.last]
        out = to
        if bytes_only:
            some, out = some.astype(np.float32), empty(to.shape, np.float32)
        if length == 1:
            wide = empty((len(some), block.high - block.low, columns.rows), some.dtype)
            lines = some.reshape(-1, width)
            flat = view(wide, (len(lines), columns.rows))
            for part in of_columns:
                values = lines[:, part.low : part.high]
                np.matmul(values, part.values.T, out=flat[:, part.first : part.last])
            np.matmul(block.values, wide, out=out[..., 0])
        else:
            tall = np.matmul(block.values, some.reshape(*some.shape[:2], width * length))
            tall = tall.reshape(*out.shape[:2], width, length)
            for part in of_columns:
                values = tall[:, :, part.low : part.high]
                np.matmul(part.values, values, out=out[:, :, part.first : part.last])
        if bytes_only:
            np.clip(np.rint(out, out=out), 0, 255, out=to, casting="unsafe")

    threads.run(piece, len(parts), 32 * y.size)
    return y
