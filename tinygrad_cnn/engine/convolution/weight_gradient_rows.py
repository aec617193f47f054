"""The weight gradient of a convolution for many images, as long products along rows.

The gradient sums over images and pixels. In the images-last layout both form one axis of a product
if the channels come before the columns:

    X : (G, row, C/G, column, N)         the image's rows under a band of output rows
    U : (G, oh, OW·N, OC/G)              the gradient flowing in

For output row oh and kernel column j, the KH kernel rows read a matrix (KH·C/G, OW·N) of X: a view,
because the rows are consecutive and j only shifts the columns. So an output row takes KW products,

    dw[j] (KH·C/G, OC/G)  =  Σ over oh of  X[rows of oh, columns of j] (KH·C/G, OW·N) · U[oh]

whereas a product per window would give OW times as many results to add. If the cells of a window
are not laid out like this (dilated rows, strided columns), they are copied one by one.

OpenBLAS multiplies small matrices without packing if the right one is not transposed. So U is
transposed if it is wide and used often enough, and the long axis is split if the parts remain long
enough.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinygrad_cnn.engine import reduction, threads
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.bands import CACHE, SHORTEST, Band, bands, part_count, small_products
from tinygrad_cnn.engine.layout import Layout
from tinygrad_cnn.engine.memory import empty
from tinygrad_cnn.engine.windows import WindowAxis, Windows, strip

layout = Layout.IMAGES_LAST
WIDE = 8  # minimum output channels, and multiply-adds per value of dy, for transposing to pay
OFTEN = 32


def weight_gradient(dy: Array, x: Array, at: Windows, groups: int) -> Array:
    """Return the weight gradient (OC, C/G, KH, KW), given `dy` (N, OC, OH, OW)."""
    memory, gradient = layout.memory(layout.arranged(x)), layout.memory(layout.arranged(dy))
    (oh, ow, oc, n), c, (kh, kw) = gradient.shape, x.shape[1] // groups, at.kernel
    row = x.shape[1] * at.rows.step * _width(at.columns) + ow * oc
    pieces = bands(oh, n, row * x.itemsize)
    shape = (groups, kw, kh * c, oc // groups)
    parts = np.zeros((part_count(len(pieces), math.prod(shape) * x.itemsize), *shape), x.dtype)

    def piece(i: int) -> None:
        for band in pieces[i :: len(parts)]:
            split = small_products(ow * band.images, kh * c * (oc // groups), SHORTEST)
            lines = _lines(memory, at, groups, band, split)
            u = gradient[band.top : band.bottom, :, :, band.first : band.last]
            _add_products(lines, _turned(u, groups, split, kh * kw * c), parts[i])

    threads.run(piece, len(parts), dy.size * c * kh * kw)
    dw = parts.sum(axis=0).reshape(groups, kw, kh, c, oc // groups)
    return np.ascontiguousarray(dw.transpose(0, 4, 3, 2, 1)).reshape(oc, c, kh, kw)


def _add_products(lines: Array, u: Array, total: Array) -> None:
    """Add Σ over oh and parts of lines (G, oh, part, KW, K, q) · u (G, oh, part, 1, q, OC/G)."""
    oh, split = lines.shape[1:3]
    rows = max(1, CACHE // 2 // (split * total.nbytes))
    for top in range(0, oh, rows):
        part = slice(top, top + rows)
        x = lines[:, part]
        products = empty((*x.shape[:3], *total.shape[1:]), total.dtype)
        np.matmul(x, u[:, part], out=products)
        total += reduction.total(products, (1, 2))


def _lines(memory: Array, at: Windows, groups: int, band: Band, split: int) -> Array:
    """Return the cells under the kernel rows: (G, oh, part, KW, KH·C/G, OW·N/parts)."""
    height, width, channels, _ = memory.shape
    c, n, (kh, kw) = channels // groups, band.images, at.kernel
    step = at.rows.step
    count = (band.rows - 1) * step + kh
    x = empty((groups, count, c, _width(at.columns), n), memory.dtype)
    images = memory.reshape(height, width, groups, c, -1)[..., band.first : band.last]
    images = images.transpose(2, 0, 3, 1, 4)  # (G, H, C/G, W, N)
    columns = list(_columns(at.columns))
    for rows, of_rows in _rows(at.rows, band):
        for cells, of_cells in columns:
            if of_rows is None or of_cells is None:
                x[:, rows, :, cells] = 0
            else:
                x[:, rows, :, cells] = images[:, of_rows, :, of_cells]
    group, row, channel, column, value = x.strides
    q = at.columns.windows * n // split
    next_j = at.columns.dilation if at.columns.stride == 1 else at.columns.windows
    return as_strided(
        x,
        (groups, band.rows, split, kw, kh * c, q),
        (group, row * step, value * q, column * next_j, channel, value),
        writeable=False,
    )


def _turned(u: Array, groups: int, split: int, uses: int) -> Array:
    """Return memory (oh, OW, OC, N) of dy as (G, oh, part, 1, OW·N/parts, OC/G)."""
    oh, ow, channels, n = u.shape
    oc = channels // groups
    u = u.reshape(oh, ow, groups, oc, n)
    if oc >= WIDE and uses >= OFTEN:
        turned = empty((groups, oh, ow, n, oc), u.dtype)
        turned[...] = u.transpose(2, 0, 1, 4, 3)
        return turned.reshape(groups, oh, split, 1, -1, oc)
    lines = empty((groups, oh, oc, ow, n), u.dtype)
    lines[...] = u.transpose(2, 0, 3, 1, 4)
    return lines.reshape(groups, oh, oc, split, 1, -1).transpose(0, 1, 3, 4, 5, 2)


def _width(axis: WindowAxis) -> int:
    """Return the number of columns of X."""
    if axis.stride == 1:
        return axis.windows + (axis.kernel - 1) * axis.dilation
    return axis.windows * axis.kernel


def _rows(axis: WindowAxis, band: Band) -> Iterator[tuple[slice, slice | None]]:
    """Yield rows of X and the image's rows to copy there; None for the border."""
    step, first = axis.step, band.top * axis.stride - axis.before
    if axis.step == axis.stride and axis.dilation == 1:
        yield from strip((band.rows - 1) * step + axis.kernel, 1, first, axis.size)
        return
    for k in range(axis.kernel):
        offset = first + k * axis.dilation
        for target, source in strip(band.rows, axis.stride, offset, axis.size):
            yield slice(target.start * step + k, (target.stop - 1) * step + k + 1, step), source


def _columns(axis: WindowAxis) -> Iterator[tuple[slice, slice | None]]:
    """Yield columns of X and the image's columns to copy there; None for the border."""
    if axis.stride == 1:
        yield from strip(_width(axis), 1, -axis.before, axis.size)
        return
    for j in range(axis.kernel):
        offset, left = j * axis.dilation - axis.before, j * axis.windows
        for target, source in strip(axis.windows, axis.stride, offset, axis.size):
            yield slice(left + target.start, left + target.stop), source
