"""The choice of convolution algorithm."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from tinygrad_cnn.engine import (
    depthwise,
    depthwise_few,
    direct,
    im2col,
    winograd,
    winograd_few,
    winograd_rows,
)
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.configuration import configuration
from tinygrad_cnn.engine.layout import Layout
from tinygrad_cnn.engine.windows import Windows

SIDE_BY_SIDE = 12  # minimum images for products over them to be wide enough,
SIDE_BY_SIDE_NARROW = 8  # and the minimum with fewer than NARROW channels, in plus out
NARROW = 24
FEW_CHANNELS = 16  # minimum channels on either side of few images for tiles,
FEW_TILES = 24  # minimum tiles, so that the transform of the kernels pays,
FEW_PRODUCTS = 4_000_000  # and minimum multiply-adds
FOR_TILES = 8  # minimum images, and channels on either side, for Winograd's transforms to pay
TWO_WAYS = 1 << 18  # minimum images · pairs of channels for tiles along both axes, not rows only
# The weight gradient needs more: its transforms are of both sides of the products.
FOR_GRADIENT = 32  # minimum images,
FEW_PAIRS, MANY_PAIRS = 128, 4096  # and pairs of channels for tiles along rows, and along both axes
UNEVEN = 16  # fewer output channels, with more channels, make slow products of the direct way
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
    narrow = channels + out_channels < NARROW
    if images < (SIDE_BY_SIDE_NARROW if narrow else SIDE_BY_SIDE):
        if depthwise.takes(channels, at, groups, dtype):
            return depthwise_few
        products = images * math.prod((*at.count, *at.kernel, channels, out_channels))
        tiled = products >= FEW_PRODUCTS and images * _tiles(at) >= FEW_TILES
        if tiled and _may_tile(min(channels, out_channels), FEW_CHANNELS, at, groups, dtype):
            return winograd_few
        return im2col
    if depthwise.takes(channels, at, groups, dtype):
        return depthwise
    fewest = min(images, channels, out_channels)
    if not _may_tile(fewest, FOR_TILES, at, groups, dtype):
        return direct
    pairs = channels * out_channels
    return winograd if min(images, winograd.WIDEST) * pairs >= TWO_WAYS else winograd_rows


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
    if way in (im2col, winograd_few, depthwise, depthwise_few):
        return way
    if way is direct or pairs < FEW_PAIRS:
        return direct
    if pairs >= MANY_PAIRS and images >= FOR_GRADIENT // 2:
        return winograd
    uneven = out_channels < UNEVEN and channels >= 2 * out_channels
    return winograd_rows if images >= FOR_GRADIENT or uneven else direct


def adds_rows(channels: int, at: Windows, groups: int) -> bool:
    """Return whether `input_gradient_rows` computes the input gradient."""
    return groups == 1 and channels < THIN and at.rows.kernel > 1


def _may_tile(size: int, fewest: int, at: Windows, groups: int, dtype: np.dtype[Any]) -> bool:
    """Return whether Winograd's tiles fit, pay, and add only a few rounding errors."""
    return (
        dtype == np.float32
        and groups == 1
        and size >= fewest
        and configuration.get().winograd
        and _fits_tiles(at)
    )


def _fits_tiles(at: Windows) -> bool:
    """Return whether Winograd's tiles fit the windows and save a quarter of the products."""
    plain = all(
        (axis.kernel, axis.stride, axis.dilation) == (3, 1, 1) and 0 <= axis.before <= 2
        for axis in (at.rows, at.columns)
    )
    oh, ow = at.count
    return plain and 4 * winograd.IN**2 * _tiles(at) <= 3 * 9 * oh * ow


def _tiles(at: Windows) -> int:
    """Return the number of Winograd's tiles of an image."""
    return math.prod([-(-count // winograd.OUT) for count in at.count])
