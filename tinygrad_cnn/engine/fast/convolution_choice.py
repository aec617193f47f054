"""The choice of the kernels of a convolution."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

from tinygrad_cnn.engine.fast import depthwise_rows, products
from tinygrad_cnn.engine.fast.convolution_rows import FastConvolution
from tinygrad_cnn.engine.fast.winograd_rows import TiledConvolution
from tinygrad_cnn.engine.tiling import may_tile_compiled
from tinygrad_cnn.engine.windows import Windows

SPLIT_IMAGES = 16  # minimum images with groups: the rows of each group's products are that long
MANY_IMAGES = 8  # minimum images for products to take longer than the copies of the weights,
FEW_WEIGHTS = 1 << 12  # unless there are so few weights that copies take no time


def fast_convolution(
    images: int, channels: int, filters: int, at: Windows, groups: int, dtype: DTypeLike
) -> FastConvolution | None:
    """Return the fastest way to compute a convolution; None if NumPy is faster.

    The parameters are those of `FastConvolution`.
    """
    if depthwise_rows.takes(channels, filters, groups):
        return depthwise_rows.DepthwiseConvolution(images, channels, filters, at, groups, dtype)
    if groups > 1 and (channels < 4 * groups or images < SPLIT_IMAGES):
        return None  # each group's products are too small
    sizes = images, channels, filters, at, groups, np.dtype(dtype)
    if may_tile_compiled(*sizes) and products.is_available():
        return TiledConvolution(images, channels, filters, at, groups, dtype)
    weights = filters * channels // groups * math.prod(at.kernel)
    if images < MANY_IMAGES and weights > FEW_WEIGHTS:
        return None
    return FastConvolution(images, channels, filters, at, groups, dtype)
