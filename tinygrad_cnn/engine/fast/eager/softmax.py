"""Softmax and its like of arrays by compiled kernels: functions of `engine.softmax`."""

from __future__ import annotations

import numpy as np

from tinygrad_cnn.engine import memory
from tinygrad_cnn.engine.arrays import Array, Shape, inverse
from tinygrad_cnn.engine.fast import softmax as kernels
from tinygrad_cnn.engine.fast.eager.running import run


def computed(
    name: str, order: Shape, cube: tuple[int, int, int], work: int, *arrays: Array
) -> Array:
    """Return what the kernel `name` computes of arrays of one shape.

    In memory their axes are in an order, slowest first, in which they are a cube, with the classes
    in the middle.
    """
    given = [np.ascontiguousarray(array.transpose(order)) for array in arrays]
    out = memory.empty(given[0].shape, given[0].dtype)
    step, width, pieces = kernels.pieces_of(*cube)
    run(getattr(kernels, name), *given, out, *cube, step, width, pieces=pieces, work=work,
        scratch=3 * width)  # fmt: skip
    return out.transpose(inverse(order))
