"""Which way a convolution is computed: the one place that chooses."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from tinygrad_cnn.engine import columns, depthwise, direct, winograd
from tinygrad_cnn.engine.configuration import configuration
from tinygrad_cnn.engine.layout import Array, Layout
from tinygrad_cnn.engine.windows import Windows

SIDE_BY_SIDE = 4  # images from which on products over them are not too thin,
SIDE_BY_SIDE_NARROW = 8  # and with fewer than so many channels, in and out together
NARROW = 32
FOR_TILES = 16  # images, and channels on either side, from which on Winograd's transforms pay,
CHANNEL_PAIRS = 512  # and how many products they have to save for each pixel
THIN = 8  # channels below which the image's gradient is added row by row


class Algorithm(Protocol):
    """A way to compute convolutions, in the layout that suits it."""

    layout: Layout

    def convolve(
        self, x: Array, w: Array, bias: Array | None, at: Windows, groups: int, out: Array
    ) -> None:
        """Write the convolution of `x` with `w`, plus `bias`, to `out`; all of one dtype.

        `out` may have any strides: reshape it by `buffers.view` only.
        """

    def weight_gradient(self, dy: Array, x: Array, at: Windows, groups: int) -> Array:
        """Return the gradient of the kernels."""


def choose(
    images: int,
    channels: int,
    out_channels: int,
    at: Windows,
    groups: int,
    dtype: np.dtype[Any],
) -> Algorithm:
    """Return the algorithm for a convolution of so many `images`, from and to so many channels."""
    narrow = channels + out_channels < NARROW
    if images < (SIDE_BY_SIDE_NARROW if narrow else SIDE_BY_SIDE):
        return columns
    if channels == groups > 1:
        return depthwise
    if (
        configuration.get().winograd
        and dtype == np.float32  # where its error is that of a few roundings more
        and groups == 1
        and min(images, channels, out_channels) >= FOR_TILES
        and channels * out_channels >= CHANNEL_PAIRS
        and _fits_tiles(at)
    ):
        return winograd
    return direct


def scatters(channels: int, at: Windows, groups: int) -> bool:
    """Return whether the gradient of images of so many `channels` is computed by `scattered`."""
    return groups == 1 and channels < THIN and at.rows.kernel > 1


def _fits_tiles(at: Windows) -> bool:
    """Whether Winograd's tiles fit these windows, and save a quarter of the products at least."""
    plain = all(
        (axis.kernel, axis.stride, axis.dilation) == (3, 1, 1) and 0 <= axis.before <= 2
        for axis in (at.rows, at.columns)
    )
    oh, ow = at.count
    products = winograd.IN**2 * -(-oh // winograd.OUT) * -(-ow // winograd.OUT)
    return plain and 4 * products <= 3 * 9 * oh * ow
