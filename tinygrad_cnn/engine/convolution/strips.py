"""Strips of an image's columns, under which every window of a channel has one stride.

A window of one channel is a matrix of KH·KW pixels by N images. In the images-last layout its rows
are C·N values apart along a kernel row, but W·C·N apart from row to row. Of several neighboring
windows, which read I columns, all KH·I pixels have one stride if I is the width of the image, or if
KH = 1. Otherwise the I columns are copied, so that `np.matmul` can take them as a matrix.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from numpy.lib.stride_tricks import as_strided

from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.bands import CACHE
from tinygrad_cnn.engine.memory import empty, view
from tinygrad_cnn.engine.windows import WindowAxis, Windows

IMAGES = 256  # per block
WIDEST = 8  # maximum outputs of a product; wider matrices have too many zeros
APART = 16  # values between copied rows, so that they do not compete for the same cache lines


class Strip(NamedTuple):
    """Output columns `first` to `last`, and the input columns `left` to `right` that they read."""

    first: int
    last: int
    left: int
    right: int

    @property
    def width(self) -> int:
        """The number of input columns."""
        return self.right - self.left

    def offset(self, axis: WindowAxis) -> int:
        """Return the number of columns on the border that its windows read before `left`."""
        return self.left - (self.first * axis.stride - axis.before)


class Rows(NamedTuple):
    """Output rows `top` to `bottom`, which read kernel rows `start` to `stop` on the image."""

    top: int
    bottom: int
    start: int
    stop: int


def cells_read(
    memory: Array, at: Windows, strip: Strip, rows: tuple[Rows, ...]
) -> tuple[Array, int]:
    """Return the cells (rows, I, C, N) that some rows of a strip read, and their first row.

    The columns have one stride, and follow each other from row to row if a kernel has several.
    """
    stride, before = at.rows.stride, at.rows.before
    top = rows[0].top * stride - before + rows[0].start
    bottom = (rows[-1].bottom - 1) * stride - before + rows[-1].stop
    top, bottom = max(top, 0), min(max(bottom, 0), at.rows.size)
    x = memory[top:bottom, strip.left : strip.right]
    if strip.width == memory.shape[1] or at.rows.kernel == 1:
        return x, top
    _, _, c, n = x.shape
    copied = empty((*x.shape[:2], c * n + APART), x.dtype)
    cells = view(copied[..., : c * n], x.shape)
    cells[...] = x
    return cells, top


def operand(x: Array, top: int, at: Windows, part: Rows) -> Array:
    """Return the windows of some output rows, (oh, C, 1, KH·I, N): a view of `cells_read`."""
    first = part.top * at.rows.stride - at.rows.before + part.start - top
    _, width, c, n = x.shape
    row, column, channel, image = x.strides
    pixel = column if width > 1 else row  # NumPy's stride of an axis of length 1 is arbitrary
    return as_strided(
        x[first:],
        (part.bottom - part.top, c, 1, (part.stop - part.start) * width, n),
        (row * at.rows.stride, channel, 0, pixel, image),
        writeable=False,
    )


def outputs_at_once(axis: WindowAxis) -> int:
    """Return T, the number of outputs of a row in a product."""
    most = WIDEST if axis.stride == 1 or axis.windows <= WIDEST else WIDEST // 2
    return -(-axis.windows // -(-axis.windows // most))


@lru_cache(maxsize=1024)
def pieces_of(
    at: Windows, width: int, channels: int, images: int, itemsize: int
) -> tuple[tuple[Strip, tuple[Rows, ...], tuple[int, int]], ...]:
    """Return the strips, rows and channels of pieces that fit the cache with what they read."""
    pieces = []
    oh = at.rows.windows
    strips = list(_strips(at.columns, width))
    cell = max(1, max(strip.width for strip in strips)) * images * itemsize
    height = min(oh, 8)
    row_bytes = cell * at.rows.stride
    limit = CACHE // 2
    most = max(1, limit // ((height + at.rows.kernel) * row_bytes))
    count = -(-channels // most)
    channels_each = -(-channels // count)
    rows_each = max(1, limit // (channels_each * row_bytes) - at.rows.kernel)
    rows_each = -(-oh // -(-oh // rows_each))
    for low in range(0, channels, channels_each):
        for top in range(0, oh, rows_each):
            rows = tuple(_rows(at.rows, top, min(top + rows_each, oh)))
            for strip in strips:
                pieces.append((strip, rows, (low, min(low + channels_each, channels))))
    return tuple(pieces)


def _strips(axis: WindowAxis, width: int) -> Iterator[Strip]:
    """Yield the strips of `width` output columns."""
    for first in range(0, axis.windows, width):
        last = min(first + width, axis.windows)
        left = max(first * axis.stride - axis.before, 0)
        right = min((last - 1) * axis.stride - axis.before + axis.kernel, axis.size)
        yield Strip(first, last, left, max(left, right))


def _rows(axis: WindowAxis, top: int, bottom: int) -> Iterator[Rows]:
    """Yield output rows `top` to `bottom`, in ranges that read the same kernel rows."""
    starts = [o * axis.stride - axis.before for o in range(top, bottom)]
    spans = [(max(0, -s), min(axis.kernel, axis.size - s)) for s in starts]
    first = 0
    for i, span in enumerate(spans):
        if i + 1 == len(spans) or spans[i + 1] != span:
            yield Rows(top + first, top + i + 1, *span)
            first = i + 1
