"""Convolution of single images by gathering each window into a column: im2col.

With the images first, K = (C/G)·KH·KW and P the pixels of a band of output rows,

    columns : (G, K, P)      columns[g, (c, i, j), (oh, ow)] = x[(g, c), cell under (i, j)]

is gathered by one slice copy for each kernel offset (i, j), and for every image

    y  (G, OC/G, P)  =  w (G, OC/G, K) · columns
    dw (G, OC/G, K)  =  Σ over images and bands of  dy (G, OC/G, P) · columnsᵀ

One product with many columns is what BLAS does best where there are no images to fill one with.
"""

from __future__ import annotations

import numpy as np

from tinygrad_cnn.engine import threads
from tinygrad_cnn.engine.bands import Band, bands, part_count
from tinygrad_cnn.engine.layout import Array, Layout
from tinygrad_cnn.engine.scratch import scratch
from tinygrad_cnn.engine.windows import Windows

layout = Layout.IMAGES_FIRST


def convolve(x: Array, w: Array, bias: Array | None, at: Windows, groups: int, out: Array) -> None:
    """Write the convolution of images `x` with `w` (OC, C/G, KH, KW), plus `bias`, to `out`."""
    padded, oc = _padded(x, at), w.shape[0]
    kernels = w.reshape(groups, oc // groups, w[0].size)
    pieces = _bands(x, at, groups * (w[0].size + oc // groups))
    bias_column = None if bias is None else bias.reshape(oc, 1, 1)

    def piece(i: int) -> None:
        band = pieces[i]
        y = out[band.first, :, band.top : band.bottom]  # (OC, oh, OW)
        product = kernels @ _gathered(padded, at, groups, band)
        product = product.reshape(y.shape)
        if bias_column is None:
            y[...] = product
        else:
            np.add(product, bias_column, out=y)

    threads.run(piece, len(pieces), out.size * w[0].size)


def weight_gradient(dy: Array, x: Array, at: Windows, groups: int) -> Array:
    """Return the gradient (OC, C/G, KH, KW) of the kernels, from `dy` (N, OC, OH, OW)."""
    padded, oc, c = _padded(x, at), dy.shape[1], x.shape[1] // groups
    gradient = layout.arranged(dy)
    k = c * at.kernel[0] * at.kernel[1]
    pieces = _bands(x, at, groups * (k + oc // groups))
    parts = np.zeros(
        (part_count(len(pieces), oc * k * x.itemsize), groups, oc // groups, k), x.dtype
    )

    def piece(i: int) -> None:
        for band in pieces[i :: len(parts)]:
            u = gradient[band.first, :, band.top : band.bottom]
            u = u.reshape(groups, oc // groups, band.rows * at.columns.windows)
            parts[i] += u @ _gathered(padded, at, groups, band).swapaxes(-1, -2)

    threads.run(piece, len(parts), dy.size * k)
    dw: Array = parts.sum(axis=0)
    return dw.reshape(oc, c, *at.kernel)


def _padded(x: Array, at: Windows) -> Array:
    """Return the images with their border, images first."""
    return at.pad(layout.arranged(x))


def _gathered(padded: Array, at: Windows, groups: int, band: Band) -> Array:
    """Return the columns of a band, (G, K, P), valid until the next call."""
    c, ow = padded.shape[1], at.columns.windows
    columns = scratch("columns", (c, *at.kernel, band.rows, ow), padded.dtype)
    for i, j, (_, rows, cells) in at.offsets():
        top = rows.start + band.top * at.rows.stride
        bottom = rows.start + (band.bottom - 1) * at.rows.stride + 1
        columns[:, i, j] = padded[band.first, :, top : bottom : at.rows.stride, cells]
    return columns.reshape(groups, columns[: c // groups, :, :, 0, 0].size, band.rows * ow)


def _bands(x: Array, at: Windows, channels: int) -> list[Band]:
    """Return bands of one image each, of which columns and output, of `channels`, fit the cache."""
    row = channels * at.columns.windows * x.itemsize
    return [
        Band(band.top, band.bottom, n, n + 1)
        for n in range(len(x))
        for band in bands(at.rows.windows, 1, row)
    ]
