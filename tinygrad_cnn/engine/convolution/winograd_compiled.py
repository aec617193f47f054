"""Winograd convolution by compiled kernels, where the extra `fast` is installed.

The kernels are those of `engine.fast.winograd`: the same tiles, in smaller pieces.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.engine import fast
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.layout import Layout
from tinygrad_cnn.engine.memory import empty
from tinygrad_cnn.engine.tiling import may_tile_compiled
from tinygrad_cnn.engine.windows import Windows

layout = Layout.IMAGES_LAST


def takes(
    images: int, channels: int, out_channels: int, at: Windows, groups: int, dtype: np.dtype[Any]
) -> bool:
    """Return whether there are kernels for a convolution, which pay and may be used."""
    return (
        may_tile_compiled(images, channels, out_channels, at, groups, dtype)
        and fast.is_on()
        and _has_products()
    )


def convolve(x: Array, w: Array, bias: Array | None, at: Windows, groups: int, out: Array) -> None:
    """Write the convolution of images `x` with `w` (OC, C, 3, 3), plus `bias`, to `out`."""
    arranged = layout.memory(out).flags.c_contiguous
    y = out if arranged else layout.empty(out.shape, out.dtype)
    sizes = (x.shape[0], x.shape[1], w.shape[0], at, groups, x.dtype)
    if any(step % w.itemsize for step in w.strides):  # such as a field of a structured array
        w = np.ascontiguousarray(w)
    strides = _strides(w)
    arrays = [layout.arranged(x), w, y]
    if bias is not None:
        arrays.append(np.ascontiguousarray(bias))
    place = None if bias is None else len(arrays) - 1
    fast.kernels("convolution", x, 0).run("forward", sizes, (0, 1, strides, place, 2), arrays)
    if not arranged:
        out[...] = y


def weight_gradient(dy: Array, x: Array, at: Windows, groups: int) -> Array:
    """Return the weight gradient (OC, C, 3, 3), given `dy` (N, OC, OH, OW)."""
    dw = empty((dy.shape[1], x.shape[1], *at.kernel), x.dtype)
    sizes = (x.shape[0], x.shape[1], dy.shape[1], at, groups, x.dtype)
    arrays = [layout.arranged(dy), layout.arranged(x), dw]
    operands = (0, 1, 2, _strides(dw))
    fast.kernels("convolution", x, 0).run("weight_gradient", sizes, operands, arrays)
    return dw


def _has_products() -> bool:
    from tinygrad_cnn.engine.fast.products import is_available

    return is_available()


def _strides(w: Array) -> tuple[int, int, int, int]:
    """Return the strides of weights, in values."""
    row, column, down, right = (step // w.itemsize for step in w.strides)
    return row, column, down, right
