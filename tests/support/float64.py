"""Convolution and pooling with their adjoints in float64, fast enough for the sizes people use.

Independent of the engine: a product of matrices for each kernel cell, on a padded copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from support import naive

Array = np.ndarray[Any, Any]


class Convolution:
    """The sum over kernel cells, of images of shape `x` with kernels of shape `w`.

    Here images are (G, C/G, N, H, W), so that a kernel cell is a product (OC/G, C/G) · (C/G, ·).
    """

    def __init__(self, x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int):
        self.x, self.w, self.stride, self.dilation, self.groups = x, w, stride, dilation, groups
        if padding == "same":
            borders = naive.same(x[2:], w[2:], stride, dilation)
        else:
            borders = naive.sides(padding)
        self.before, border = [before for before, _ in borders], [sum(both) for both in borders]
        self.count = tuple(
            (n + b - d * (k - 1) - 1) // s + 1
            for n, b, d, k, s in zip(x[2:], border, dilation, w[2:], stride, strict=True)
        )
        self.padded = [n + b for n, b in zip(x[2:], border, strict=True)]

    def forward(self, x: Array, w: Array) -> Array:
        padded, kernels = self._pad(x), self._kernels(w)
        y = np.zeros((self.groups, kernels.shape[1], self.x[0] * self.count[0] * self.count[1]))
        for i, j, cells in self._cells():
            y += kernels[..., i, j] @ padded[cells].reshape(*padded.shape[:2], -1)
        return self._images(y.reshape(*y.shape[:2], self.x[0], *self.count))

    def weight_gradient(self, u: Array, x: Array) -> Array:
        padded, flat = self._pad(x), self._grouped(u).reshape(self.groups, -1, u[:, 0].size)
        dw = np.zeros((self.groups, self.w[0] // self.groups, *self.w[1:]))
        for i, j, cells in self._cells():
            values = padded[cells].reshape(*padded.shape[:2], -1)
            dw[..., i, j] = flat @ values.swapaxes(1, 2)
        return dw.reshape(self.w)

    def input_gradient(self, u: Array, w: Array) -> Array:
        kernels, flat = self._kernels(w), self._grouped(u).reshape(self.groups, -1, u[:, 0].size)
        n, c, height, width = self.x
        padded = np.zeros((self.groups, c // self.groups, n, *self.padded))
        for i, j, cells in self._cells():
            values = kernels[..., i, j].swapaxes(1, 2) @ flat
            padded[cells] += values.reshape(padded[cells].shape)
        top, left = self.before
        return self._images(padded[..., top : top + height, left : left + width])

    def _cells(self) -> Iterator[tuple[int, int, Any]]:
        (oh, ow), (sh, sw), (dh, dw) = self.count, self.stride, self.dilation
        for i, j in np.ndindex(*self.w[2:]):
            rows = slice(i * dh, i * dh + sh * (oh - 1) + 1, sh)
            yield i, j, (..., rows, slice(j * dw, j * dw + sw * (ow - 1) + 1, sw))

    def _pad(self, x: Array) -> Array:
        (top, left), (height, width) = self.before, self.x[2:]
        images = self._grouped(x)
        padded = np.zeros((*images.shape[:3], *self.padded))
        padded[..., top : top + height, left : left + width] = images
        return padded

    def _grouped(self, images: Array) -> Array:
        """Turn (N, C, H, W) to (G, C/G, N, H, W)."""
        n, c, *size = images.shape
        wide = images.astype(np.float64).reshape(n, self.groups, c // self.groups, *size)
        return np.ascontiguousarray(wide.transpose(1, 2, 0, 3, 4))

    def _images(self, grouped: Array) -> Array:
        """Turn (G, C/G, N, H, W) to (N, C, H, W)."""
        groups, c, n, *size = grouped.shape
        return grouped.transpose(2, 0, 1, 3, 4).reshape(n, groups * c, *size)

    def _kernels(self, w: Array) -> Array:
        return w.astype(np.float64).reshape(self.groups, -1, *self.w[1:])


class Pooling:
    """Windows as their definition reads, of images of shape `x`: of each, all its cells."""

    def __init__(self, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any = (1, 1),
                 ceil_mode: bool = False):  # fmt: skip
        self.x, self.padding = x, padding
        cells = naive.windows(x[2:], kernel_size, stride, padding, dilation, ceil_mode)
        self.rows, self.columns = (np.array(axis) for axis in cells)  # (OH, KH), (OW, KW)
        lowest = min(self.rows.min(), self.columns.min(), 0)
        highest = max(self.rows.max() - x[2] + 1, self.columns.max() - x[3] + 1, 0)
        self.border = [(0, 0), (0, 0), (-lowest, highest), (-lowest, highest)]
        self.first, self.count = -lowest, (len(self.rows), len(self.columns))

    def winner(self, x: Array) -> Array:
        """Return which cell of each window is the first of its largest."""
        values = self._under(x, -np.inf)
        return values.reshape(*values.shape[:4], -1).argmax(-1)

    def maximum(self, x: Array) -> Array:
        return self._under(x, -np.inf).max((4, 5))

    def scatter(self, u: Array, winner: Array) -> Array:
        """Return `u` put at one cell of each window."""
        kernel = self.rows.shape[1], self.columns.shape[1]
        cells = np.arange(kernel[0] * kernel[1]).reshape(kernel)
        u, winner = u[..., np.newaxis, np.newaxis], winner[..., np.newaxis, np.newaxis]
        return self._put(u * (winner == cells))

    def average(self, x: Array, count_include_pad: bool) -> Array:
        return self._under(x, 0.0).sum((4, 5)) / self._counts(count_include_pad)

    def average_gradient(self, u: Array, count_include_pad: bool) -> Array:
        """Return `u` shared out over each window."""
        share = (u / self._counts(count_include_pad))[..., np.newaxis, np.newaxis]
        kernel = self.rows.shape[1], self.columns.shape[1]
        return self._put(np.broadcast_to(share, (*u.shape, *kernel)))

    def _counts(self, count_include_pad: bool) -> Array:
        """Return how many cells of each window lie on the image, or on it and its padding."""
        beyond = self.padding if count_include_pad else (0, 0)
        rows, columns = (
            np.sum((cells >= -p) & (cells < n + p), axis=1)
            for cells, n, p in zip((self.rows, self.columns), self.x[2:], beyond, strict=True)
        )
        return rows[:, np.newaxis] * columns

    def _under(self, x: Array, beyond: float) -> Array:
        """Return what lies under the windows: (N, C, OH, OW, KH, KW)."""
        padded = np.pad(x.astype(np.float64), self.border, constant_values=beyond)
        rows = self.rows[:, np.newaxis, :, np.newaxis] + self.first
        return padded[:, :, rows, self.columns[:, np.newaxis, :] + self.first]

    def _put(self, values: Array) -> Array:
        """Add values under the windows to zeros: the adjoint of `_under`."""
        height, width = self.x[2:]
        padded = np.pad(np.zeros(self.x), self.border)
        for i, j in np.ndindex(*values.shape[4:]):  # no two windows have cell (i, j) in one place
            at = (slice(None), slice(None), self.rows[:, i, np.newaxis] + self.first,
                  self.columns[:, j] + self.first)  # fmt: skip
            padded[at] += values[..., i, j]
        return padded[..., self.first : self.first + height, self.first : self.first + width]
