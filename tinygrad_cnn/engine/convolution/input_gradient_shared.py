"""The input gradient for kernels of a multiple of the stride: one gather for all phases.

With a kernel of L·s cells and stride s along an axis, let cell i have i + p = s·m + r, 0 ≤ r < s.
This is a special case of `input_gradient_phases`:

    dx[i] = Σ over u = 0 … L − 1 of  dy[m − u] · w[r + s·u]

so all s phases r read the same L outputs. Their windows are gathered once, for each position m, and
each phase takes one product of them and its kernels, written in place. A 4×4 kernel with stride 2
takes 1.2 to 1.3 times as long with a convolution for each phase.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from tinygrad_cnn.engine import threads
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.bands import bands
from tinygrad_cnn.engine.convolution.direct import small_products
from tinygrad_cnn.engine.convolution.kernel_rows import KernelRows
from tinygrad_cnn.engine.layout import Layout
from tinygrad_cnn.engine.memory import view
from tinygrad_cnn.engine.windows import WindowAxis, Windows

layout = Layout.IMAGES_LAST


@lru_cache(maxsize=1024)
def shared_windows(at: Windows) -> Windows | None:
    """Return the windows on dy that all phases share; None if they do not, or there is one."""
    axes = (at.rows, at.columns)
    regular = all(
        axis.dilation == 1 and axis.kernel % axis.stride == 0 and axis.before >= 0 for axis in axes
    )
    if not regular or all(axis.stride == 1 for axis in axes):
        return None
    return Windows(*(_shared(axis) for axis in axes))


def _shared(axis: WindowAxis) -> WindowAxis:
    length = axis.kernel // axis.stride
    border = length - 1
    return WindowAxis(axis.windows, length, 1, 1, border, border, axis.windows + border)


def input_gradient(dy: Array, w: Array, at: Windows, shared: Windows, dx: Array) -> None:
    """Write the input gradient to `dx` (N, C, H, W), given `dy` (N, OC, OH, OW)."""
    memory, target = layout.memory(layout.arranged(dy)), layout.memory(dx)
    (height, width, c, n), oc = target.shape, w.shape[0]
    steps, (lh, lw) = (at.rows.stride, at.columns.stride), shared.kernel
    # (OC, C, u, row phase, v, column phase) → (row phase, column phase, C, (v, u, OC)), flipped
    kernels = w.reshape(oc, c, lh, steps[0], lw, steps[1])[:, :, ::-1, :, ::-1]
    kernels = np.ascontiguousarray(kernels.transpose(3, 5, 1, 4, 2, 0)).reshape(*steps, c, -1)
    rows = KernelRows(shared, oc, 1)
    positions = shared.count
    cells = positions[1] * c * steps[0] * steps[1]
    pieces = bands(positions[0], n, (rows.size + cells) * dy.itemsize)
    # Cells beyond the last window have none.
    target[max(0, positions[0] * steps[0] - at.rows.before) :] = 0
    target[:, max(0, positions[1] * steps[1] - at.columns.before) :] = 0

    def piece(i: int) -> None:
        band = pieces[i]
        split, parts = small_products(band.images, c, kernels.shape[-1])
        windows = rows.windows(memory, band, split)[0]  # (rows, columns, split, K, q)
        for row, of_rows, to_rows in _cells(at.rows, band.top, band.bottom, height):
            for column, of_columns, to_columns in _cells(at.columns, 0, positions[1], width):
                y = target[to_rows, to_columns, :, band.first : band.last]
                shape = (*y.shape[:2], parts, c // parts, split, band.images // split)
                products = view(y, shape).transpose(0, 1, 4, 2, 3, 5)
                of_kernels = kernels[row, column].reshape(parts, c // parts, -1)
                seen = windows[of_rows, of_columns][:, :, :, np.newaxis]
                np.matmul(of_kernels, seen, out=products)

    threads.run(piece, len(pieces), dy.size * w[0].size)


def _cells(
    axis: WindowAxis, first: int, last: int, size: int
) -> Iterator[tuple[int, slice, slice]]:
    """Yield each phase, its positions from `first` to `last` with cells on the image, and those.

    The positions are relative to `first`.
    """
    s, p = axis.stride, axis.before
    for r in range(s):
        low = max(first, -((r - p) // s))  # s·m + r − p ≥ 0
        high = min(last, (size - 1 + p - r) // s + 1)
        if low < high:
            start = s * low + r - p
            yield r, slice(low - first, high - first), slice(start, s * (high - 1) + r - p + 1, s)
