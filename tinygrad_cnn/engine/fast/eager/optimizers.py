"""Optimizer updates of arrays by compiled kernels, with the bits of NumPy."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from tinygrad_cnn.engine.fast import optimizers as kernels
from tinygrad_cnn.engine.fast.eager.running import run
from tinygrad_cnn.engine.threads import BYTE

PIECE = 1 << 15  # values that a piece updates


def descend(
    p: NDArray[Any], g: NDArray[Any], velocity: NDArray[Any] | None, nesterov: bool, *numbers: float
) -> bool:
    """Update `p` and its velocity, if it has one; return False if NumPy is to.

    The numbers are those of the kernels, in their order.
    """
    if velocity is None:
        return _run(kernels.descend, [p, g], (), numbers)
    return _run(kernels.descend_with_momentum, [p, g, velocity], (int(nesterov),), numbers)


def adam(
    p: NDArray[Any], g: NDArray[Any], mean: NDArray[Any], square: NDArray[Any], *numbers: float
) -> bool:
    """Update `p`, its mean and its square; return False if NumPy is to."""
    return _run(kernels.adam, [p, g, mean, square], (), numbers)


def _run(
    kernel: Any, arrays: list[NDArray[Any]], options: tuple[int, ...], numbers: tuple[float, ...]
) -> bool:
    p, _, *state = arrays
    if not all(array.flags.writeable for array in (p, *state)):
        return False
    for array in arrays:
        if array.dtype != p.dtype or array.shape != p.shape or not array.flags.c_contiguous:
            return False
    run(kernel, *arrays, p.size, PIECE, *options, *numbers, pieces=-(-p.size // PIECE),
        work=2 * BYTE * len(arrays) * p.nbytes)  # fmt: skip
    return True
