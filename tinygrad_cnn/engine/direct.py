"""Convolution of many images by bands of output rows, straight from their kernel rows.

With the images last, the window at (oh, ow) is a matrix X (K, N) of R (see `rows`), so

    y[oh, ow] (OC, N)   =  w (OC, K) · X[oh, ow]
    dw        (OC, K)   =  Σ over oh, ow of  dy[oh, ow] (OC, N) · X[oh, ow]ᵀ

and one ``np.matmul`` over a strided view of R does all products of a band: no copy of a window, and
the output is written in place. K counts (KW, KH, C/G), as R lies in memory.

Each product is kept below a million multiply-adds: OpenBLAS then skips its packing of the operands,
and does 100 to 110 instead of 60 to 86 GFLOP/s on a core with AVX-512.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.engine import threads
from tinygrad_cnn.engine.bands import CACHE, NARROWEST, Band, bands, part_count
from tinygrad_cnn.engine.layout import Array, Layout
from tinygrad_cnn.engine.rows import Rows
from tinygrad_cnn.engine.scratch import scratch
from tinygrad_cnn.engine.windows import Windows

layout = Layout.IMAGES_LAST
SMALL_PRODUCT = 1_000_000  # multiply-adds up to which OpenBLAS does not pack
FEW_CHANNELS = 16  # below, dw is computed transposed, for dy is then too thin a left operand


def convolve(x: Array, w: Array, bias: Array | None, at: Windows, groups: int, out: Array) -> None:
    """Write the convolution of images `x` with `w` (OC, C/G, KH, KW), plus `bias`, to `out`."""
    memory, target = layout.memory(layout.arranged(x)), layout.memory(out)
    rows, oc = Rows(at, x.shape[1], groups), w.shape[0]
    kernels = _matrices(w, groups)[:, np.newaxis, np.newaxis, np.newaxis]  # (G, 1, 1, 1, OC/G, K)
    pieces = _bands(rows, oc, x)
    widest = max(band.images for band in pieces)
    bias_row = None if bias is None else np.repeat(bias.astype(x.dtype), widest).reshape(oc, -1)

    def piece(i: int) -> None:
        band = pieces[i]
        split = _split(band.images, oc // groups * kernels.shape[-1])
        y = target[band.top : band.bottom, :, :, band.first : band.last]
        shape = (*y.shape[:2], groups, oc // groups, split, band.images // split)
        windows = rows.windows(memory, band, split)  # (G, oh, OW, split, K, q)
        np.matmul(kernels, windows, out=y.reshape(shape).transpose(2, 0, 1, 4, 3, 5))
        if bias_row is not None:
            y += bias_row[:, : band.images]

    threads.run(piece, len(pieces), out.size * w[0].size)


def weight_gradient(dy: Array, x: Array, at: Windows, groups: int) -> Array:
    """Return the gradient (OC, C/G, KH, KW) of the kernels, from `dy` (N, OC, OH, OW)."""
    memory, gradient = layout.memory(layout.arranged(x)), layout.memory(layout.arranged(dy))
    c, oc = x.shape[1] // groups, dy.shape[1]
    rows = Rows(at, x.shape[1], groups)
    pieces = _bands(rows, oc, x)
    kernel = (groups, at.columns.kernel, at.rows.kernel, c)
    count = part_count(len(pieces), math.prod(kernel) * (oc // groups) * x.itemsize)
    parts = np.zeros((count, *kernel, oc // groups), x.dtype)

    def piece(i: int) -> None:
        for band in pieces[i :: len(parts)]:
            dys = gradient[band.top : band.bottom, :, :, band.first : band.last]
            dys = dys.reshape(*dys.shape[:2], groups, oc // groups, band.images)
            _add_products(rows.windows(memory, band)[:, :, :, 0], dys.transpose(2, 0, 1, 3, 4),
                          parts[i])  # fmt: skip

    threads.run(piece, len(parts), dy.size * math.prod(kernel) // groups)
    dw = parts.sum(axis=0)  # (G, KW, KH, C/G, OC/G)
    return np.ascontiguousarray(dw.transpose(0, 4, 3, 2, 1)).reshape(oc, c, *at.kernel)


def _add_products(windows: Array, dy: Array, total: Array) -> None:
    """Add Σ over oh, ow of windows (G, oh, OW, K, N) · dyᵀ (G, oh, OW, N, OC/G) to `total`.

    The products of some positions are made at once, and summed by a product with ones.
    """
    groups, oh, ow, k, n = windows.shape
    channels = dy.shape[-2]
    columns = total.shape[1] if k * channels * n > SMALL_PRODUCT and channels >= FEW_CHANNELS else 1
    at_once = max(1, CACHE // 2 // (k * channels * total.itemsize))
    for g in range(groups):
        sums = total[g].reshape(k * channels)
        across, down = min(ow, at_once), max(1, at_once // ow)
        for top in range(0, oh, down):
            for left in range(0, ow, across):
                part = (g, slice(top, top + down), slice(left, left + across))
                x, u = windows[part], dy[part].swapaxes(-1, -2)  # (…, K, N), (…, N, OC/G)
                if channels >= FEW_CHANNELS:
                    turned = scratch("turned", u.shape, u.dtype)
                    turned[...] = u
                    u = turned
                products = scratch("products", (*x.shape[:2], k, channels), total.dtype)
                cut = (*x.shape[:2], columns, k // columns)
                np.matmul(x.reshape(*cut, n), u[:, :, np.newaxis],
                          out=products.reshape(*cut, channels))  # fmt: skip
                positions = x.shape[0] * x.shape[1]
                ones = np.ones((1, positions), total.dtype)
                sums += (ones @ products.reshape(positions, k * channels))[0]


def _matrices(w: Array, groups: int) -> Array:
    """Return the kernels as one matrix a group: (OC, C/G, KH, KW) → (G, OC/G, K)."""
    oc, c, kh, kw = w.shape
    matrices = w.reshape(groups, oc // groups, c, kh, kw).transpose(0, 1, 4, 3, 2)
    return np.ascontiguousarray(matrices).reshape(groups, oc // groups, kw * kh * c)


def _bands(rows: Rows, oc: int, x: NDArray[np.generic]) -> tuple[Band, ...]:
    """Return bands of which R and the output fit the cache."""
    values = rows.size + rows.at.columns.windows * oc
    return bands(rows.at.rows.windows, x.shape[0], values * x.itemsize)


def _split(images: int, multiply_adds: int) -> int:
    """Return into how many equal parts to split the images, for products that are small."""
    for split in range(1, images // NARROWEST + 1):
        if images % split == 0 and multiply_adds * (images // split) <= SMALL_PRODUCT:
            return split
    return 1
