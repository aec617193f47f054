"""Convolution of few images with im2col: each window becomes a column.

In the images-first layout, with K = (C/G)·KH·KW and P the pixels of a band of output rows,

    columns : (n, G, K, P)      columns[n, g, (c, i, j), (oh, ow)] = x[n, (g, c), cell under (i, j)]

is one copy of a strided view of the padded images, in which window axes step by the dilation and
output axes by the stride. For every image

    y  (G, OC/G, P)  =  w (G, OC/G, K) · columns
    dw (G, OC/G, K)  =  Σ over images and bands of  (columns · dyᵀ)ᵀ,   dy (G, OC/G, P)

With few images, BLAS is fastest on one product with many columns. A small image takes a dozen NumPy
calls of a microsecond or two each, so fewer calls matter more than fewer bytes; docs/engine.md has
a measurement.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tinygrad_cnn.engine import threads
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.bands import CACHE, Band, bands, part_count
from tinygrad_cnn.engine.layout import Layout
from tinygrad_cnn.engine.memory import empty, view
from tinygrad_cnn.engine.windows import Windows

layout = Layout.IMAGES_FIRST


def convolve(x: Array, w: Array, bias: Array | None, at: Windows, groups: int, out: Array) -> None:
    """Write the convolution of images `x` with `w` (OC, C/G, KH, KW), plus `bias`, to `out`."""
    windows, oc = _windows(layout.arranged(x), at, groups), w.shape[0]
    kernels = w.reshape(groups, oc // groups, -1)
    pieces = _bands(len(x), at, groups * (kernels.shape[-1] + oc // groups) * x.itemsize)
    bias_column = None if bias is None else bias.reshape(groups, oc // groups, 1)
    in_place = out.flags.c_contiguous

    def piece(i: int) -> None:
        band = pieces[i]
        y = out[band.first : band.last, :, band.top : band.bottom]
        shape = (band.images, groups, oc // groups, band.rows * at.columns.windows)
        product = view(y, shape) if in_place else empty(shape, out.dtype)
        np.matmul(kernels, _gathered(windows, band), out=product)
        if bias_column is not None:
            product += bias_column
        if not in_place:
            y[...] = product.reshape(y.shape)

    threads.run(piece, len(pieces), out.size * w[0].size)


def weight_gradient(dy: Array, x: Array, at: Windows, groups: int) -> Array:
    """Return the weight gradient (OC, C/G, KH, KW), given `dy` (N, OC, OH, OW)."""
    windows, oc, c = _windows(layout.arranged(x), at, groups), dy.shape[1], x.shape[1] // groups
    gradient = layout.arranged(dy)
    k = c * at.kernel[0] * at.kernel[1]
    pieces = _bands(len(x), at, groups * (k + oc // groups) * x.itemsize)
    parts = np.zeros(
        (part_count(len(pieces), oc * k * x.itemsize), groups, k, oc // groups), x.dtype
    )

    def piece(i: int) -> None:
        for band in pieces[i :: len(parts)]:
            u = gradient[band.first : band.last, :, band.top : band.bottom]
            u = u.reshape(band.images, groups, oc // groups, band.rows * at.columns.windows)
            products = _gathered(windows, band) @ u.swapaxes(-1, -2)
            for product in products:
                parts[i] += product

    threads.run(piece, len(parts), dy.size * k)
    dw = parts[0] if len(parts) == 1 else parts.sum(axis=0)
    return np.ascontiguousarray(dw.swapaxes(-1, -2)).reshape(oc, c, *at.kernel)


def _windows(x: Array, at: Windows, groups: int) -> Array:
    """Return a view of the padded images: (N, G, C/G, KH, KW, OH, OW)."""
    padded = at.pad(x)
    (n, c, _, _), (image, channel, row, column) = padded.shape, padded.strides
    rows, columns = at.rows, at.columns
    return np.ndarray(  # unlike as_strided, checks the bounds
        (n, groups, c // groups, *at.kernel, *at.count),
        padded.dtype,
        padded,
        0,
        (image, channel * (c // groups), channel, row * rows.dilation, column * columns.dilation,
         row * rows.stride, column * columns.stride),
    )  # fmt: skip


def _gathered(windows: Array, band: Band) -> Array:
    """Return the columns of a band, (n, G, K, P)."""
    part = windows[band.first : band.last, ..., band.top : band.bottom, :]
    columns = empty(part.shape, part.dtype)
    columns[...] = part
    return columns.reshape(*part.shape[:2], -1, band.rows * part.shape[-1])


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
