"""Direct convolution of many images: one matrix product per window, by bands of output rows.

In the images-last layout, the window at (oh, ow) is a matrix X (K, N) of R (see `kernel_rows`), so

    y[oh, ow] (OC, N)   =  w (OC, K) · X[oh, ow]

One ``np.matmul`` over a strided view of R computes all products of a band: windows are not copied,
and the output is written in place. K runs over (KW, KH, C/G), the memory order of R.

Output channels are split so that a product has fewer than a million multiply-adds. OpenBLAS then
skips packing the operands, and reaches 100 to 115 instead of 50 to 90 GFLOP/s on a core with
AVX-512; a step of a network of 5×5 kernels takes 1.1 times as long without.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tinygrad_cnn.engine import threads
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.bands import NARROWEST, SMALL_PRODUCT, Band, bands
from tinygrad_cnn.engine.convolution.kernel_rows import KernelRows
from tinygrad_cnn.engine.convolution.weight_gradient_rows import weight_gradient
from tinygrad_cnn.engine.layout import Layout
from tinygrad_cnn.engine.memory import view
from tinygrad_cnn.engine.windows import Windows

__all__ = ["convolve", "layout", "weight_gradient"]

layout = Layout.IMAGES_LAST
FEWEST = 8  # output channels; products over fewer are slow


def convolve(x: Array, w: Array, bias: Array | None, at: Windows, groups: int, out: Array) -> None:
    """Write the convolution of images `x` with `w` (OC, C/G, KH, KW), plus `bias`, to `out`."""
    memory, target = layout.memory(layout.arranged(x)), layout.memory(out)
    rows, oc = KernelRows(at, x.shape[1], groups), w.shape[0]
    kernels = _matrices(w, groups)  # (G, OC/G, K)
    pieces = _bands(rows, oc, x)
    widest = max(band.images for band in pieces)
    bias_row = None if bias is None else np.repeat(bias.astype(x.dtype), widest).reshape(oc, -1)

    def piece(i: int) -> None:
        band = pieces[i]
        split, parts = small_products(band.images, *kernels.shape[1:])
        y = target[band.top : band.bottom, :, :, band.first : band.last]
        rows_of_kernels = kernels.reshape(groups, 1, 1, 1, parts, -1, kernels.shape[-1])
        windows = rows.windows(memory, band, split)[:, :, :, :, np.newaxis]
        shape = (*y.shape[:2], groups, parts, oc // groups // parts, split, band.images // split)
        products = view(y, shape).transpose(2, 0, 1, 5, 3, 4, 6)
        np.matmul(rows_of_kernels, windows, out=products)  # (G, oh, OW, split, part, ·, q)
        if bias_row is not None:
            y += bias_row[:, : band.images]

    threads.run(piece, len(pieces), out.size * w[0].size)


def _matrices(w: Array, groups: int) -> Array:
    """Return the kernels as one matrix per group: (OC, C/G, KH, KW) → (G, OC/G, K)."""
    oc, c, kh, kw = w.shape
    matrices = w.reshape(groups, oc // groups, c, kh, kw).transpose(0, 1, 4, 3, 2)
    return np.ascontiguousarray(matrices).reshape(groups, oc // groups, kw * kh * c)


def _bands(rows: KernelRows, oc: int, x: Array) -> tuple[Band, ...]:
    """Return bands whose R and output fit the cache."""
    values = rows.size + rows.at.columns.windows * oc
    return bands(rows.at.rows.windows, x.shape[0], values * x.itemsize)


@lru_cache(maxsize=1024)
def small_products(images: int, channels: int, k: int) -> tuple[int, int]:
    """Return the number of equal parts of images and of output channels for small products.

    Output channels are split first, because wide products are fastest; (1, 1) if no split helps.
    """
    for split in range(1, max(1, images // NARROWEST) + 1):
        for parts in range(1, max(1, channels // FEWEST) + 1):
            small = channels // parts * k * (images // split) <= SMALL_PRODUCT
            if small and images % split == 0 and channels % parts == 0:
                return split, parts
    return 1, 1
