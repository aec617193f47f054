"""Kernels of ReLU that keep where x ≥ 0; a piece is `step` values."""

from __future__ import annotations

from tinygrad_cnn.engine.fast.kernel import Bytes, Conversion, PieceIndex, Reals, Whole, kernel


@kernel
def relu_with_mask(
    x: Reals, y: Reals, mask: Bytes, count: Whole, step: Whole, piece: PieceIndex, real: Conversion
) -> None:
    """Compute max(x, 0), and whether x ≥ 0."""
    zero = real(0)
    for i in range(piece * step, min(count, piece * step + step)):
        y[i] = zero if x[i] < zero else x[i]
        mask[i] = x[i] >= zero


@kernel
def masked(
    g: Reals, mask: Bytes, y: Reals, count: Whole, step: Whole, piece: PieceIndex, real: Conversion
) -> None:
    """Compute g where the mask is set, else 0."""
    zero = real(0)
    for i in range(piece * step, min(count, piece * step + step)):
        y[i] = g[i] if mask[i] else zero
