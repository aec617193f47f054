"""Convolutions of arrays by compiled kernels: for the algorithms of `engine.convolution`."""

from __future__ import annotations

from typing import Any, Literal

from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.fast.convolution_choice import fast_convolution
from tinygrad_cnn.engine.fast.eager.running import run_rows


def run(
    direction: Literal["forward", "input_gradient", "weight_gradient"],
    sizes: Any,
    operands: tuple[Any, ...],
    arrays: list[Array],
) -> None:
    """Compute a direction of the fast convolution of these sizes.

    Its operands are positions among the arrays, and strides.
    """

    def write(rows: Any) -> None:
        getattr(fast_convolution(*sizes), direction)(rows, *operands)

    run_rows((direction, sizes, operands), write, arrays)
