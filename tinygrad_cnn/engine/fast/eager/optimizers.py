"""Optimizer updates of arrays by compiled kernels, with the bits of NumPy."""

from __future__ import annotations

from collections.abc import Sequence

from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.fast import optimizers as kernels
from tinygrad_cnn.engine.fast.eager.running import run
from tinygrad_cnn.engine.threads import BYTE

PIECE = 1 << 15  # values that a piece updates


def update(
    kernel: str, arrays: Sequence[Array], options: tuple[int, ...], numbers: tuple[float, ...]
) -> bool:
    """Update a parameter and its state in place; return False if NumPy is to.

    The arrays are the parameter, its gradient and those of its state.
    """
    p, _, *state = arrays
    if not all(array.flags.writeable for array in (p, *state)):
        return False
    for array in arrays:
        if array.dtype != p.dtype or array.shape != p.shape or not array.flags.c_contiguous:
            return False
    run(getattr(kernels, kernel), *arrays, p.size, PIECE, *options, *numbers,
        pieces=-(-p.size // PIECE), work=2 * BYTE * len(arrays) * p.nbytes)  # fmt: skip
    return True
