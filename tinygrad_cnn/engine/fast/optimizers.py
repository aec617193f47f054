"""Kernels of optimizer updates: each reads and writes every array once.

They compute the formulas of `optim` in the same order, rounding after each operation: the results
are bit-identical with those of NumPy.
"""

from __future__ import annotations

import math

from tinygrad_cnn.engine.fast.kernel import PieceIndex, Reals, Scalar, Whole, exact_kernel


@exact_kernel
def descend(
    p: Reals, g: Reals, count: Whole, step: Whole, lr: Scalar, weight_decay: Scalar,
    piece: PieceIndex,
) -> None:  # fmt: skip
    """Compute p ← p − lr·(g + λp)."""
    first, last = piece * step, min(count, piece * step + step)
    if weight_decay == 0:
        for i in range(first, last):
            p[i] = p[i] - lr * g[i]
    else:
        for i in range(first, last):
            p[i] = p[i] - lr * (g[i] + weight_decay * p[i])


@exact_kernel
def descend_with_momentum(
    p: Reals, g: Reals, velocity: Reals, count: Whole, step: Whole, nesterov: Whole,
    lr: Scalar, momentum: Scalar, kept: Scalar, weight_decay: Scalar, piece: PieceIndex,
) -> None:  # fmt: skip
    """Compute v ← μv + κ(g + λp) and p ← p − lr·v, or with Nesterov p ← p − lr·(g + λp + μv).

    κ, `kept`, is 1 in the first step, and then 1 less the dampening.
    """
    first, last = piece * step, min(count, piece * step + step)
    if nesterov:
        for i in range(first, last):
            d = g[i] + weight_decay * p[i] if weight_decay != 0 else g[i]
            v = velocity[i] * momentum + kept * d
            velocity[i] = v
            p[i] = p[i] - lr * (d + momentum * v)
    else:
        for i in range(first, last):
            d = g[i] + weight_decay * p[i] if weight_decay != 0 else g[i]
            v = velocity[i] * momentum + kept * d
            velocity[i] = v
            p[i] = p[i] - lr * v


@exact_kernel
def adam(
    p: Reals, g: Reals, mean: Reals, square: Reals, count: Whole, step: Whole,
    rate: Scalar, keep: Scalar, weight_decay: Scalar, rest1: Scalar, beta2: Scalar,
    rest2: Scalar, epsilon: Scalar, piece: PieceIndex,
) -> None:  # fmt: skip
    """Compute a step of Adam.

    With β₁ and β₂, t steps, and s = √(1 − β₂ᵗ): `rate` is lr·s / (1 − β₁ᵗ), `rest1` is 1 − β₁,
    `rest2` 1 − β₂, and `epsilon` s·ε. `keep` is 1, or for AdamW 1 − lr·λ, with a `weight_decay`
    of 0.
    """
    for i in range(piece * step, min(count, piece * step + step)):
        q = p[i] * keep
        d = g[i] + weight_decay * q if weight_decay != 0 else g[i]
        m = mean[i] + rest1 * (d - mean[i])
        v = square[i] * beta2 + rest2 * (d * d)
        mean[i], square[i] = m, v
        p[i] = q - rate * (m / (math.sqrt(v) + epsilon))
