"""Kernels that move values: copies between orders in memory, constants, rows taken by number."""

from __future__ import annotations

from tinygrad_cnn.engine.fast.kernel import (
    Conversion,
    PieceIndex,
    Reals,
    Scalar,
    Whole,
    Wholes,
    kernel,
)

WIDE = 16  # values of a tile along the fast axis of the source: a cache line,
HIGH = 8  # and along that of the result, of rows that may fall on one set of the cache


@kernel
def copied(
    x: Reals, y: Reals, scale: Scalar, x_start: Whole, y_start: Whole, rows: Whole, n1: Whole,
    n2: Whole, n3: Whole, length: Whole, x0: Whole, x1: Whole, x2: Whole, x3: Whole, x4: Whole,
    y0: Whole, y1: Whole, y2: Whole, y3: Whole, y4: Whole, each: Whole, piece: PieceIndex,
) -> None:  # fmt: skip
    """Copy x, times `scale`, to y: axes of lengths (…, n1, n2, n3, length) with their steps."""
    for r in range(piece * each, min(rows, piece * each + each)):
        k3, k2, k1, k0 = r % n3, r // n3 % n2, r // n3 // n2 % n1, r // n3 // n2 // n1
        of_x = x_start + k0 * x0 + k1 * x1 + k2 * x2 + k3 * x3
        of_y = y_start + k0 * y0 + k1 * y1 + k2 * y2 + k3 * y3
        if x4 == 1 and y4 == 1:
            for i in range(length):
                y[of_y + i] = x[of_x + i] * scale
        elif x4 == 0 and y4 == 1:
            value = x[of_x] * scale
            for i in range(length):
                y[of_y + i] = value
        else:
            for i in range(length):
                y[of_y + i * y4] = x[of_x + i * x4] * scale


@kernel
def filled(y: Reals, value: Scalar, count: Whole, step: Whole, piece: PieceIndex) -> None:
    """Write one number everywhere."""
    for i in range(piece * step, min(count, piece * step + step)):
        y[i] = value


@kernel
def rows_taken(
    x: Reals, y: Reals, places: Wholes, lead: Whole, before: Whole, after: Whole, length: Whole,
    each: Whole, piece: PieceIndex,
) -> None:  # fmt: skip
    """Take rows of (lead, before, length) by number: (lead, after, length)."""
    for r in range(piece * each, min(lead * after, piece * each + each)):
        of_x = (r // after * before + places[r % after]) * length
        for i in range(length):
            y[r * length + i] = x[of_x + i]


@kernel
def rows_added(
    g: Reals, dx: Reals, places: Wholes, lead: Whole, before: Whole, after: Whole, length: Whole,
    width: Whole, piece: PieceIndex, real: Conversion,
) -> None:  # fmt: skip
    """Add the rows of (lead, after, length) to zeros (lead, before, length), by number.

    A piece is `width` values of the rows of one lead.
    """
    cuts = -(-length // width)
    k, start = piece // cuts, piece % cuts * width
    size = min(width, length - start)
    for r in range(before):
        to = (k * before + r) * length + start
        for i in range(to, to + size):
            dx[i] = real(0)
    for r in range(after):
        to = (k * before + places[r]) * length + start
        at = (k * after + r) * length + start
        for i in range(size):
            dx[to + i] += g[at + i]


@kernel
def turned(
    x: Reals, y: Reals, n1: Whole, n2: Whole, n3: Whole, n4: Whole, x1: Whole, x2: Whole,
    x3: Whole, x4: Whole, y1: Whole, y2: Whole, y3: Whole, y4: Whole, piece: PieceIndex,
) -> None:  # fmt: skip
    """Copy x of shape (n1, n2, n3, n4) to y, each with its steps, in tiles over the last two axes.

    The fast axis of x is the last but one, and that of y the last. A piece is one number of the
    first two.
    """
    of_x, of_y = piece // n2 * x1 + piece % n2 * x2, piece // n2 * y1 + piece % n2 * y2
    for i0 in range(0, n3, WIDE):
        for j0 in range(0, n4, HIGH):
            for i in range(i0, min(n3, i0 + WIDE)):
                for j in range(j0, min(n4, j0 + HIGH)):
                    y[of_y + i * y3 + j * y4] = x[of_x + i * x3 + j * x4]
