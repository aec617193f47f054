"""Convolution of few images with im2col: each window becomes a row or a column of a matrix.

In the channels-last layout, with K = KH·KW·C/G and P the pixels of a band of output rows,

    columns : (G, P, K)      y (G, P, OC/G)  =  columns · wᵀ
    dw      : (OC/G, K)      =  Σ over bands of  dyᵀ · columns

With few images, BLAS is fastest on one product with many pixels. The values of a window are in one
of two orders:

(KH, KW, C)   The order of the images in memory: a window is KH pieces of KW·C adjacent values. The
              kernels are copied to that order.
(C, KH, KW)   The order of the kernels in memory, which stay in place. The images are copied to
              images-first memory, where OW values are adjacent. This is faster if there are few
              channels (a first layer) or more kernels than pixels (a last layer); then pieces of
              work are some output channels, not some pixels, and the input gradient is W · dy added
              window by window, with the kernels in place, too.

A small image takes a dozen NumPy calls of a microsecond or two each, so fewer calls matter more
than fewer bytes; docs/engine.md has a measurement.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from tinygrad_cnn.engine import threads
from tinygrad_cnn.engine.arrays import Array, Shape
from tinygrad_cnn.engine.bands import (
    CACHE,
    NARROWEST,
    SHORTEST,
    Band,
    bands,
    part_count,
    small_products,
)
from tinygrad_cnn.engine.layout import Layout
from tinygrad_cnn.engine.memory import empty, view
from tinygrad_cnn.engine.windows import Windows, inside

Gatherer: TypeAlias = Callable[[Band], Array]

layout = Layout.CHANNELS_LAST
FEW_CHANNELS = 8  # with fewer, OW values of a row are a longer stretch than KW·C of a window
SMALL_IMAGE = 1 << 15  # values; one assignment is faster than four up to here
MANY = 1 << 25  # minimum multiply-adds of a piece, if pieces are channels: narrow products are slow


def convolve(x: Array, w: Array, bias: Array | None, at: Windows, groups: int, out: Array) -> None:
    """Write the convolution of images `x` with `w` (OC, C/G, KH, KW), plus `bias`, to `out`."""
    target = layout.memory(out)
    n, oh, ow, oc = target.shape
    in_place = target.flags.c_contiguous
    y = view(target, (n, oh, ow * oc)) if in_place else empty((n, oh, ow * oc), x.dtype)
    if is_deep(n, oc, at, groups):
        _convolve_deep(x, w, bias, at, view(y, (n * oh * ow, oc)))
    else:
        _convolve_wide(x, w, bias, at, groups, y)
    if not in_place:
        target[...] = y.reshape(target.shape)


def _convolve_deep(x: Array, w: Array, bias: Array | None, at: Windows, y: Array) -> None:
    """Write the convolution to `y` (N·OH·OW, OC), a piece per block of output channels."""
    columns = _all_columns(x, at)  # (K, P)
    kernels = w.reshape(len(w), len(columns))
    blocks = _blocks(len(w), 2 if y.size * len(columns) >= 2 * MANY else 1)

    def block(i: int) -> None:
        product = (kernels[blocks[i]] @ columns).T
        if bias is None:
            y[:, blocks[i]] = product
        else:
            np.add(product, bias[blocks[i]], out=y[:, blocks[i]])

    threads.run(block, len(blocks), y.size * len(columns))


def _convolve_wide(
    x: Array, w: Array, bias: Array | None, at: Windows, groups: int, y: Array
) -> None:
    """Write the convolution to `y` (N, OH, OW·OC), a piece per band of pixels."""
    oc, ow = len(w), at.columns.windows
    gathered = _gatherer(x, at, groups, bias is not None)
    kernels = _kernels(w, bias, groups, at)[:, np.newaxis]  # (G, 1, K, OC/G)
    k = kernels.shape[2]
    pieces = _bands(len(x), at, groups * (k + oc // groups) * x.itemsize)
    bias_row = None  # it is among the kernels, or
    if bias is not None and k == w[0].size:
        bias_row = bias[np.newaxis].repeat(ow, 0).reshape(ow * oc)

    def piece(i: int) -> None:
        band = pieces[i]
        part = y[band.first : band.last, band.top : band.bottom]
        pixels = part.size // oc
        count = small_products(pixels, k * (oc // groups), NARROWEST)
        columns = gathered(band).reshape(groups, count, pixels // count, k)
        products = view(part, (count, pixels // count, groups, oc // groups))
        np.matmul(columns, kernels, out=products.transpose(2, 0, 1, 3))
        if bias_row is not None:
            part += bias_row

    threads.run(piece, len(pieces), y.size * k)


def weight_gradient(dy: Array, x: Array, at: Windows, groups: int) -> Array:
    """Return the weight gradient (OC, C/G, KH, KW), given `dy` (N, OC, OH, OW)."""
    gradient = layout.memory(layout.arranged(dy))
    (n, oh, ow, oc), c = gradient.shape, x.shape[1] // groups
    k = c * at.kernel[0] * at.kernel[1]
    if is_deep(n, oc, at, groups):
        columns = _all_columns(x, at)
        u, dw = gradient.reshape(n * oh * ow, oc).T, empty((oc, k), x.dtype)
        blocks = _blocks(k, 8 if dy.size * k >= 2 * MANY else 1)

        def block(i: int) -> None:
            np.matmul(u, columns[blocks[i]].T, out=dw[:, blocks[i]])

        threads.run(block, len(blocks), dy.size * k)
        return dw.reshape(oc, c, *at.kernel)
    gathered = _gatherer(x, at, groups)
    pieces = _bands(n, at, groups * (k + oc // groups) * x.itemsize)
    count_of_parts = part_count(len(pieces), oc * k * x.itemsize)
    parts = empty((count_of_parts, groups, k, oc // groups), x.dtype)

    def piece(i: int) -> None:
        for j in range(i, len(pieces), count_of_parts):
            band = pieces[j]
            u = gradient[band.first : band.last, band.top : band.bottom]
            pixels = u.size // oc
            count = small_products(pixels, k * (oc // groups), SHORTEST)
            u = u.reshape(count, pixels // count, groups, oc // groups).transpose(2, 0, 1, 3)
            columns = gathered(band)
            columns = columns.reshape(groups, count, pixels // count, k).swapaxes(2, 3)
            if j == i and count == 1:
                np.matmul(columns, u, out=parts[i, :, np.newaxis])
            else:
                products = np.matmul(columns, u)
                total = products[:, 0] if count == 1 else products.sum(axis=1)
                parts[i] = total if j == i else parts[i] + total

    threads.run(piece, count_of_parts, dy.size * k)
    dw = (parts[0] if count_of_parts == 1 else parts.sum(axis=0)).swapaxes(1, 2)  # (G, OC/G, K)
    if not _by_channel(c, at):
        dw = dw.reshape(oc, *at.kernel, c).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(dw).reshape(oc, c, *at.kernel)


def input_gradient(dy: Array, w: Array, at: Windows, out: Array) -> None:
    """Write the input gradient to `out` (N, C, H, W), given `dy` (N, OC, OH, OW), if it is deep.

    The gradient of all columns, w (K, OC) · dy (OC, P), is added to the cells under each window.
    """
    gradient, target = layout.memory(layout.arranged(dy)), layout.memory(out)
    (n, oh, ow, oc), c = gradient.shape, w.shape[1]
    u = np.ascontiguousarray(gradient.reshape(n * oh * ow, oc).T)
    cells = at.kernel[0] * at.kernel[1]
    kernels = w.reshape(oc, c * cells)
    blocks = _blocks(c, 8 if dy.size * c * cells >= 2 * MANY else 1)
    (rows, of_rows), (columns, of_columns) = at.rows.seen, at.columns.seen
    target[...] = 0

    def block(i: int) -> None:
        some = blocks[i]
        products = kernels[:, some.start * cells : some.stop * cells].T @ u
        parts = products.reshape(some.stop - some.start, cells, n, oh, ow)
        padded = np.zeros((len(parts), n, at.rows.padded, at.columns.padded), u.dtype)
        for j, under in enumerate(at.cells):
            padded[under] += parts[:, j]
        target[:, of_rows, of_columns, some] = padded[..., rows, columns].transpose(1, 2, 3, 0)

    threads.run(block, len(blocks), dy.size * w[0].size)


def is_deep(images: int, channels: int, at: Windows, groups: int) -> bool:
    """Return whether there are more channels of the output than pixels, so more kernels."""
    return groups == 1 and channels > images * at.rows.windows * at.columns.windows


def _by_channel(channels: int, at: Windows) -> bool:
    """Return whether the values of a window are in the order (C, KH, KW), if not deep."""
    return channels < FEW_CHANNELS and at.kernel != (1, 1)


def _gatherer(x: Array, at: Windows, groups: int, ones: bool = False) -> Gatherer:
    """Return the function of a band that returns its columns, (G, P, K), perhaps with ones."""
    if _by_channel(x.shape[1] // groups, at):
        windows, width = _windows_by_channel(x, at, groups), at.columns.kernel

        def by_channel(band: Band) -> Array:
            return _gathered_by_channel(windows, band, width, ones).swapaxes(1, 2)

        return by_channel
    images = _windows(x, at, groups)
    return lambda band: _gathered(images, band)


def _kernels(w: Array, bias: Array | None, groups: int, at: Windows) -> Array:
    """Return a copy of the kernels, (G, K, OC/G), with the bias for columns with ones."""
    oc, c, kh, kw = w.shape
    kernels, k = w.reshape(groups, oc // groups, c, kh, kw), c * kh * kw
    if not _by_channel(c, at):
        return np.ascontiguousarray(kernels.transpose(0, 3, 4, 2, 1)).reshape(groups, k, -1)
    matrices = empty((groups, k + (bias is not None), oc // groups), w.dtype)
    matrices[:, :k] = kernels.reshape(groups, oc // groups, k).swapaxes(1, 2)
    if bias is not None:
        matrices[:, k] = bias.reshape(groups, oc // groups)
    return matrices


@lru_cache(maxsize=1024)
def _blocks(length: int, most: int) -> tuple[slice, ...]:
    """Return up to `most` equal blocks of channels."""
    step = -(-length // (NARROWEST * most)) * NARROWEST
    return tuple(slice(i, min(i + step, length)) for i in range(0, length, step))


def _all_columns(x: Array, at: Windows) -> Array:
    """Return the columns of all pixels, (K, P), in the order of the kernels."""
    band = Band(0, at.rows.windows, 0, len(x))
    if at.kernel == (1, 1):  # the orders do not differ
        columns = _gathered(_windows(x, at, 1), band).swapaxes(1, 2)
    else:
        columns = _gathered_by_channel(_windows_by_channel(x, at, 1), band, at.columns.kernel)
    k = columns.shape[1]
    return columns.reshape(k, -1)


def _windows(x: Array, at: Windows, groups: int) -> Array:
    """Return a view of the padded images: (G, N, OH, OW, KH, KW, C/G)."""
    padded = _padded(x, at)
    (n, c, _, _), (image, channel, row, column) = padded.shape, padded.strides
    rows, columns, c = at.rows, at.columns, c // groups
    shape = (groups, n, *at.count, *at.kernel, c)
    strides = (channel * c, image, row * rows.stride, column * columns.stride,
               row * rows.dilation, column * columns.dilation, channel)  # fmt: skip
    memory = layout.memory(padded)
    if groups > 1:
        return _windows_of_groups(memory, at, shape)
    return np.ndarray(shape, memory.dtype, memory, 0, strides)  # as_strided checks no bounds


def _windows_of_groups(memory: Array, at: Windows, shape: Shape) -> Array:
    """Return the windows of padded memory (N, H, W, C), from a copy with the groups first.

    There the pixels of a group are adjacent, and a kernel row of a window is one piece of memory.
    """
    pixels = memory.view(f"V{shape[-1] * memory.itemsize}")  # (N, H, W, G), copied as single values
    memory = np.ascontiguousarray(pixels.transpose(3, 0, 1, 2)).view(memory.dtype)
    memory = memory.reshape(*memory.shape[:3], -1, shape[-1])  # (G, N, H, W, C/G)
    group, image, row, column, channel = memory.strides
    between = (image, row * at.rows.stride, column * at.columns.stride)
    in_window = (row * at.rows.dilation, column * at.columns.dilation)
    return np.ndarray(shape, memory.dtype, memory, 0, (group, *between, *in_window, channel))


def _padded(x: Array, at: Windows) -> Array:
    """Return images with their border, with the channels last."""
    if at.needs_no_border:
        return layout.arranged(x)
    padded = layout.empty((*x.shape[:2], at.rows.padded, at.columns.padded), x.dtype)
    (rows, of_rows), (columns, of_columns) = at.rows.seen, at.columns.seen
    if padded.size < SMALL_IMAGE:
        padded[...] = 0
    else:
        padded[:, :, : rows.start] = 0
        padded[:, :, rows.stop :] = 0
        padded[:, :, rows, : columns.start] = 0
        padded[:, :, rows, columns.stop :] = 0
    padded[:, :, rows, columns] = x[:, :, of_rows, of_columns]
    return padded


def _gathered(windows: Array, band: Band) -> Array:
    """Return the columns of a band, (G, P, K): a view if the images are already like this."""
    part = windows[:, band.first : band.last, band.top : band.bottom]
    k = part[0, 0, 0, 0].size
    if len(part) > 1 and part.shape[4:6] != (1, 1):
        rows = part.reshape(*part.shape[:5], -1)  # (G, N, OH, OW, KH, KW·C/G)
        rows = rows.view(f"V{rows.shape[-1] * rows.itemsize}")
        rows = np.ascontiguousarray(rows.reshape(len(part), part[0].size // k, -1))
        return rows.view(part.dtype)
    return part.reshape(len(part), part[0].size // k, k)


def _windows_by_channel(x: Array, at: Windows, groups: int) -> Array:
    """Return a view of the padded images: (G, C/G, KH, ⌈KW/s⌉, s, N, OH, OW).

    With a stride s, the columns of each of its phases are adjacent in memory: then OW values are.
    """
    (n, c, _, width), axis = x.shape, at.columns
    s = axis.stride if axis.dilation == 1 else 1
    steps, between = -(-axis.kernel // s), axis.stride // s
    length = max(between * (axis.windows - 1) + axis.dilation * (steps - 1) + 1, 1)
    padded = np.zeros((n, c, at.rows.padded, s, length), x.dtype)
    rows, of_rows = at.rows.seen
    for phase in range(s):
        offset = phase - axis.before
        low, high = inside(offset, s, width, 0, length)
        start, stop = low * s + offset, (high - 1) * s + offset + 1
        if high > low:
            padded[:, :, rows, phase, low:high] = x[:, :, of_rows, start:stop:s]
    image, channel, row, of_phase, column = padded.strides
    return np.ndarray(
        (groups, c // groups, at.rows.kernel, steps, s, n, *at.count),
        padded.dtype,
        padded,
        0,
        (channel * (c // groups), channel, row * at.rows.dilation, column * axis.dilation,
         of_phase, image, row * at.rows.stride, column * between),
    )  # fmt: skip


def _gathered_by_channel(windows: Array, band: Band, width: int, ones: int = 0) -> Array:
    """Return the columns of a band, (G, K, P), for kernels of `width` columns.

    They may be followed by `ones` rows of ones.
    """
    part = windows[..., band.first : band.last, band.top : band.bottom, :]
    groups, c, height, _, s, *pixels = part.shape
    k = c * height * width
    columns = empty((groups, k + ones, math.prod(pixels)), part.dtype)
    cells = view(columns[:, :k], (groups, c, height, width, *pixels))
    for phase in range(min(s, width)):
        of_phase = cells[:, :, :, phase::s]
        of_phase[...] = part[:, :, :, : of_phase.shape[3], phase]
    columns[:, k:] = 1
    return columns


@lru_cache(maxsize=1024)
def _bands(images: int, at: Windows, pixel_bytes: int) -> tuple[Band, ...]:
    """Return bands whose columns and output, `pixel_bytes` per pixel, fit the cache.

    A band is several whole images if they are small, else rows of one image.
    """
    height, width = at.count
    image = height * width * pixel_bytes
    if image <= CACHE // 4:
        whole = bands(images, 1, image)
        return tuple(Band(0, height, some.top, some.bottom) for some in whole)
    rows = bands(height, 1, width * pixel_bytes)
    return tuple(Band(b.top, b.bottom, n, n + 1) for n in range(images) for b in rows)
