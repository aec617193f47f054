"""The cells that won a max pooling, taken from large images or added to, by position in memory.

Each window's winner becomes the position of its cell, 8 bytes, for part of the windows at a time.
Where windows do not overlap, the cells at one kernel offset are selected by a mask instead: then
all cells are written in order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_cnn.engine import planes, threads
from tinygrad_cnn.engine.arrays import Array, Shape
from tinygrad_cnn.engine.memory import view
from tinygrad_cnn.engine.pooling.max_pooling import LONG
from tinygrad_cnn.engine.pooling.windowed import first_reached, under
from tinygrad_cnn.engine.selection import select
from tinygrad_cnn.engine.windows import Windows

BLOCK = 1 << 15  # windows whose positions are computed at a time
SHARE = 128  # values of a pixel, at least, if several threads share them: at most SHARES
SHARES = 2


def gather(x: Array, won: Array, at: Windows) -> Array:
    """Return the value of `x` at the offset `won` of each window: (..., H, W) → (..., OH, OW)."""
    x, order = planes.arranged(x)
    won = planes.ordered(won, order)
    y = planes.empty(won.shape, order, x.dtype)
    of_x, of_won, of_y = (planes.planes(array, order) for array in (x, won, y))
    if _on_image(of_won, at):
        source = of_x.reshape(-1)

        def take(part: Any, first: int, positions: Array) -> None:
            of_y[part] = source[first:].take(positions, mode="clip")

        _by_position(take, of_x.shape, of_won, at)
        return y
    of_y[...] = 0
    for k, (to, cells) in enumerate(under(at, (0, at.rows.windows))):
        np.copyto(of_y[to], of_x[cells], where=of_won[to] == k)
    return y


def scatter(u: Array, won: Array, at: Windows) -> Array:
    """Return zeros with `u` added at the offset `won` of each window, the adjoint of `gather`."""
    won, order = planes.arranged(won)
    u = planes.ordered(u, order)
    dx = planes.empty((*u.shape[:-2], at.rows.size, at.columns.size), order, u.dtype)
    of_u, of_won, of_dx = (planes.planes(array, order) for array in (u, won, dx))
    apart = at.rows.apart and at.columns.apart
    if not (apart and of_u.shape[3] >= LONG) and _on_image(of_won, at):
        target = view(of_dx, (of_dx.size,))

        def add(part: Any, first: int, positions: Array) -> None:
            low, high = first_reached(at.rows, part[1].start, part[1].stop)
            of_dx[part[0], low:high, :, part[3]] = 0
            np.add.at(target[first:], positions.reshape(-1), of_u[part].reshape(-1))

        _by_position(add, of_dx.shape, of_won, at)
        return dx
    row_bytes = at.rows.stride * dx[..., :1, :].nbytes // max(1, len(of_dx))
    every = planes.pieces(len(of_u), at.rows.windows, row_bytes if apart else 1)

    def piece(i: int) -> None:
        (first, last), rows = every[i]
        some = slice(first, last), slice(*rows)
        out, given, winner = of_dx[first:last], of_u[some], of_won[some]
        if not (apart and at.covers_all):
            out[:, slice(*first_reached(at.rows, *rows))] = 0
        for k, (to, cells) in enumerate(under(at, rows)):
            if apart:
                select(given[to], winner[to] == k, out=out[cells])
            else:
                out[cells] += select(given[to], winner[to] == k)

    threads.run(piece, len(every), 16 * dx.size)
    return dx


def _on_image(won: Array, at: Windows) -> bool:
    """Return whether all the cells that won are on the image, not on its border."""
    for place, axis in enumerate((at.rows, at.columns), 1):
        reach = axis.dilation * (axis.kernel - 1) + 1
        for window, start in enumerate(axis.starts().tolist()):
            if start < 0 or start + reach > axis.size:
                some = won.take(window, axis=place)
                width = some.dtype.type(at.columns.kernel)
                cells = some // width if place == 1 else some % width
                low, high = -(start // axis.dilation), (axis.size - 1 - start) // axis.dilation
                if cells.size and (cells.min() < low or cells.max() > high):
                    return False
    return True


def _by_position(
    function: Callable[[Any, int, Array], None], shape: Shape, won: Array, at: Windows
) -> None:
    """Call `function` with parts of the windows, and the positions of the cells that won.

    It gets an index of the part and the position in memory from which the others count. Parts of
    the same values are taken row by row.
    """
    count, height, width, length = shape
    rows, columns = at.rows, at.columns
    run = length if length < 2 * SHARE else max(SHARE, -(-length // SHARES))
    wide = columns.windows * run
    tall = min(rows.windows, max(1, BLOCK // wide))
    depth = min(count, max(1, BLOCK // (tall * wide))) if tall == rows.windows else 1
    offsets = np.arange(rows.kernel)[:, np.newaxis] * (rows.dilation * width)
    offsets = (offsets + np.arange(columns.kernel) * columns.dilation).reshape(-1) * length
    cells = np.arange(tall)[:, np.newaxis] * (rows.stride * width) + columns.starts()
    starts = cells[:, :, np.newaxis] * length + np.arange(run)
    starts = np.arange(depth).reshape(-1, 1, 1, 1) * (height * width * length) + starts
    parts = [(p, v) for p in range(0, count, depth) for v in range(0, length, run)]

    def piece(i: int) -> None:
        plane, value = parts[i]
        some, values = slice(plane, plane + depth), slice(value, value + run)
        for top in range(0, rows.windows, tall):
            part = some, slice(top, min(top + tall, rows.windows)), slice(None), values
            positions = offsets.take(won[part], mode="clip")
            positions += starts[: len(positions), : positions.shape[1], :, : positions.shape[3]]
            first = (plane * height + top * rows.stride - rows.before) * width * length + value
            if first < 0:
                positions += first
            function(part, max(first, 0), positions)

    threads.run(piece, len(parts), 64 * won.size)
