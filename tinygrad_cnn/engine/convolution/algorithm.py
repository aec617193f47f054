"""The choice of convolution algorithm."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.convolution import (
    depthwise,
    depthwise_few,
    direct,
    im2col,
    winograd,
    winograd_compiled,
    winograd_few,
    winograd_lines,
    winograd_rows,
)
from tinygrad_cnn.engine.layout import Layout
from tinygrad_cnn.engine.tiling import may_tile, tile_count
from tinygrad_cnn.engine.windows import Windows

SIDE_BY_SIDE = 8  # minimum images for products over them to be wide enough
WIDE_CHANNELS = 96  # channels on average, and at least PER_IMAGE for each image, from which
PER_IMAGE = 2  # products over channels are wider than products over images
FIRST, WIDE_FIRST = 16, 64  # maximum images, and minimum output channels, for a first layer
FEW_CHANNELS = 16  # minimum channels on either side of few images for tiles,
FEW_TILES = 24  # minimum tiles, so that the transform of the kernels pays,
FEW_PRODUCTS = 4_000_000  # and minimum multiply-adds
FOR_TILES = 8  # minimum channels on either side, for Winograd's transforms to pay
WIDE = 16  # minimum images for Winograd's products per window; with fewer, per row of windows,
WIDE_GRADIENT = 24  # and the minimum for the weight gradient
FEW_PAIRS = 256  # minimum pairs of channels for its weight gradient, or half with WIDE_GRADIENT
TWO_WAYS = 1 << 18  # minimum images · pairs of channels for tiles along both axes, not rows only
TWO_WAYS_PAIRS = 4096  # and minimum pairs, for the weight gradient
THIN = 8  # with fewer channels, the input gradient is added row by row


class Algorithm(Protocol):
    """A convolution algorithm and the layout it works in."""

    layout: Layout

    def convolve(
        self, x: Array, w: Array, bias: Array | None, at: Windows, groups: int, out: Array
    ) -> None:
        """Write the convolution of `x` with `w`, plus `bias`, to `out`; all have one dtype.

        `out` may have any strides: reshape it only with `memory.view`.
        """

    def weight_gradient(self, dy: Array, x: Array, at: Windows, groups: int) -> Array:
        """Return the weight gradient."""


def choose(
    images: int,
    channels: int,
    out_channels: int,
    at: Windows,
    groups: int,
    dtype: np.dtype[Any],
) -> Algorithm:
    """Return the algorithm for a convolution of the given size."""
    # Depthwise convolutions are fastest with the images last, and so 1×1 kernels beside them keep
    # that order: a copy between the two takes longer than either.
    mixes = groups == 1 and at.kernel != (1, 1)
    if images == 1 and winograd_compiled.takes(1, channels, out_channels, at, groups, dtype):
        return winograd_compiled
    if images < SIDE_BY_SIDE or (mixes and _are_wide(images, channels, out_channels)):
        if depthwise.takes(channels, at, groups, dtype):
            return depthwise_few
        products = images * math.prod((*at.count, *at.kernel, channels, out_channels))
        tiled = products >= FEW_PRODUCTS and images * tile_count(at) >= FEW_TILES
        if tiled and may_tile(min(channels, out_channels), FEW_CHANNELS, at, groups, dtype):
            return winograd_few
        return im2col
    if depthwise.takes(channels, at, groups, dtype):
        return depthwise
    if winograd_compiled.takes(images, channels, out_channels, at, groups, dtype):
        return winograd_compiled
    if not may_tile(min(channels, out_channels), FOR_TILES, at, groups, dtype):
        return direct
    pairs = channels * out_channels
    if min(images, winograd.WIDEST) * pairs >= TWO_WAYS:
        return winograd
    return winograd_lines if images < WIDE else winograd_rows


def choose_weight_gradient(
    images: int,
    channels: int,
    out_channels: int,
    at: Windows,
    groups: int,
    dtype: np.dtype[Any],
) -> Algorithm:
    """Return the algorithm for the weight gradient of a convolution of the given size."""
    way, pairs = choose(images, channels, out_channels, at, groups, dtype), channels * out_channels
    if way not in (winograd, winograd_lines, winograd_rows):
        return way
    if images < WIDE_GRADIENT:
        return winograd_lines if pairs >= FEW_PAIRS else direct
    if pairs >= TWO_WAYS_PAIRS:
        return winograd
    return winograd_rows if pairs >= FEW_PAIRS // 2 else direct


def adds_rows(channels: int, at: Windows, groups: int) -> bool:
    """Return whether `input_gradient_rows` computes the input gradient."""
    return groups == 1 and channels < THIN and at.rows.kernel > 1


def _are_wide(images: int, channels: int, out_channels: int) -> bool:
    """Return whether products over channels are wider than products over images."""
    if channels < THIN:
        return images <= FIRST and out_channels >= WIDE_FIRST
    return channels * out_channels >= max(WIDE_CHANNELS, PER_IMAGE * images) ** 2
