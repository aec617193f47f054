"""The weight gradient of a depthwise convolution, as products with several outputs at once.

A channel's gradient is a sum over images and pixels of dy times KH·KW shifts of x. A product with
one column has no speed, so T rows or columns of outputs are taken at once, and of the products only
those are added that belong to a kernel cell.

If outputs are adjacent and rows wide, rows are copied with the channels first. Then a row of dy, of
all columns and images, is one line of a product, and so is a row of x from column l on.
With I = (T − 1)·stride + KH,

    P[l] (I, T)  =  x[I rows, columns from l] (I, OW·N) · dy[T rows] (OW·N, T)
    dw[k, l]     =  Σ over t of  P[l, t·stride + k, t]

Otherwise nothing is copied, and a product sums over the images only, with the windows of `strips`.
With I = (T − 1)·stride + KW,

    P (KH, I, T)  =  x[KH rows, I columns] (KH·I, N) · dy[T columns] (N, T)
    dw[k, l]      =  Σ over t of  P[k, t·stride + l, t]
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinygrad_cnn.engine import reduction, threads
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.bands import CACHE, image_blocks, part_count
from tinygrad_cnn.engine.convolution import depthwise_few
from tinygrad_cnn.engine.convolution.strips import (
    IMAGES,
    WIDEST,
    cells_read,
    operand,
    outputs_at_once,
    pieces_of,
)
from tinygrad_cnn.engine.layout import Layout
from tinygrad_cnn.engine.memory import empty
from tinygrad_cnn.engine.windows import Windows, strip

layout = Layout.IMAGES_LAST
WIDE = 12  # minimum images; with fewer, products are slower than `depthwise_few`
ROWS = 4  # of dy in a product


def weight_gradient(dy: Array, x: Array, at: Windows, groups: int) -> Array:
    """Return the weight gradient (m·C, 1, KH, KW), given `dy` (N, m·C, OH, OW)."""
    if len(x) < WIDE:
        return depthwise_few.gradient_of_rows(dy, x, at, layout)
    memory, gradient = layout.memory(layout.arranged(x)), layout.memory(layout.arranged(dy))
    oh, ow, oc, n = gradient.shape
    gradient = gradient.reshape(oh, ow, groups, oc // groups, n)
    if at.columns.stride == 1 and ow > WIDEST:
        dw = _by_rows(gradient, memory, at)
    else:
        dw = _by_images(gradient, memory, at)
    return np.ascontiguousarray(dw).reshape(oc, 1, *at.kernel)


def _by_images(dy: Array, x: Array, at: Windows) -> Array:
    """Return the gradient (C, m, KH, KW) by products over the images."""
    _, _, c, m, n = dy.shape
    width, (kh, kw) = outputs_at_once(at.columns), at.kernel
    blocks = image_blocks(n, IMAGES)
    pieces = pieces_of(at, width, c, blocks[0][1], x.itemsize)
    shape = (c, m, kh, (width - 1) * at.columns.stride + kw, width)
    count = len(pieces) * len(blocks)
    parts = np.zeros((part_count(count, math.prod(shape) * x.itemsize), *shape), x.dtype)

    def add(i: int, total: Array) -> None:
        (strip, rows, (low, high)), (first, last) = (
            pieces[i // len(blocks)],
            blocks[i % len(blocks)],
        )
        offset = strip.offset(at.columns)
        total = total[low:high, :, :, offset : offset + strip.width, : strip.last - strip.first]
        u = dy[:, strip.first : strip.last, low:high, :, first:last].transpose(0, 2, 3, 4, 1)
        cells, top = cells_read(x[..., low:high, first:last], at, strip, rows)
        for part in rows:
            if part.start < part.stop and strip.width:
                windows = operand(cells, top, at, part)
                products = reduction.total(windows @ u[part.top : part.bottom], (0,))
                of_rows = total[:, :, part.start : part.stop]
                of_rows += products.reshape(of_rows.shape)  # (C, m, KH·I, T)

    def piece(i: int) -> None:
        for k in range(i, count, len(parts)):
            add(k, parts[i])

    threads.run(piece, len(parts), dy.size * kh * shape[3])
    dw: Array = _diagonals(parts.sum(axis=0), at.columns.stride, kw).sum(axis=-2)
    return dw


def _by_rows(dy: Array, x: Array, at: Windows) -> Array:
    """Return the gradient (C, m, KH, KW) by products along rows."""
    (_, ow, c, m, n), (kh, kw), stride = dy.shape, at.kernel, at.rows.stride
    reach = (ROWS - 1) * stride + kh
    pieces = _blocks(at, c, m, n * x.itemsize)
    shape = (c, m, kw, reach, ROWS)
    parts = np.zeros((part_count(len(pieces), math.prod(shape) * x.itemsize), *shape), x.dtype)

    def piece(i: int) -> None:
        for k in range(i, len(pieces), len(parts)):
            (low, high), (top, bottom) = pieces[k]
            lines = _lines(x[:, :, low:high], at, top, bottom)  # (C, rows, columns, N)
            u = empty((high - low, m, -(-(bottom - top) // ROWS) * ROWS, ow, n), dy.dtype)
            u[:, :, : bottom - top] = dy[top:bottom, :, low:high].transpose(2, 3, 0, 1, 4)
            u[:, :, bottom - top :] = 0
            channel, row, column, value = lines.strides
            windows = as_strided(
                lines,
                (high - low, 1, u.shape[2] // ROWS, kw, reach, ow * n),
                (channel, 0, ROWS * stride * row, column, row, value),
                writeable=False,
            )
            turned = u.reshape(high - low, m, -1, 1, ROWS, ow * n).swapaxes(-1, -2)
            with np.errstate(invalid="ignore"):  # ∞·0 off the diagonal, which is not used
                products = windows @ turned
            there = bottom - top - u.shape[2] + ROWS  # output rows of the last product
            products[:, :, -1, ..., there:] = 0
            parts[i][low:high] += reduction.total(products, (2,))

    threads.run(piece, len(parts), dy.size * kw * reach)
    dw: Array = _diagonals(parts.sum(axis=0), stride, kh).sum(axis=-2)  # (C, m, KW, KH)
    return dw.swapaxes(-1, -2)


def _lines(x: Array, at: Windows, top: int, bottom: int) -> Array:
    """Return the cells that output rows read, with their border: (C, rows, columns, N)."""
    height, width, c, n = x.shape
    rows, columns = at.rows, at.columns
    first = top * rows.stride - rows.before
    count = ((-(-(bottom - top) // ROWS) * ROWS) - 1) * rows.stride + rows.kernel
    lines = empty((c, count, columns.windows + columns.kernel - 1, n), x.dtype)
    for of_lines, of_rows in strip(count, 1, first, height):
        for cells, of_columns in strip(lines.shape[2], 1, -columns.before, width):
            if of_rows is None or of_columns is None:
                lines[:, of_lines, cells] = 0
            else:
                lines[:, of_lines, cells] = x[of_rows, of_columns].transpose(2, 0, 1, 3)
    return lines


@lru_cache(maxsize=1024)
def _blocks(
    at: Windows, channels: int, m: int, value_bytes: int
) -> tuple[tuple[tuple[int, int], tuple[int, int]], ...]:
    """Return channels and output rows whose copies fit the cache."""
    rows, columns = at.rows, at.columns
    line = (columns.windows + columns.kernel - 1) * (rows.stride + m) * value_bytes
    height = -(-rows.windows // ROWS) * ROWS
    while height > ROWS and height * line > CACHE // 8:
        height = -(-height // (2 * ROWS)) * ROWS
    each = max(1, CACHE // 2 // (height * line))
    each = -(-channels // -(-channels // each))
    return tuple(
        ((low, min(low + each, channels)), (top, min(top + height, rows.windows)))
        for top in range(0, rows.windows, height)
        for low in range(0, channels, each)
    )


def _diagonals(total: Array, stride: int, kernel: int) -> Array:
    """Return the view [..., t, k] of total [..., t·stride + k, t]."""
    *strides, cell, output = total.strides
    return as_strided(
        total,
        (*total.shape[:-2], total.shape[-1], kernel),
        (*strides, output + stride * cell, cell),
        writeable=False,
    )
