"""Rows that compute convolutions: which kernels, in which pieces, on which copies of the weights.

Images are (H, W, C, N) in memory. Weights are in any order, which their strides describe.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from numpy.typing import DTypeLike

from tinygrad_cnn.engine.fast import convolution as kernels
from tinygrad_cnn.engine.fast.row_writer import RowWriter
from tinygrad_cnn.engine.fast.vectors import register_lanes
from tinygrad_cnn.engine.windows import Windows

Strides: TypeAlias = tuple[int, int, int, int]  # of (OC, C / groups, KH, KW), in values

SHORT = 20  # values of a row of a window: below, products of such rows are slow
PIECE = 1 << 20  # multiply-adds of a piece, about
COLUMNS = 16  # of a row of windows or of an image, in a piece, at most
PARTS = 16  # of a sum over windows, at most
SUMS = 1 << 18  # values of all parts of a sum together, about
FEW = 16  # filters
MATRIX = 1 << 16  # values of the matrix of windows of one image, about
SMALL_BLOCK = 64  # kernels whose gradient a piece computes, where there are many


@dataclass(frozen=True)
class FastConvolution:
    """A convolution of images (N, C, H, W) with kernels (OC, C / groups, KH, KW).

    Attributes
    ----------
    images, channels, filters : int
        N, C and OC.
    at : Windows
    groups : int
    dtype : dtype_like
        float32 or float64.
    """

    images: int
    channels: int
    filters: int
    at: Windows
    groups: int
    dtype: DTypeLike

    def forward(
        self, rows: RowWriter, x: int, w: int, strides: Strides, bias: int | None, y: int
    ) -> None:
        """Add rows for y = w ∗ x + bias, given the places of all in the table of addresses."""
        if self.images == 0:
            return
        w, options = self._arranged(rows, w, strides, self._order(self._stacked)), self._options
        place, steps = (0, [0]) if bias is None else (bias, [1])
        kernel, scratch = kernels.convolve, 0
        step = self._columns(self._width, self._height)
        pieces = self._height * -(-self._width // step)
        if self._stacked:
            kernel, step = kernels.convolve_stacked, self._rows
            pieces = -(-self._height // step)
            matrix = step * self._width * self._taps + register_lanes(self.dtype)
            scratch = self._stack + (matrix if self.images == 1 else 0)
            steps.append(register_lanes(self.dtype))
        rows.row(
            kernel, self.dtype, x, w, place, y, *options, *steps, step,
            pieces=pieces, work=self._work, scratch=scratch, product=self._product * step,
        )  # fmt: skip

    def input_gradient(
        self, rows: RowWriter, g: int, w: int, strides: Strides, bias: int | None, x: int
    ) -> None:
        """Add rows for x = w ∗ᵀ g + bias; `bias` belongs to the channels of x."""
        if self.images == 0:
            return
        w = self._arranged(rows, w, strides, self._order(False))
        biased = (0, 0) if bias is None else (bias, 1)
        height, width = self.at.rows.size, self.at.columns.size
        step = self._columns(width, height)
        rows.row(
            kernels.convolve_transposed, self.dtype, g, w, biased[0], x, *self._options,
            biased[1], step, pieces=height * -(-width // step), work=self._work,
            product=self._product,
        )  # fmt: skip

    def weight_gradient(self, rows: RowWriter, g: int, x: int, w: int, strides: Strides) -> None:
        """Add rows for w = Σ g·xᵀ over all windows and images."""
        count = self._height if self._stacked else self._height * self._width
        order, length, block = self._order(self._stacked), self._taps, SMALL_BLOCK
        kernel, scratch = kernels.weight_gradient, SMALL_BLOCK * self.images
        if self.groups > 1:
            block, scratch = self.filters, self.filters * self.images
        blocks, last = -(-self.filters // block), True
        if self._stacked:
            kernel, blocks, block = kernels.weight_gradient_stacked, 1, 0
            scratch = self._stack + max(
                self.filters * self.images, self._width * self._taps + register_lanes(self.dtype)
            )
            lane = register_lanes(self.dtype)
            aligned = -(-self._taps // lane) * lane
            last = self.images == 1 or self.filters >= FEW or self._stack < aligned * self.images
            if not last:
                length = block = aligned
                scratch = 2 * self._stack + lane * self.images
        size = self.filters * length
        parts = max(1, min(PARTS // blocks, SUMS // size, self._work // PIECE, count))
        step = -(-count // parts)
        parts = -(-count // step)
        if self.images == 0:
            parts, step = 1, 0  # zeros
        sums = rows.temporary(parts * size, self.dtype)
        rows.row(
            kernel, self.dtype, g, x, sums, *self._options, block, register_lanes(self.dtype), step,
            pieces=parts * blocks, work=self._work, scratch=scratch, product=self._product,
        )  # fmt: skip
        if not last:
            order = (length, *order[1:])
        elif not (self._stacked and self.images == 1):
            order = _filters_last(order, self.filters)
        self._rearrange(rows, sums, order, w, strides, parts, size)

    @property
    def _height(self) -> int:
        return self.at.rows.windows

    @property
    def _width(self) -> int:
        return self.at.columns.windows

    @property
    def _depth(self) -> int:
        return self.channels // self.groups

    @property
    def _taps(self) -> int:
        return self._depth * math.prod(self.at.kernel)

    @cached_property
    def _work(self) -> int:
        return self._height * self._width * self.filters * self._taps * self.images

    @cached_property
    def _product(self) -> int:
        """Multiply-adds of the largest product."""
        if self.images == 1:
            return self._width * self.filters * self._taps
        return self.filters * self._taps * self.images

    @cached_property
    def _stacked(self) -> bool:
        """Whether to stack the image rows under a row of windows."""
        columns = self.at.columns
        if self.groups > 1 or columns.dilation > 1:
            return False
        return self.images == 1 or (
            self.at.rows.kernel > 1 and columns.kernel * self._depth < SHORT
        )

    @property
    def _stack(self) -> int:
        """Values of a row of stacked rows."""
        columns = self.at.columns
        padded = (columns.windows - 1) * columns.stride + columns.kernel
        return padded * self.at.rows.kernel * self.channels * self.images

    @property
    def _rows(self) -> int:
        """The rows of windows of a piece from stacked rows."""
        step = self._height * PIECE // max(1, self._work)
        if self.images == 1:
            step = min(step, MATRIX // (self._width * self._taps))
        return max(1, min(self._height, step))

    @cached_property
    def _options(self) -> tuple[int, ...]:
        rows, columns = self.at.rows, self.at.columns
        return (
            rows.size, columns.size, self.channels, self.images, self.filters,
            rows.windows, columns.windows, rows.kernel, columns.kernel,
            rows.stride, columns.stride, rows.before, columns.before,
            rows.dilation, columns.dilation, self.groups,
        )  # fmt: skip

    def _columns(self, width: int, height: int) -> int:
        """Return the columns of a piece, which is a part of a row if rows are few or long."""
        parts = max(-(-width // COLUMNS), min(PARTS // height, width // 4))
        return -(-width // max(1, min(parts, self._work // height // PIECE)))

    def _order(self, stacked: bool) -> Strides:
        """Return the strides of arranged weights: (OC, KW, KH, C) or (OC, KH, KW, C).

        For one image stacked ones are (KW, KH, C, OC).
        """
        tall, wide = self.at.kernel
        if not stacked:
            return self._taps, 1, wide * self._depth, self._depth
        order = self._taps, 1, self._depth, tall * self._depth
        return _filters_last(order, self.filters) if self.images == 1 else order

    def _arranged(self, rows: RowWriter, w: int, strides: Strides, order: Strides) -> int:
        """Return the place of weights with these strides, which are copied if need be."""
        shape = (self.filters, self._depth, *self.at.kernel)
        if all(n == 1 or a == b for n, a, b in zip(shape, strides, order, strict=True)):
            return w
        size = self.filters * self._taps
        copy = rows.temporary(size, self.dtype)
        self._rearrange(rows, w, strides, copy, order, 1, size)
        return copy

    def _rearrange(
        self, rows: RowWriter, source: int, of: Strides, result: int, to: Strides, parts: int,
        size: int,
    ) -> None:  # fmt: skip
        """Add a row for a copy of the weights, or of the sum of parts of `size` values."""
        step = max(1, self.filters * (PIECE >> 4) // (size * parts))
        rows.row(
            kernels.rearrange, self.dtype, source, result, parts, size,
            self.filters, self._depth, *self.at.kernel, *of, *to, step,
            pieces=-(-self.filters // step), work=size * parts,
        )  # fmt: skip


def _filters_last(order: Strides, filters: int) -> Strides:
    _, channel, row, column = order
    return 1, channel * filters, row * filters, column * filters


def sum_channels(
    rows: RowWriter, g: int, y: int, places: int, channels: int, images: int, dtype: Any
) -> None:
    """Add rows for the sum of each channel of g, (places, channels, images) in memory."""
    size = places * channels * images
    parts = max(1, min(PARTS, size >> 14, places))
    step = -(-places // parts)
    parts = -(-places // step)
    sums = rows.temporary(parts * channels, dtype)
    rows.row(
        kernels.channel_sums, dtype, g, sums, places, channels, images, step,
        pieces=parts, work=2 * size, scratch=channels * images,
    )  # fmt: skip
    rows.row(
        kernels.rearrange, dtype, sums, y, parts, channels, channels, *[1] * 11, channels,
        work=channels * parts,
    )  # fmt: skip
