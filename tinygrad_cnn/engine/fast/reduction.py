"""Kernels of sums over axes."""

from __future__ import annotations

from tinygrad_cnn.engine.fast.kernel import (
    Conversion,
    PieceIndex,
    Reals,
    Scalar,
    Scratch,
    Whole,
    kernel,
)

IN_TURN = 64  # values that are added one after the other: their sums are added then
WIDTH = 1 << 11  # values of a row that a piece adds


@kernel
def sums(
    x: Reals, y: Reals, scale: Scalar, lead: Whole, reduced: Whole, length: Whole, width: Whole,
    piece: PieceIndex, scratch: Scratch, real: Conversion,
) -> None:  # fmt: skip
    """Add over the second axis of (lead, reduced, length), and multiply by `scale`.

    A piece is `width` values of one lead.
    """
    zero = real(0)
    cuts = -(-length // width)
    k, start = piece // cuts, piece % cuts * width
    size = min(width, length - start)
    to = k * length + start
    for i in range(to, to + size):
        y[i] = zero
    for first in range(0, reduced, IN_TURN):
        for i in range(size):
            scratch[i] = zero
        for r in range(first, min(reduced, first + IN_TURN)):
            at = (k * reduced + r) * length + start
            for i in range(size):
                scratch[i] += x[at + i]
        for i in range(size):
            y[to + i] += scratch[i]
    for i in range(to, to + size):
        y[i] *= scale


@kernel
def sums_of_rows(
    x: Reals, y: Reals, scale: Scalar, rows: Whole, length: Whole, each: Whole, piece: PieceIndex,
    real: Conversion,
) -> None:  # fmt: skip
    """Add each row of (rows, length), and multiply by `scale`."""
    for r in range(piece * each, min(rows, piece * each + each)):
        total = 0.0
        for first in range(r * length, r * length + length, 1024):
            part = real(0)
            for i in range(first, min(first + 1024, r * length + length)):
                part += x[i]
            total += part
        y[r] = real(total * scale)
