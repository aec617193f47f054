"""Rows that compute depthwise convolutions of images that are (H, W, C, N) in memory."""

from __future__ import annotations

import math
from functools import cached_property

from tinygrad_cnn.engine.fast import depthwise as kernels
from tinygrad_cnn.engine.fast.convolution_rows import FastConvolution, Strides
from tinygrad_cnn.engine.fast.depthwise_3x3 import depthwise_3x3, depthwise_3x3_weight_gradient
from tinygrad_cnn.engine.fast.row_writer import RowWriter


def takes(channels: int, filters: int, groups: int) -> bool:
    """Return whether a convolution is depthwise, with one kernel for each channel."""
    return channels == filters == groups > 1


class DepthwiseConvolution(FastConvolution):
    """A convolution of each channel with a kernel of its own, (C, 1, KH, KW)."""

    def forward(
        self, rows: RowWriter, x: int, w: int, strides: Strides, bias: int | None, y: int
    ) -> None:
        """Add rows for y = w ∗ x + bias, given the places of all in the table of addresses."""
        self._convolve(rows, x, w, strides, bias, y, False)

    def input_gradient(
        self, rows: RowWriter, g: int, w: int, strides: Strides, bias: int | None, x: int
    ) -> None:
        """Add rows for x = w ∗ᵀ g + bias."""
        self._convolve(rows, g, w, strides, bias, x, True)

    def weight_gradient(self, rows: RowWriter, g: int, x: int, w: int, strides: Strides) -> None:
        """Add rows for w = Σ g·x over all windows and images."""
        order = self._order(False)
        shape = (self.filters, 1, *self.at.kernel)
        is_ordered = all(n == 1 or a == b for n, a, b in zip(shape, strides, order, strict=True))
        place = w if is_ordered else rows.temporary(self.filters * self._cells, self.dtype)
        sizes = (*self._size, *self.at.count, self.channels, self.images)
        kernel, stretches = kernels.depthwise_weight_gradient, self._cells
        if self._is_3x3:
            kernel, stretches = depthwise_3x3_weight_gradient, self._cells + 1
        rows.row(
            kernel, self.dtype, x, g, place, *sizes, *self._options_of(self._is_3x3),
            self._block, pieces=self._pieces, work=self._operations,
            scratch=stretches * self._block * self.images,
        )  # fmt: skip
        if not is_ordered:
            size = self.filters * self._cells
            self._rearrange(rows, place, order, w, strides, 1, size)

    def _convolve(
        self, rows: RowWriter, x: int, w: int, strides: Strides, bias: int | None, y: int,
        transposed: bool,
    ) -> None:  # fmt: skip
        if self.images == 0:
            return
        w = self._arranged(rows, w, strides, self._order(False))
        place, biased = (w, 0) if bias is None else (bias, 1)
        small = self._is_3x3 and not (transposed and self._strides != (1, 1))
        height, width = self._size
        sizes = (*self.at.count, height, width) if transposed else (height, width, *self.at.count)
        kernel, stretches = kernels.depthwise, self._cells + 1
        options = self._options_of(small)
        if small:
            kernel, stretches = depthwise_3x3, self._cells + 2
        if small and transposed:  # a convolution with the kernels turned
            options = (1, 1, 2 - self.at.rows.before, 2 - self.at.columns.before)
        rows.row(
            kernel, self.dtype, x, w, place, y, *sizes, self.channels, self.images,
            *options, int(transposed), biased, self._block, pieces=self._pieces,
            work=self._operations, scratch=stretches * self._block * self.images,
        )  # fmt: skip

    def _options_of(self, small: bool) -> tuple[int, ...]:
        """Return the kernel's size, strides, dilations and borders, as the kernels take them."""
        axes = (self.at.rows, self.at.columns)
        borders = tuple([axis.before for axis in axes])
        if small:
            return (*self._strides, *borders)
        return (*self.at.kernel, *self._strides, *[axis.dilation for axis in axes], *borders)

    @property
    def _size(self) -> tuple[int, int]:
        return self.at.rows.size, self.at.columns.size

    @property
    def _strides(self) -> tuple[int, int]:
        return self.at.rows.stride, self.at.columns.stride

    @cached_property
    def _is_3x3(self) -> bool:
        return self.at.kernel == (3, 3) and self.at.rows.dilation == self.at.columns.dilation == 1

    @cached_property
    def _cells(self) -> int:
        return math.prod(self.at.kernel)

    @cached_property
    def _block(self) -> int:
        """Channels of a piece."""
        width, tall = self.at.columns.size, self.at.rows.kernel
        return kernels.channels_of(self.channels, self.images, width, tall)

    @cached_property
    def _pieces(self) -> int:
        return -(-self.channels // self._block)

    @cached_property
    def _operations(self) -> int:
        """Operations, as `threads.run` counts them: mostly bytes."""
        cells = math.prod(self._size) + math.prod(self.at.count) * (1 + self._cells // 4)
        return 8 * self.channels * self.images * cells
