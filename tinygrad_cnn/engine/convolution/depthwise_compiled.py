"""Depthwise convolution by compiled kernels, with one kernel for each channel."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.engine import fast
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.layout import Layout
from tinygrad_cnn.engine.windows import Windows

layout = Layout.IMAGES_LAST


def takes(out_channels: int, groups: int, x: Array) -> bool:
    """Return whether compiled kernels compute a depthwise convolution of `x`, or the like."""
    return out_channels == groups and fast.kernels("convolution", x) is not None


def convolve(x: Array, w: Array, bias: Array | None, at: Windows, groups: int, out: Array) -> None:
    """Write the convolution of images `x` with `w` (C, 1, KH, KW), plus `bias`, to `out`."""
    given = [_memory(x), np.ascontiguousarray(w), _memory(out)]
    place = None
    if bias is not None:
        given.append(np.ascontiguousarray(bias))
        place = 3
    _run("forward", x, at, groups, given, (0, 1, _strides(at), place, 2))


def input_gradient(dy: Array, w: Array, at: Windows, groups: int, out: Array) -> None:
    """Write the input gradient to `out`."""
    given = [_memory(dy), np.ascontiguousarray(w), _memory(out)]
    _run("input_gradient", dy, at, groups, given, (0, 1, _strides(at), None, 2))


def weight_gradient(dy: Array, x: Array, at: Windows, groups: int) -> Array:
    """Return the weight gradient."""
    dw = np.empty((groups, 1, *at.kernel), x.dtype)
    _run("weight_gradient", x, at, groups, [_memory(dy), _memory(x), dw], (0, 1, 2, _strides(at)))
    return dw


def _run(
    direction: str, images: Array, at: Windows, groups: int, given: list[Array], operands: Any
) -> None:
    """Compute a direction; its operands are the positions of arrays."""
    sizes = (len(images), groups, groups, at, groups, images.dtype)
    fast.kernels("convolution", images, 0).run(direction, sizes, operands, given)


def _memory(images: Array) -> Array:
    """Return images as (H, W, C, N), contiguous."""
    return layout.memory(layout.arranged(images))


def _strides(at: Windows) -> tuple[int, int, int, int]:
    tall, wide = at.kernel
    return tall * wide, tall * wide, wide, 1
