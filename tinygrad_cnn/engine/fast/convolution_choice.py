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

SPLIT_IMAGES = 16  # of a convolution with groups, at least: the rows of its products are so long
MANY_IMAGES = 8  # from here on, products take longer than the copies of the weights
FEW_WEIGHTS = 1 << 12  # whose copies take no time


def fast_convolution(
    images: int, channels: int, filters: int, at: Windows, groups: int, dtype: DTypeLike
) -> FastConvolution | None:
    """Return the fastest way to compute a convolution; None if it has no fast kernels.

    The parameters are those of `FastConvolution`.
    """
    if depthwise_rows.takes(channels, filters, groups):
        return depthwise_rows.DepthwiseConvolution(images, channels, filters, at, groups, dtype)
    if groups > 1 and (channels < 4 * groups or images < SPLIT_IMAGES):
        return None  # products too small
    sizes = images, channels, filters, at, groups, np.dtype(dtype)
    if may_tile_compiled(*sizes) and products.is_available():
        return TiledConvolution(images, channels, filters, at, groups, dtype)
    weights = filters * channels // groups * math.prod(at.kernel)
    if images < MANY_IMAGES and weights > FEW_WEIGHTS:
        return None
    return FastConvolution(images, channels, filters, at, groups, dtype)
