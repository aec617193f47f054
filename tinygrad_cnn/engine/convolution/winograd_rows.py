"""Winograd convolution along rows only, F(4, 3): half the products, and two transforms not four.

Three kernel rows over six image rows give four output rows. With the matrices of `winograd`,

    y rows (4) = Aᵀ [ (G w) ⋆ (Bᵀ x rows) ],      Bᵀ (6, 6),  G (6, 3),  Aᵀ (4, 6),

where ⋆ convolves along the columns, directly: for each of the 6 values v, the window at column ow
is a contiguous matrix (3·C, N) of the transformed rows, so nothing is gathered.

    T (6, columns, C·N)   =  Bᵀ · x rows
    M[v, ow] (OC, N)      =  U[v] (OC, 3·C) · T[v, ow : ow + 3] (3·C, N)
    y rows (4, OW·OC·N)   =  Aᵀ · M (6, OW·OC·N)

The weight gradient exchanges the matrices (see `winograd`): S = G · dy rows, with the images before
the channels, and

    P[v] (3·C, OC)        =  Σ over tiles and ow of  T[v, ow : ow + 3] (3·C, N) · S[v, ow] (N, OC)
    dw rows (3, 3·C·OC)   =  Aᵀ · P

It rounds less than tiles in two dimensions, and is faster for few channels, whose products are
cheap compared with the transforms of tiles.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinygrad_cnn.engine import threads
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.bands import CACHE, image_blocks, part_count
from tinygrad_cnn.engine.convolution.winograd import (
    WIDEST,
    input_rows,
    rows_product,
    transforms,
)
from tinygrad_cnn.engine.layout import Layout
from tinygrad_cnn.engine.memory import empty, view
from tinygrad_cnn.engine.tiling import IN, OUT
from tinygrad_cnn.engine.windows import Windows

layout = Layout.IMAGES_LAST
KERNEL = 3


def convolve(x: Array, w: Array, bias: Array | None, at: Windows, groups: int, out: Array) -> None:
    """Write the convolution of images `x` with `w` (OC, C, 3, 3), plus `bias`, to `out`."""
    memory, target = layout.memory(layout.arranged(x)), layout.memory(out)
    oc, c = w.shape[:2]
    back, _, g = transforms(OUT, x.dtype)
    kernels = g @ w.transpose(2, 0, 3, 1).reshape(KERNEL, -1)  # (6, OC·3·C)
    kernels = kernels.reshape(IN, 1, oc, KERNEL * c)
    pieces = _pieces(target.shape, IN * (c + oc) * x.itemsize)
    widest = pieces[0][3] - pieces[0][2]
    bias_row = None if bias is None else np.repeat(bias, widest).reshape(oc, widest)

    def piece(i: int) -> None:
        t, columns, first, last = pieces[i]
        width, images = columns.stop - columns.start, last - first
        spread = input_rows(memory[..., first:last], at, t, columns.start, width + KERNEL - 1)
        products = empty((IN, width, oc, images), x.dtype)
        np.matmul(kernels, _windows(spread, width, c), out=products)
        y = target[t * OUT : (t + 1) * OUT, columns, :, first:last]
        size = width * oc * images
        in_place = y[0].flags.c_contiguous
        rows = y if in_place else empty(y.shape, x.dtype)
        rows_product(back[: len(y)], products.reshape(IN, size), out=view(rows, (len(y), size)))
        if bias_row is not None:
            rows += bias_row[:, :images]
        if not in_place:
            y[...] = rows

    threads.run(piece, len(pieces), out.size * w[0].size // 2)


def weight_gradient(dy: Array, x: Array, at: Windows, groups: int) -> Array:
    """Return the weight gradient (OC, C, 3, 3), given `dy` (N, OC, OH, OW)."""
    memory, gradient = layout.memory(layout.arranged(x)), layout.memory(layout.arranged(dy))
    (_, _, oc, _), c = gradient.shape, x.shape[1]
    back, _, g = transforms(KERNEL, x.dtype)
    result = KERNEL * c * oc
    images = min(gradient.shape[3], WIDEST)
    per_image = (c + oc + result // images) * IN * x.itemsize
    pieces = _pieces(gradient.shape, per_image)
    parts = np.zeros((part_count(len(pieces), IN * result * x.itemsize), IN, result), x.dtype)

    def add(k: int, total: Array) -> None:
        t, columns, first, last = pieces[k]
        width, images = columns.stop - columns.start, last - first
        spread = input_rows(memory[..., first:last], at, t, columns.start, width + KERNEL - 1)
        rows = gradient[t * OUT : (t + 1) * OUT, columns, :, first:last]
        turned = empty((len(rows), width, images, oc), x.dtype)
        turned[...] = rows.swapaxes(2, 3)  # makes the sum over images a matrix product
        size = width * images * oc
        seen = empty((IN, width, images, oc), x.dtype)
        rows_product(g[:, : len(rows)], turned.reshape(len(rows), size), out=view(seen, (IN, size)))
        products = empty((IN, width, KERNEL * c, oc), x.dtype)
        np.matmul(_windows(spread, width, c), seen, out=products)
        ones = np.ones((1, width), x.dtype)
        total += np.matmul(ones, products.reshape(IN, width, result))[:, 0]

    def piece(i: int) -> None:
        for k in range(i, len(pieces), len(parts)):
            add(k, parts[i])

    threads.run(piece, len(parts), dy.size * c * KERNEL**2 // 2)
    dw = (back @ parts.sum(axis=0)).reshape(KERNEL, KERNEL, c, oc)  # (row, column, C, OC)
    return np.ascontiguousarray(dw.transpose(3, 2, 0, 1))


def _pieces(shape: tuple[int, ...], value_bytes: int) -> list[tuple[int, slice, int, int]]:
    """Return the tile row, columns and images of each piece of an output (OH, OW, OC, N).

    A piece's values, `value_bytes` for each column and image, fit the cache.
    """
    oh, ow, _, n = shape
    blocks = image_blocks(n, WIDEST)
    most = max(1, CACHE // (value_bytes * (blocks[0][1] - blocks[0][0])))
    width = -(-ow // -(-ow // most))
    return [
        (t, slice(start, min(start + width, ow)), first, last)
        for t in range(-(-oh // OUT))
        for first, last in blocks
        for start in range(0, ow, width)
    ]


def _windows(spread: Array, count: int, c: int) -> Array:
    """Return the windows of transformed rows (6, columns, C·N) as matrices (6, OW, 3·C, N)."""
    n = spread.shape[-1] // c
    row, column, value = spread.strides
    return as_strided(
        spread, (IN, count, KERNEL * c, n), (row, column, n * value, value), writeable=False
    )
