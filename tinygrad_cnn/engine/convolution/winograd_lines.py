"""Winograd convolution along rows, F(4, 3), of few images: products as wide as a row of the image.

With the images last, a product per window has only N columns, too few for BLAS if N is 8. Here the
channels are moved before the columns, so that one product covers a whole row of windows. A product
cannot run over the kernel columns j as well then, so there is one for each, and the transform back
adds them: with the matrices of `winograd` and each column of Aᵀ three times,

    X (rows, C, columns·N)    =  the image's rows, copied
    T (6, C, columns·N)       =  Bᵀ · X rows
    M[v, j] (OC, OW·N)        =  U[v, j] (OC, C) · T[v, :, columns of j] (C, OW·N)
    y rows (4, OC·OW·N)       =  Aᵀ (4, 6·3) · M (6·3, OC·OW·N),       copied to (OW, OC, N)

The weight gradient exchanges the matrices (see `winograd`): with S = G · dy rows, the images before
the channels,

    P[v, j] (C, OC)           =  Σ over tiles of  T[v, :, columns of j] (C, OW·N) · S[v] (OW·N, OC)
    dw rows (3, 3·C·OC)       =  Aᵀ · P (6, 3·C·OC)
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinygrad_cnn.engine import threads
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.bands import CACHE, part_count
from tinygrad_cnn.engine.convolution.winograd import rows_product, transforms
from tinygrad_cnn.engine.layout import Layout
from tinygrad_cnn.engine.memory import empty, view
from tinygrad_cnn.engine.tiling import IN, OUT
from tinygrad_cnn.engine.windows import Windows

layout = Layout.IMAGES_LAST
KERNEL = 3
ITEM = 32  # bytes: the largest item that `np.take` copies as one


def convolve(x: Array, w: Array, bias: Array | None, at: Windows, groups: int, out: Array) -> None:
    """Write the convolution of images `x` with `w` (OC, C, 3, 3), plus `bias`, to `out`."""
    memory, target = layout.memory(layout.arranged(x)), layout.memory(out)
    (oh, ow, oc, n), c = target.shape, x.shape[1]
    back, b, g = transforms(OUT, x.dtype)
    back = np.repeat(back, KERNEL, axis=1)
    kernels = g @ w.transpose(2, 3, 0, 1).reshape(KERNEL, -1)  # (6, 3·OC·C)
    kernels = kernels.reshape(IN, KERNEL, oc, c)
    columns = ow + KERNEL - 1
    blocks = _blocks(oc, IN * KERNEL * ow * n * x.itemsize)
    widest = blocks[0].stop
    pieces = _pieces(oh, IN * (c * columns + KERNEL * widest * ow) * n * x.itemsize)
    bias_column = None if bias is None else bias[:, np.newaxis, np.newaxis]

    def piece(i: int) -> None:
        first, last = pieces[i]
        lines = _lines(memory, at, first, last, columns)
        results = empty((last - first, OUT, oc, ow, n), x.dtype)
        spread = empty((IN, c, columns, n), x.dtype)
        products = empty((IN * KERNEL * widest * ow * n,), x.dtype)
        of_columns = _of_columns(spread)
        for t in range(last - first):
            rows_product(b, lines[t * OUT : t * OUT + IN], out=view(spread, (IN, -1)))
            for block in blocks:
                some = kernels[:, :, block]
                part = products[: IN * KERNEL * some.shape[2] * ow * n]
                np.matmul(some, of_columns, out=view(part, (*some.shape[:3], ow * n)))
                result = view(results[t, :, block], (OUT, part.size // (IN * KERNEL)))
                rows_product(back, part.reshape(IN * KERNEL, -1), out=result)
        y = target[first * OUT : last * OUT]
        done = view(results, (-1, oc, ow, n))[: len(y)]
        if bias_column is not None:
            done += bias_column
        _write(done, y)

    threads.run(piece, len(pieces), out.size * w[0].size)


def weight_gradient(dy: Array, x: Array, at: Windows, groups: int) -> Array:
    """Return the weight gradient (OC, C, 3, 3), given `dy` (N, OC, OH, OW)."""
    memory, gradient = layout.memory(layout.arranged(x)), layout.memory(layout.arranged(dy))
    (oh, ow, oc, n), c = gradient.shape, x.shape[1]
    (back, _, g), (_, b, _) = transforms(KERNEL, x.dtype), transforms(OUT, x.dtype)
    columns, size = ow + KERNEL - 1, ow * n * oc
    pieces = _pieces(oh, IN * (c * columns + 2 * oc * ow) * n * x.itemsize)
    shape = (IN, KERNEL, c, oc)
    parts = np.zeros((part_count(len(pieces), math.prod(shape) * x.itemsize), *shape), x.dtype)

    def add(first: int, last: int, total: Array) -> None:
        lines = _lines(memory, at, first, last, columns)
        rows = gradient[first * OUT : last * OUT]
        turned = empty((len(rows), ow, n, oc), x.dtype)
        turned[...] = rows.swapaxes(2, 3)  # makes the sum over images a matrix product
        flat = turned.reshape(len(rows), size)
        spread = empty((IN, c, columns, n), x.dtype)
        seen = empty((IN, 1, ow * n, oc), x.dtype)
        products = empty(shape, x.dtype)
        of_columns = _of_columns(spread)
        for t in range(last - first):
            rows_product(b, lines[t * OUT : t * OUT + IN], out=view(spread, (IN, -1)))
            part = flat[t * OUT : (t + 1) * OUT]
            rows_product(g[:, : len(part)], part, out=view(seen, (IN, size)))
            np.matmul(of_columns, seen, out=products)
            total += products

    def piece(i: int) -> None:
        for first, last in pieces[i :: len(parts)]:
            add(first, last, parts[i])

    threads.run(piece, len(parts), dy.size * c * KERNEL**2)
    dw = (back @ parts.sum(axis=0).reshape(IN, -1)).reshape(KERNEL, KERNEL, c, oc)
    return np.ascontiguousarray(dw.transpose(3, 2, 0, 1))


def _pieces(rows: int, row_bytes: int) -> list[tuple[int, int]]:
    """Return the first and the last tile row of each piece: a half of all, or what fits the cache.

    `row_bytes` is the size of the values of a tile row.
    """
    count = -(-rows // OUT)
    at_once = max(1, min(CACHE // row_bytes, -(-count // 2)))
    return [(first, min(first + at_once, count)) for first in range(0, count, at_once)]


def _blocks(channels: int, channel_bytes: int) -> list[slice]:
    """Return equal blocks of output channels whose M fits a third of the cache."""
    most = max(1, CACHE // 3 // channel_bytes)
    size = -(-channels // -(-channels // most))
    return [slice(k, min(k + size, channels)) for k in range(0, channels, size)]


def _of_columns(spread: Array) -> Array:
    """Return the columns of T (6, C, columns, N) under each kernel column: (6, 3, C, OW·N)."""
    _, c, columns, n = spread.shape
    value, channel, column, image = spread.strides
    shape = (IN, KERNEL, c, (columns - KERNEL + 1) * n)
    return as_strided(spread, shape, (value, column, channel, image), writeable=False)


def _lines(memory: Array, at: Windows, first: int, last: int, columns: int) -> Array:
    """Return the padded rows of some tile rows, (rows, C·`columns`·N)."""
    height, width, c, n = memory.shape
    count = (last - first - 1) * OUT + IN
    lines = empty((count, c, columns, n), memory.dtype)
    start, left = first * OUT - at.rows.before, -at.columns.before
    top, low = min(max(-start, 0), count), min(max(-left, 0), columns)
    bottom = max(min(height - start, count), top)
    high = max(min(width - left, columns), low)
    lines[:top] = 0
    lines[bottom:] = 0
    seen = memory[start + top : start + bottom, left + low : left + high]
    if n * memory.itemsize == ITEM and low < high:
        sources = _sources(c, columns, low, high)
        rows = view(lines[top:bottom], (bottom - top, c * columns, n))
        values = seen.reshape(bottom - top, (high - low) * c, n)
        np.take(values, sources, axis=1, out=rows, mode="clip")
    else:
        _copy(seen.swapaxes(1, 2), lines[top:bottom, :, low:high])
    lines[top:bottom, :, :low] = 0
    lines[top:bottom, :, high:] = 0
    return lines.reshape(count, c * columns * n)


@lru_cache(maxsize=256)
def _sources(c: int, columns: int, low: int, high: int) -> Array:
    """Return the position in (column, C) of each value in (C, `columns`); the border has any."""
    column = np.clip(np.arange(columns) - low, 0, high - low - 1)
    sources = (column * c + np.arange(c)[:, np.newaxis]).reshape(-1)
    sources.flags.writeable = False
    return sources


def _write(done: Array, target: Array) -> None:
    """Copy results (rows, OC, OW, N) to `target` (rows, OW, OC, N)."""
    rows, oc, ow, n = done.shape
    if n * done.itemsize == ITEM and target.flags.c_contiguous:
        sources = _sources(ow, oc, 0, oc)
        out = view(target, (rows, ow * oc, n))
        np.take(done.reshape(rows, oc * ow, n), sources, axis=1, out=out, mode="clip")
    else:
        _copy(done.swapaxes(1, 2), target)


def _copy(source: Array, target: Array) -> None:
    """Copy images whose last axis is short: as one item each, if its numbers are adjacent."""
    n, itemsize = source.shape[-1], source.itemsize
    if source.strides[-1] == target.strides[-1] == itemsize and n > 1:
        item = np.dtype(f"V{n * itemsize}")
        source, target = source.view(item), target.view(item)
    target[...] = source
