"""Kernels of sums of gradients; a piece is `step` values."""

from __future__ import annotations

from tinygrad_cnn.engine.fast.kernel import PieceIndex, Reals, Scalar, Whole, kernel


@kernel
def added(a: Reals, b: Reals, y: Reals, count: Whole, step: Whole, piece: PieceIndex) -> None:
    """Compute a + b."""
    for i in range(piece * step, min(count, piece * step + step)):
        y[i] = a[i] + b[i]


@kernel
def accumulated(
    g: Reals, y: Reals, count: Whole, step: Whole, earlier: Scalar, piece: PieceIndex
) -> None:
    """Compute y + g, or g if `earlier` is 0: then y may be anything."""
    if earlier == 0:
        for i in range(piece * step, min(count, piece * step + step)):
            y[i] = g[i]
    else:
        for i in range(piece * step, min(count, piece * step + step)):
            y[i] += g[i]
