"""Rows that compute convolutions by Winograd's algorithm."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tinygrad_cnn.engine.bands import PARTS
from tinygrad_cnn.engine.fast import winograd as kernels
from tinygrad_cnn.engine.fast.convolution_rows import FastConvolution, Strides
from tinygrad_cnn.engine.fast.row_writer import RowWriter
from tinygrad_cnn.engine.fast.winograd import APART, NARROW, VALUES, WEIGHTS, WIDE
from tinygrad_cnn.engine.fast.winograd_transforms import KERNEL
from tinygrad_cnn.engine.tiling import OUT

COLUMNS, IMAGES = 128, 64  # maximum columns of a product, and images of a block
GROUP_BYTES, BLOCK_BYTES = 3 << 18, 5 << 18  # of the values of several tiles, and of one
FEWEST_GROUPS = 2  # so that two threads have something to do
FEWEST_PARTS, PARTS_BYTES = 4, 1 << 22  # minimum partial sums, and maximum bytes of more
STEP = 128  # pairs of channels in a piece of the transforms of weights
_FLOAT32 = np.dtype(np.float32)
_BYTES = _FLOAT32.itemsize


@dataclass(frozen=True)
class TiledConvolution(FastConvolution):
    """A 3×3 convolution of stride 1 computed by Winograd's algorithm.

    It has at least 8 images, or at least 8 channels before and after it.
    """

    def forward(
        self, rows: RowWriter, x: int, w: int, strides: Strides, bias: int | None, y: int
    ) -> None:
        """Add rows for y = w ∗ x + bias."""
        row, column, down, right = strides
        u = self._kernels(rows, w, (self.filters, row), (self.channels, column), 0, down, right)
        self._tiles.convolve(rows, x, u, bias, y)

    def input_gradient(
        self, rows: RowWriter, g: int, w: int, strides: Strides, bias: int | None, x: int
    ) -> None:
        """Add rows for x = w ∗ᵀ g + bias."""
        row, column, down, right = strides  # the kernel is rotated by half a turn
        last = (KERNEL - 1) * (down + right)
        sides = (self.channels, column), (self.filters, row)
        u = self._kernels(rows, w, *sides, last, -down, -right)
        self._tiles.turned.convolve(rows, g, u, bias, x)

    def weight_gradient(self, rows: RowWriter, g: int, x: int, w: int, strides: Strides) -> None:
        """Add rows for w = Σ g·xᵀ over all windows and images."""
        tiles, pairs = self._tiles, self.channels * self.filters
        parts = tiles.parts
        p = rows.temporary(parts * tiles.transformed, _FLOAT32)
        rows.row(
            kernels.winograd_products, _FLOAT32, x, g, p, *tiles.operands, parts, pieces=parts,
            work=tiles.work, scratch=tiles.scratch, product=tiles.product,
        )  # fmt: skip
        rows.row(
            kernels.winograd_weight_gradient, _FLOAT32, p, w, self.channels, self.filters, *strides,
            parts, STEP, pieces=-(-pairs // STEP), work=parts * tiles.transformed,
            scratch=WEIGHTS * WIDE + VALUES * STEP,
        )  # fmt: skip

    @cached_property
    def _tiles(self) -> Tiles:
        rows, columns = self.at.rows, self.at.columns
        sizes = (self.channels, self.filters, rows.size, columns.size, *self.at.count)
        return Tiles(self.images, *sizes, rows.before, columns.before)

    def _kernels(
        self, rows: RowWriter, w: int, out: tuple[int, int], into: tuple[int, int], *at: int
    ) -> int:
        """Add a row that transforms weights to U, and return its place.

        `out` and `into` are the numbers of the channels out and into the convolution, and their
        strides in the weights; U is (36, out, into), the other way around for few images.
        """
        (height, row), (width, column) = (into, out) if self.images < NARROW else (out, into)
        u = rows.temporary(self._tiles.transformed, _FLOAT32)
        rows.row(
            kernels.winograd_kernels, _FLOAT32, w, u, height, width, row, column, *at, STEP,
            pieces=-(-height * width // STEP), work=VALUES * height * width,
            scratch=(WEIGHTS + VALUES) * WIDE,
        )  # fmt: skip
        return u


@dataclass(frozen=True)
class Tiles:
    """The tiles of a convolution, in groups of neighbors, and in blocks of images.

    Attributes
    ----------
    n, c, oc : int
        Images, channels and output channels.
    h, w, oh, ow : int
        Rows and columns of an image and of the output.
    top, left : int
        Padding before the rows and the columns.
    """

    n: int
    c: int
    oc: int
    h: int
    w: int
    oh: int
    ow: int
    top: int
    left: int

    @property
    def turned(self) -> Tiles:
        """The convolution of the gradient flowing in that is the input gradient."""
        padding = KERNEL - 1 - self.top, KERNEL - 1 - self.left
        return Tiles(self.n, self.oc, self.c, self.oh, self.ow, self.h, self.w, *padding)

    @property
    def transformed(self) -> int:
        """The values of all transformed kernels, or of a part of the products."""
        return VALUES * (self.c * self.oc + APART)

    @cached_property
    def blocks(self) -> int:
        """The blocks of images."""
        most = IMAGES
        while most > WIDE and self._bytes(most) > BLOCK_BYTES:
            most //= 2
        return -(-self.n // most)

    @property
    def images(self) -> int:
        """The maximum images of a block."""
        return -(-self.n // self.blocks)

    @cached_property
    def groups(self) -> int:
        """The groups of an image's tiles.

        A group's values fit the cache, or are no more than the transformed kernels, which are read
        again for each group.
        """
        alike = self.c * self.oc // ((self.c + self.oc) * self.images)
        fitting = GROUP_BYTES // self._bytes(self.images)
        most = max(1, min(COLUMNS // self.images, max(alike, fitting)))
        return max(-(-self._count // most), min(FEWEST_GROUPS, self._count))

    @property
    def pieces(self) -> int:
        """The groups of tiles, for each block of images."""
        return self.groups * self.blocks

    @property
    def parts(self) -> int:
        """The partial sums of the weight gradient."""
        most = max(FEWEST_PARTS, PARTS_BYTES // (_BYTES * self.transformed))
        return min(self.pieces, PARTS, most)

    @property
    def operands(self) -> tuple[int, ...]:
        """The sizes that kernels need."""
        sizes = (self.h, self.w, self.c, self.oh, self.ow, self.oc, self.n, self.top, self.left)
        return (*sizes, self.groups, self.blocks)

    @property
    def scratch(self) -> int:
        """The values of a group and block, transformed, of a tile, and of the bias."""
        transformed = VALUES * ((self.c + self.oc) * self._columns + 2 * APART)
        tile = VALUES * max(self.c, self.oc) * self.images
        return 3 * WIDE + transformed + tile + NARROW * self.oc

    @property
    def product(self) -> int:
        """The multiply-adds of a product."""
        return self.c * self.oc * self._columns

    @property
    def work(self) -> int:
        """The multiply-adds of all products."""
        return VALUES * self.n * self.c * self.oc * self._count

    def convolve(self, rows: RowWriter, x: int, u: int, bias: int | None, y: int) -> None:
        """Add a row for the convolution of x with transformed kernels, plus bias."""
        biased = (x, 0) if bias is None else (bias, 1)
        rows.row(
            kernels.winograd, _FLOAT32, x, u, *biased, y, *self.operands, pieces=self.pieces,
            work=self.work, scratch=self.scratch, product=self.product,
        )  # fmt: skip

    @property
    def _count(self) -> int:
        """The tiles of an image."""
        return -(-self.oh // OUT) * -(-self.ow // OUT)

    @property
    def _columns(self) -> int:
        """The maximum columns of a product."""
        return self.images * -(-self._count // self.groups)

    def _bytes(self, images: int) -> int:
        """Return the bytes of a tile of some images, transformed."""
        return _BYTES * VALUES * (self.c + self.oc) * images
