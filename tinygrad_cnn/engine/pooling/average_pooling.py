"""Average pooling of large images, piece by piece, and its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.engine import planes, threads
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.planes import Span
from tinygrad_cnn.engine.pooling.windowed import first_reached, of_phase, over_windows, under
from tinygrad_cnn.engine.windows import Windows, inside


def average(x: Array, at: Windows, divisor: Array) -> Array:
    """Return the sum under each window, divided: (..., H, W) → (..., OH, OW)."""

    def divide(sums: Array, rows: slice) -> None:
        np.divide(sums, _of_rows(divisor, rows), out=sums)

    return over_windows(x, at, np.add, 0, divide)


def average_gradient(u: Array, at: Windows, divisor: Array) -> Array:
    """Return `u`, divided, spread over each window: the adjoint of `average`."""
    u, order = planes.arranged(u)
    dx = planes.empty((*u.shape[:-2], at.rows.size, at.columns.size), order, u.dtype)
    of_u, of_dx = planes.planes(u, order), planes.planes(dx, order)
    apart = at.rows.apart and at.columns.apart
    rows = at.rows.windows if apart else at.rows.size
    every = planes.pieces(len(of_dx), rows, dx.nbytes // max(1, len(of_dx) * rows))
    spread = _write if apart else _add

    def piece(i: int) -> None:
        (first, last), span = every[i]
        spread(of_u[first:last], at, divisor, span, of_dx[first:last])

    threads.run(piece, len(every), 16 * dx.size)
    return dx


def _write(u: Array, at: Windows, divisor: Array, rows: Span, dx: Array) -> None:
    """Write what some rows of windows that do not overlap spread."""
    share = u[:, slice(*rows)] / _of_rows(divisor, slice(*rows))
    if not (at.needs_no_border and at.covers_all):
        dx[:, slice(*first_reached(at.rows, *rows))] = 0
    for to, cells in under(at, rows):
        dx[cells] = share[to]


def _add(u: Array, at: Windows, divisor: Array, rows: Span, dx: Array) -> None:
    """Write some rows of the image: what windows spread along their columns, then their rows."""
    top, bottom = rows
    axis = at.rows
    last = axis.dilation * (axis.kernel - 1)
    low, _ = inside(last - axis.before - top, axis.stride, axis.size, 0, axis.windows)
    _, high = inside(-axis.before, axis.stride, bottom, low, axis.windows)
    share = u[:, low:high] / _of_rows(divisor, slice(low, high))
    wide = np.zeros((len(u), high - low, at.columns.size, u.shape[3]), u.dtype)
    for k in range(at.columns.kernel):
        to, cells = of_phase(at.columns, 0, k * at.columns.dilation, at.columns.windows)
        wide[:, :, cells] += share[:, :, to]
    out = dx[:, top:bottom]
    out[...] = 0
    for k in range(axis.kernel):
        offset = k * axis.dilation - axis.before - top
        first, end = inside(offset, axis.stride, bottom - top, low, high)
        if first < end:
            start, stop = first * axis.stride + offset, (end - 1) * axis.stride + offset + 1
            out[:, start : stop : axis.stride] += wide[:, first - low : end - low]


def _of_rows(divisor: Array, rows: Any) -> Array:
    """Return the divisors of rows of pixels, or a single one if all are equal."""
    some: Array = divisor[rows, :, np.newaxis]
    return some[:1, :1] if some.size and some.max() == some.min() else some
