"""The input gradient where no two windows overlap: one product, written in place.

A cell of the image is then under one cell of one window, or under none, and nothing is added:

    dx[oh·stride + k, ow·stride + l, c]  =  Σ over o of  dy[oh, ow, o] · w[o, c, k, l]

This is the transposed convolution that doubles an image (kernel 2, stride 2), and the one that
makes a whole image of a single pixel. By convolutions of dy (`input_gradient_phases`), the first
takes four passes over dx, and the second multiplies zeros: 16 times as many products for 4×4.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinygrad_cnn.engine import threads
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.bands import SMALL_PRODUCT, Band, bands
from tinygrad_cnn.engine.layout import Layout
from tinygrad_cnn.engine.windows import Windows


def takes(at: Windows, groups: int) -> bool:
    """Return whether windows of several cells do not overlap, and lie on the image."""
    axes = (at.rows, at.columns)
    return (
        groups == 1
        and at.kernel != (1, 1)
        and all(axis.apart and axis.dilation == 1 for axis in axes)
        and all(axis.before == 0 and axis.reach <= axis.size for axis in axes)
    )


def input_gradient(dy: Array, w: Array, at: Windows, layout: Layout, dx: Array) -> None:
    """Write the input gradient to `dx` (N, C, H, W), given `dy` (N, OC, OH, OW).

    `dx` is contiguous in `layout`.
    """
    gradient, target = layout.memory(layout.arranged(dy)), layout.memory(dx)
    if at.rows.size * at.columns.size > math.prod((*at.kernel, *at.count)):
        target[...] = 0  # under no window
    product = _images_last if layout is Layout.IMAGES_LAST else _channels_last
    pieces = bands(at.rows.windows, len(dy), w.size // len(w) * at.columns.windows * dx.itemsize)

    def piece(i: int) -> None:
        product(gradient, kernels, at, pieces[i], target)

    kernels = w.transpose((2, 3, 1, 0) if layout is Layout.IMAGES_LAST else (2, 0, 3, 1))
    kernels = np.ascontiguousarray(kernels)
    threads.run(piece, len(pieces), dy.size * w[0].size)


def _images_last(dy: Array, kernels: Array, at: Windows, band: Band, dx: Array) -> None:
    """Write the gradient in memory (H, W, C, N), given dy (OH, OW, OC, N)."""
    kh, kw, c, oc = kernels.shape
    once = kw if kw * c * oc * band.images <= SMALL_PRODUCT else 1  # columns of a product
    row, column, channel, image = dx.strides
    cells = as_strided(
        dx[band.top * at.rows.stride :, ..., band.first :],
        (band.rows, at.columns.windows, kh, kw // once, once * c, band.images),
        (row * at.rows.stride, column * at.columns.stride, row, once * column, channel, image),
    )
    u = dy[band.top : band.bottom, :, np.newaxis, np.newaxis, :, band.first : band.last]
    np.matmul(kernels.reshape(kh, kw // once, once * c, oc), u, out=cells)


def _channels_last(dy: Array, kernels: Array, at: Windows, band: Band, dx: Array) -> None:
    """Write the gradient in memory (N, H, W, C), given dy (N, OH, OW, OC)."""
    kh, oc, kw, c = kernels.shape
    image, row, column, channel = dx.strides
    cells = as_strided(
        dx[band.first :, band.top * at.rows.stride :],
        (band.images, band.rows, kh, at.columns.windows, kw * c),
        (image, row * at.rows.stride, row, column * at.columns.stride, channel),
    )
    u = dy[band.first : band.last, band.top : band.bottom, np.newaxis]
    np.matmul(u, kernels.reshape(kh, oc, kw * c), out=cells)
