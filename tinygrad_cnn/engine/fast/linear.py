"""Kernels of the affine map and its derivatives."""

from __future__ import annotations

from tinygrad_cnn.engine.fast.kernel import Conversion, PieceIndex, Reals, Whole, kernel
from tinygrad_cnn.engine.fast.products import PLAIN, gemm


@kernel
def product(
    a: Reals, b: Reals, c: Reals, m: Whole, k: Whole, n: Whole, piece: PieceIndex, real: Conversion
) -> None:
    """Compute C = A·B, of shapes (m, k) and (k, n)."""
    gemm(PLAIN, PLAIN, m, n, k, real(1), a, k, b, n, real(0), c, n)
