"""Kernels of matrix products, for the affine map and its derivatives.

A piece is `step` rows of the result. With one column they are loops, which take less time than a
call of BLAS.
"""

from __future__ import annotations

from tinygrad_cnn.engine.fast.kernel import Conversion, PieceIndex, Reals, Whole, kernel, moved
from tinygrad_cnn.engine.fast.products import PLAIN, TRANSPOSED, gemm


@kernel
def product(
    a: Reals, x: Reals, bias: Reals, y: Reals, m: Whole, k: Whole, n: Whole, step: Whole,
    has_bias: Whole, piece: PieceIndex, real: Conversion,
) -> None:  # fmt: skip
    """Compute Y = A·X + b, of shapes (m, k) and (k, n), with b in each column."""
    first, last = piece * step, min(m, piece * step + step)
    if n == 1:
        for i in range(first, last):
            row, total = moved(a, i * k), real(0)
            for p in range(k):
                total += row[p] * x[p]
            y[i] = total + bias[i] if has_bias else total
        return
    if has_bias:
        for i in range(first, last):
            row, value = moved(y, i * n), bias[i]
            for j in range(n):
                row[j] = value
    beta = real(1) if has_bias else real(0)
    own, out = moved(a, first * k), moved(y, first * n)
    gemm(PLAIN, PLAIN, last - first, n, k, real(1), own, k, x, n, beta, out, n)


@kernel
def turned_product(
    a: Reals, x: Reals, bias: Reals, y: Reals, m: Whole, k: Whole, n: Whole, step: Whole,
    has_bias: Whole, piece: PieceIndex, real: Conversion,
) -> None:  # fmt: skip
    """Compute Y = Aᵀ·X + b, of shapes (k, m) and (k, n), with b in each column."""
    first, last = piece * step, min(m, piece * step + step)
    for i in range(first, last):
        row, value = moved(y, i * n), bias[i] if has_bias else real(0)
        for j in range(n):
            row[j] = value
    if n == 1:
        for p in range(k):
            row, factor = moved(a, p * m), x[p]
            for i in range(first, last):
                y[i] += factor * row[i]
        return
    own, out = moved(a, first), moved(y, first * n)
    gemm(TRANSPOSED, PLAIN, last - first, n, k, real(1), own, m, x, n, real(1), out, n)


@kernel
def outer_product(
    g: Reals, x: Reals, c: Reals, m: Whole, k: Whole, n: Whole, step: Whole, piece: PieceIndex,
    real: Conversion,
) -> None:  # fmt: skip
    """Compute C = G·Xᵀ, of shapes (m, n) and (k, n)."""
    first, last = piece * step, min(m, piece * step + step)
    if n == 1:
        for i in range(first, last):
            row, factor = moved(c, i * k), g[i]
            for p in range(k):
                row[p] = factor * x[p]
        return
    own, out = moved(g, first * n), moved(c, first * k)
    gemm(PLAIN, TRANSPOSED, last - first, k, n, real(1), own, n, x, n, real(0), out, k)


@kernel
def row_sums(
    g: Reals, y: Reals, m: Whole, n: Whole, step: Whole, piece: PieceIndex, real: Conversion
) -> None:
    """Compute the sum of each row of G, of shape (m, n)."""
    for i in range(piece * step, min(m, piece * step + step)):
        row, total = moved(g, i * n), real(0)
        for j in range(n):
            total += row[j]
        y[i] = total
