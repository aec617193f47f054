"""Gathered kernel rows of an image, in which every window is a contiguous matrix.

For a band of output rows, with G groups and images-last layout,

    R : (G, oh, column, KH, C/G, N)   R[g, oh, m, k] = x[oh·stride + k·dilation − padding, column m]

takes one slice copy per kernel row k: a KH-fold copy of the image, where im2col makes a KH·KW-fold
one. The window at (oh, ow) is R[g, oh, m : m + KW] with m = ow·stride, a contiguous matrix of shape
(K, N), K = KW·KH·C/G. Neighbors overlap; no window is copied.

If the columns of a window are not adjacent (dilation), they are gathered per window: column
ow·KW + j holds the image column under cell j of window ow, and m = ow·KW.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from numpy.lib.stride_tricks import as_strided

from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.bands import Band
from tinygrad_cnn.engine.memory import empty
from tinygrad_cnn.engine.windows import Windows, inside, strip


@dataclass(frozen=True, slots=True)
class KernelRows:
    """The gather of kernel rows from an image of C channels in G groups."""

    at: Windows
    channels: int
    groups: int

    @property
    def width(self) -> int:
        """The number of gathered columns."""
        return (self.at.columns.windows - 1) * self.at.columns.step + self.at.columns.kernel

    @property
    def size(self) -> int:
        """The number of values gathered for a row of windows of one image."""
        return self.width * self.at.rows.kernel * self.channels

    def windows(self, x: Array, band: Band, split: int = 1) -> Array:
        """Return the windows of memory `x` (H, W, C, N) as matrices.

        The shape is (G, oh, OW, N / q, K, q) with q = N / `split`: splitting the images gives
        narrower products.
        """
        gathered = self._gather(x[..., band.first : band.last], band)
        group, row, column, *_ = gathered.strides
        # NumPy's stride of an axis of length 1 is arbitrary; these strides are always right.
        image = x.itemsize
        cell = image * (x.shape[-1] if self._is_there(x.shape[1]) else band.images)
        kernel = self.at.columns.kernel * self.at.rows.kernel * (self.channels // self.groups)
        q = band.images // split
        return as_strided(
            gathered,
            (self.groups, band.rows, self.at.columns.windows, split, kernel, q),
            (group, row, column * self.at.columns.step, q * image, cell, image),
            writeable=False,
        )

    def _gather(self, x: Array, band: Band) -> Array:
        """Return R; a view of `x` if possible (a kernel of one row, no border)."""
        height, width, _, n = x.shape
        c, kernel = self.channels // self.groups, self.at.rows.kernel
        if self._is_there(width):
            start = band.top * self.at.rows.stride
            stop = (band.bottom - 1) * self.at.rows.stride + 1
            rows = x[start : stop : self.at.rows.stride]
            return rows.reshape(band.rows, width, 1, self.groups, c, n).transpose(3, 0, 1, 2, 4, 5)
        gathered = empty((self.groups, band.rows, self.width, kernel, c, n), x.dtype)
        columns = list(self._columns(width))
        for target, source in columns:
            if source is None:
                gathered[:, :, target] = 0
        for k in range(kernel):
            offset = k * self.at.rows.dilation - self.at.rows.before
            top, bottom = inside(offset, self.at.rows.stride, height, band.top, band.bottom)
            one = gathered[:, :, :, k]  # (G, oh, column, C/G, N)
            if top > band.top:
                one[:, : top - band.top] = 0
            if bottom < band.bottom:
                one[:, bottom - band.top :] = 0
            if top == bottom:
                continue
            first = top * self.at.rows.stride + offset
            last = (bottom - 1) * self.at.rows.stride + offset
            rows = x[first : last + 1 : self.at.rows.stride]
            rows = rows.reshape(bottom - top, width, self.groups, c, n).transpose(2, 0, 1, 3, 4)
            target_rows = one[:, top - band.top : bottom - band.top]
            for target, source in columns:
                if source is not None:
                    target_rows[:, :, target] = rows[:, :, source]
        return gathered

    def _is_there(self, width: int) -> bool:
        """Return whether the windows are contiguous in the image itself."""
        return (
            self.at.rows.kernel == 1
            and (self.groups == 1 or self.at.columns.kernel == 1)
            and self.at.columns.shared
            and self.at.rows.before == self.at.columns.before == 0
            and (self.at.rows.windows - 1) * self.at.rows.stride < self.at.rows.size
            and self.width <= width
        )

    def _columns(self, width: int) -> Iterator[tuple[slice, slice | None]]:
        """Yield columns of R and the image's columns to copy there; None for the border."""
        if self.at.columns.shared:
            start = self.at.columns.before
            yield from strip(self.width, 1, -start, width)
            return
        axis = self.at.columns
        for j in range(axis.kernel):
            offset = j * axis.dilation - axis.before
            for target, source in strip(axis.windows, axis.stride, offset, width):
                step = axis.kernel
                yield slice(target.start * step + j, (target.stop - 1) * step + j + 1, step), source
