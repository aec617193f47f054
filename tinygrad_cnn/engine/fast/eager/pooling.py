"""Max pooling of arrays by compiled kernels: functions of `engine.pooling`.

They suit images whose pixels have some values each, such as those with the images last.
"""

from __future__ import annotations

import numpy as np

from tinygrad_cnn.engine import planes
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.fast import pooling as kernels
from tinygrad_cnn.engine.fast.eager.running import run
from tinygrad_cnn.engine.planes import Order
from tinygrad_cnn.engine.threads import BYTE
from tinygrad_cnn.engine.windows import Windows

RUN = 16  # values of a pixel
MOST_CELLS = 1 << 8  # of a window, whose numbers fit a byte


def maximum(x: Array, at: Windows) -> Array | None:
    """Return the largest value under each window, or None."""
    if not _takes(x, at):
        return None
    x, order = planes.arranged(x)
    y = planes.empty((*x.shape[:-2], *at.count), order, x.dtype)
    _find(x, y, None, at, order)
    return y


def winner(x: Array, at: Windows) -> Array | None:
    """Return the kernel offset of the first maximum under each window, or None."""
    if not _takes(x, at):
        return None
    x, order = planes.arranged(x)
    shape = (*x.shape[:-2], *at.count)
    won = planes.empty(shape, order, np.uint8)
    _find(x, planes.empty(shape, order, x.dtype), won, at, order)
    return won


def scatter(u: Array, won: Array, at: Windows) -> Array | None:
    """Return zeros with `u` added at the offset `won` of each window, or None."""
    if won.dtype != np.uint8 or not _takes(won, at):
        return None
    won, order = planes.arranged(won)
    u = planes.ordered(u, order)
    dx = planes.empty((*u.shape[:-2], at.rows.size, at.columns.size), order, u.dtype)
    _, sizes = _sizes(dx, at, order)
    rows = sizes[0] * at.rows.size
    each = kernels.rows_of_piece(rows, sizes[1] * at.columns.size)
    run(kernels.window_maxima_gradient, u, won, dx, *sizes, each, pieces=-(-rows // each),
        work=BYTE * (dx.nbytes + u.nbytes))  # fmt: skip
    return dx


def _takes(images: Array, at: Windows) -> bool:
    """Return whether the kernels compute the pooling."""
    if at.can_miss or len(at.cells) > MOST_CELLS or not images.size:
        return False
    images, order = planes.arranged(images)
    return int(planes.planes(images, order).shape[3]) >= RUN


def _find(x: Array, y: Array, won: Array | None, at: Windows, order: Order) -> None:
    """Write the maxima, and the winners if wanted."""
    planes_of_x, sizes = _sizes(x, at, order)
    rows = sizes[0] * at.rows.windows
    values = planes_of_x.shape[2] * planes_of_x.shape[3] * at.rows.stride
    each = kernels.rows_of_piece(rows, values)
    marks = np.empty(0, np.uint8) if won is None else won
    run(kernels.window_maxima, x, y, marks, int(won is not None), *sizes, each,
        pieces=-(-rows // each), work=BYTE * (x.nbytes + y.nbytes))  # fmt: skip


def _sizes(images: Array, at: Windows, order: Order) -> tuple[Array, tuple[int, ...]]:
    """Return the planes of images, and the sizes that the kernels take."""
    seen = planes.planes(images, order)
    return seen, (seen.shape[0], seen.shape[3], *kernels.geometry(at))
