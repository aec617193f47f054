"""Kernels of running statistics."""

from __future__ import annotations

from tinygrad_cnn.engine.fast.kernel import Reals, Scalar, Whole, Wholes, kernel


@kernel
def followed(
    running: Reals, batch: Reals, count: Whole, start: Whole, step: Whole, scale: Scalar,
    momentum: Scalar,
) -> None:  # fmt: skip
    """Compute r ← r + m·(s·b − r), where b begins at `start` of `batch`."""
    for i in range(count):
        running[i] += momentum * (scale * batch[start + i * step] - running[i])


@kernel
def counted(x: Wholes) -> None:
    """Add 1 to a whole number."""
    x[0] += 1
