"""Which way a convolution is computed: the one place that chooses."""

from __future__ import annotations

from typing import Protocol

from tinygrad_cnn.engine import columns, direct
from tinygrad_cnn.engine.layout import Array, Layout
from tinygrad_cnn.engine.windows import Windows

FEW_IMAGES = 8
FEW_IMAGES_OF_FEW_CHANNELS = 24  # with at most 3 channels: K is then small, N has to make up for it


class Algorithm(Protocol):
    """A way to compute convolutions, in the layout that suits it."""

    layout: Layout

    def convolve(
        self, x: Array, w: Array, bias: Array | None, at: Windows, groups: int, out: Array
    ) -> None:
        """Write the convolution of `x` with `w`, plus `bias`, to `out`; all of one dtype."""

    def weight_gradient(self, dy: Array, x: Array, at: Windows, groups: int) -> Array:
        """Return the gradient of the kernels."""


def choose(images: int, channels: int, out_channels: int, at: Windows, groups: int) -> Algorithm:
    """Return the algorithm for a convolution of so many `images`, from and to so many channels."""
    few = FEW_IMAGES_OF_FEW_CHANNELS if channels // groups <= 3 else FEW_IMAGES
    return columns if images < few else direct
