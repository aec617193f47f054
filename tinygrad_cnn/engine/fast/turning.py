"""A kernel that brings images from any memory order into that of tapes."""

from __future__ import annotations

from tinygrad_cnn.engine.fast.kernel import PieceIndex, Reals, Whole, kernel

WIDTH = 16  # values of a tile along the fast axis of the source: a cache line,
HEIGHT = 8  # and along that of the result, of rows that may fall on one set of the cache


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
    for i0 in range(0, n3, WIDTH):
        for j0 in range(0, n4, HEIGHT):
            for i in range(i0, min(n3, i0 + WIDTH)):
                for j in range(j0, min(n4, j0 + HEIGHT)):
                    y[of_y + i * y3 + j * y4] = x[of_x + i * x3 + j * x4]
