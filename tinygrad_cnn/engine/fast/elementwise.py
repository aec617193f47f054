"""Kernels of elementwise functions."""

from __future__ import annotations

from tinygrad_cnn.engine.fast.kernel import Conversion, PieceIndex, Reals, Whole, kernel


@kernel
def relu(
    x: Reals, y: Reals, count: Whole, step: Whole, piece: PieceIndex, real: Conversion
) -> None:
    """Compute max(x, 0); NaN stays NaN."""
    zero = real(0)
    for i in range(piece * step, min(count, piece * step + step)):
        y[i] = zero if x[i] < zero else x[i]
