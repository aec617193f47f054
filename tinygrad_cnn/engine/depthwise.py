"""Depthwise convolution: C groups of one channel, with M kernels each.

Its products have rows of K = KW·KH values, for which `direct` is fast enough. The weight gradient
would be products with a single column, so it is computed per kernel cell. With the windows of all
channels as (oh, OW, KW, KH, C, N), see `kernel_rows`,

    dw[c, m, k, j] = Σ over oh, ow, n of  dy[oh, ow, c, m, n] · windows[oh, ow, j, k, c, n]

takes one elementwise product per band and kernel cell, a product with ones that sums its rows of
pixels, and a sum over rows and images.
"""

from __future__ import annotations

import numpy as np

from tinygrad_cnn.engine import direct, reduction, threads
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.bands import bands, part_count
from tinygrad_cnn.engine.kernel_rows import KernelRows
from tinygrad_cnn.engine.scratch import scratch
from tinygrad_cnn.engine.windows import Windows

layout = direct.layout
convolve = direct.convolve


def weight_gradient(dy: Array, x: Array, at: Windows, groups: int) -> Array:
    """Return the weight gradient (C·M, 1, KH, KW), given `dy` (N, C·M, OH, OW)."""
    memory, gradient = layout.memory(layout.arranged(x)), layout.memory(layout.arranged(dy))
    (oh, ow, oc, n), (kh, kw) = gradient.shape, at.kernel
    rows = KernelRows(at, groups, 1)  # gathered as if in one group
    pieces = bands(oh, n, (rows.size + 2 * ow * oc) * x.itemsize)
    shape = (kw, kh, groups, oc // groups)
    parts = np.zeros((part_count(len(pieces), oc * kh * kw * x.itemsize), *shape), x.dtype)

    def piece(i: int) -> None:
        for band in pieces[i :: len(parts)]:
            dys = gradient[band.top : band.bottom, :, :, band.first : band.last]
            dys = dys.reshape(band.rows, ow, *shape[2:], band.images)
            windows = rows.windows(memory, band)[0, :, :, 0]
            windows = windows.reshape(band.rows, ow, kw, kh, groups, 1, band.images)
            ones = np.ones((1, ow), x.dtype)
            product = scratch("products", dys.shape, x.dtype)
            for j, k in np.ndindex(kw, kh):
                np.multiply(windows[:, :, j, k], dys, out=product)
                lines = np.matmul(ones, product.reshape(band.rows, ow, oc * band.images))
                parts[i, j, k] += reduction.total(lines.reshape(-1, *dys.shape[2:]), (0, 3))

    threads.run(piece, len(parts), dy.size * kh * kw)
    dw = parts.sum(axis=0)  # (KW, KH, C, M)
    return np.ascontiguousarray(dw.transpose(2, 3, 1, 0)).reshape(oc, 1, kh, kw)
