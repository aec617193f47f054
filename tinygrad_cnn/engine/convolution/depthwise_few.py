"""Depthwise convolution of few images, as a sum over kernel cells of rows of pixels.

With few images no product of a channel is large enough for BLAS. In the channels-last layout a row
of pixels is one run of values, and so is the same row seen from a kernel cell (k, l):

    y[oh, OW·C]  =  Σ over k and l of  x[oh·stride + k, OW·C from column l] ⊙ w[k, l, OW·C]

with the kernels repeated for each pixel. With the images last, a run is OW·C·N values. `np.einsum`
multiplies and adds such runs in one loop, without an array of products. Runs of a few hundred
values keep the sum and the kernels in the nearest cache. Rows are copied with their border; with a
stride, once per kernel column, so that they are adjacent. The weight gradient is a sum of the same
runs, added over OW at the end:

    dw[k, l]     =  Σ over oh of  x[oh·stride + k, OW·C from column l] ⊙ dy[oh, OW·C]
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinygrad_cnn.engine import reduction, threads
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.bands import CACHE, Band, bands, part_count
from tinygrad_cnn.engine.layout import Layout
from tinygrad_cnn.engine.memory import empty, view
from tinygrad_cnn.engine.windows import WindowAxis, Windows, strip

layout = Layout.CHANNELS_LAST
RUN = 512  # minimum values of a run

CopyIndex: TypeAlias = tuple[slice, ...]


def convolve(x: Array, w: Array, bias: Array | None, at: Windows, groups: int, out: Array) -> None:
    """Write the convolution of images `x` with `w` (m·C, 1, KH, KW), plus `bias`, to `out`."""
    add_rows(x, w, bias, at, layout, out)


def weight_gradient(dy: Array, x: Array, at: Windows, groups: int) -> Array:
    """Return the weight gradient (m·C, 1, KH, KW), given `dy` (N, m·C, OH, OW)."""
    return gradient_of_rows(dy, x, at, layout)


def add_rows(
    x: Array, w: Array, bias: Array | None, at: Windows, order: Layout, out: Array
) -> None:
    """Write the convolution of images `x` in layout `order` to `out`."""
    memory, target = _pictures(order.arranged(x), order), _pictures(out, order)
    n, _, ow, oc, together = target.shape
    values, pixels = oc * together, _pixels(ow, oc * together)
    kernels = empty((*at.kernel, pixels, oc, together), x.dtype)
    kernels[...] = w[:, 0].transpose(1, 2, 0)[:, :, np.newaxis, :, np.newaxis]
    kernels = kernels.reshape(*at.kernel, pixels * values)
    pieces = _bands(n, at, values * x.itemsize)
    added = None if bias is None else np.tile(np.repeat(bias, together), ow)
    in_place = target.flags.c_contiguous

    def piece(i: int) -> None:
        band = pieces[i]
        y = target[band.first : band.last, band.top : band.bottom]
        rows = y if in_place else empty(y.shape, x.dtype)
        windows = _windows(memory, at, band, oc, pixels)
        sums = view(rows, (*rows.shape[:2], ow // pixels, pixels * values))
        np.einsum("nhbkli,kli->nhbi", windows, kernels, out=sums)
        if added is not None:
            biased = view(rows, (*rows.shape[:2], ow * values))
            biased += added
        if not in_place:
            y[...] = rows

    threads.run(piece, len(pieces), 3 * out.nbytes * w[0].size)  # einsum moves bytes


def gradient_of_rows(dy: Array, x: Array, at: Windows, order: Layout) -> Array:
    """Return the weight gradient (m·C, 1, KH, KW) of images `x` in layout `order`."""
    memory, gradient = (_pictures(order.arranged(images), order) for images in (x, dy))
    n, oh, ow, oc, together = gradient.shape
    pixels = _pixels(ow, oc * together)
    gradient = gradient.reshape(n, oh, ow // pixels, -1)
    pieces = _bands(n, at, oc * together * x.itemsize)
    shape = (*at.kernel, pixels * oc * together)
    parts = np.zeros((part_count(len(pieces), math.prod(shape) * x.itemsize), *shape), x.dtype)

    def piece(i: int) -> None:
        for band in pieces[i :: len(parts)]:
            windows = _windows(memory, at, band, oc, pixels)
            u = gradient[band.first : band.last, band.top : band.bottom]
            parts[i] += np.einsum("nhbkli,nhbi->kli", windows, u)

    threads.run(piece, len(parts), 3 * dy.nbytes * at.rows.kernel * at.columns.kernel)
    parts = parts.reshape(-1, *at.kernel, pixels, oc, together)
    kernels = reduction.total(parts, (0, 3, 5))  # (KH, KW, m·C)
    return np.ascontiguousarray(kernels.transpose(2, 0, 1)).reshape(oc, 1, *at.kernel)


def _pictures(images: Array, order: Layout) -> Array:
    """Return the memory of images as (N, H, W, C, 1), or of images last as (1, H, W, C, N)."""
    memory = order.memory(images)
    return memory[np.newaxis] if order is Layout.IMAGES_LAST else memory[..., np.newaxis]


def _pixels(windows: int, values: int) -> int:
    """Return the pixels of a run: a part of the row, if possible of `RUN` values."""
    enough = min(-(-RUN // values), windows)
    return next(k for k in range(enough, windows + 1) if windows % k == 0)


def _windows(memory: Array, at: Windows, band: Band, out_channels: int, pixels: int) -> Array:
    """Return a view (N, oh, runs, KH, KW, values) of a copy of the rows that a band reads."""
    c, together = memory.shape[3:]
    rows, columns = at.rows, at.columns
    count = (band.rows - 1) * rows.stride + rows.kernel
    shape = (band.images, count, _width(columns), c, out_channels // c, together)
    copied = empty(shape, memory.dtype)
    images = memory[band.first : band.last, ..., np.newaxis, :]
    border, inside = _places(at, band.top * rows.stride - rows.before, count)
    for place in border:
        copied[place] = 0
    for place, source in inside:
        copied[place] = images[source]
    image, row, column, *_, value = copied.strides
    next_cell = column if columns.stride == 1 else column * columns.windows
    return as_strided(
        copied,
        (
            band.images,
            band.rows,
            columns.windows // pixels,
            *at.kernel,
            pixels * out_channels * together,
        ),
        (image, row * rows.stride, column * pixels, row, next_cell, value),
        writeable=False,
    )


def _width(axis: WindowAxis) -> int:
    """Return the number of copied columns."""
    return axis.windows + axis.kernel - 1 if axis.stride == 1 else axis.windows * axis.kernel


@lru_cache(maxsize=1024)
def _places(
    at: Windows, first: int, count: int
) -> tuple[tuple[CopyIndex, ...], tuple[tuple[CopyIndex, CopyIndex], ...]]:
    """Return where zeros are in `count` copied rows, and where cells of the image from row `first`.

    Of those cells, the index in the copy and in the image.
    """
    axis, every = at.columns, slice(None)
    border: list[CopyIndex] = []
    inside: list[tuple[CopyIndex, CopyIndex]] = []
    columns: list[tuple[slice, slice]] = []
    for j in range(1 if axis.stride == 1 else axis.kernel):
        length, left = (_width(axis), 0) if axis.stride == 1 else (axis.windows, j * axis.windows)
        for cells, source in strip(length, axis.stride, j - axis.before, axis.size):
            cells = slice(left + cells.start, left + cells.stop)
            if source is None:
                border.append((every, every, cells))
            else:
                columns.append((cells, source))
    for rows, of_rows in strip(count, 1, first, at.rows.size):
        if of_rows is None:
            border.append((every, rows))
        else:
            inside += [((every, rows, c), (every, of_rows, source)) for c, source in columns]
    return tuple(border), tuple(inside)


@lru_cache(maxsize=1024)
def _bands(images: int, at: Windows, pixel_bytes: int) -> tuple[Band, ...]:
    """Return bands of rows of one image, or of whole images, that fit the cache."""
    row = (_width(at.columns) * at.rows.stride + at.columns.windows) * pixel_bytes
    image = row * at.rows.windows
    if image <= CACHE // 4:
        whole = bands(images, 1, image)
        return tuple(Band(0, at.rows.windows, some.top, some.bottom) for some in whole)
    rows = bands(at.rows.windows, 1, row)
    return tuple(Band(b.top, b.bottom, n, n + 1) for n in range(images) for b in rows)
