"""Convolution of few images with im2col: each window becomes a row or a column of a matrix.

In the channels-last layout, with K = KH·KW·C/G and P the pixels of a band of output rows,

    columns : (G, P, K)      y (G, P, OC/G)  =  columns · wᵀ
    dw      : (OC/G, K)      =  Σ over bands of  dyᵀ · columns

With few images, BLAS is fastest on one product with many pixels. The values of a window are in one
of the two orders of `columns`. In that of the images, the kernels are copied. In that of the
kernels, these stay in place: this is faster if there are few channels (a first layer) or more
kernels than pixels (a last layer). Then pieces of work are some output channels, not some pixels,
and the input gradient is W · dy added window by window, with the kernels in place, too.

A small image takes a dozen NumPy calls of a microsecond or two each, so fewer calls matter more
than fewer bytes; docs/engine.md has a measurement.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tinygrad_cnn.engine import threads
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.bands import (
    CACHE,
    NARROWEST,
    SHORTEST,
    Band,
    bands,
    part_count,
    small_products,
)
from tinygrad_cnn.engine.convolution.columns import all_columns, by_channel, gatherer, layout
from tinygrad_cnn.engine.memory import empty, view
from tinygrad_cnn.engine.windows import Windows

__all__ = ["convolve", "input_gradient", "is_deep", "layout", "weight_gradient"]

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
    columns = all_columns(x, at)  # (K, P)
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
    gathered = gatherer(x, at, groups, bias is not None)
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
        columns = all_columns(x, at)
        u, dw = gradient.reshape(n * oh * ow, oc).T, empty((oc, k), x.dtype)
        blocks = _blocks(k, 8 if dy.size * k >= 2 * MANY else 1)

        def block(i: int) -> None:
            np.matmul(u, columns[blocks[i]].T, out=dw[:, blocks[i]])

        threads.run(block, len(blocks), dy.size * k)
        return dw.reshape(oc, c, *at.kernel)
    gathered = gatherer(x, at, groups)
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
    if not by_channel(c, at):
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


def _kernels(w: Array, bias: Array | None, groups: int, at: Windows) -> Array:
    """Return a copy of the kernels, (G, K, OC/G), with the bias for columns with ones."""
    oc, c, kh, kw = w.shape
    kernels, k = w.reshape(groups, oc // groups, c, kh, kw), c * kh * kw
    if not by_channel(c, at):
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
