"""The gradient of a convolution for its image, as convolutions of stride 1 with flipped kernels.

Along one axis, output o reads cell i = o·s − p + k·d with kernel cell k. So what flows to cell i,

    dx[i] = Σ over k of  dy[(i + p − k·d) / s] · w[k],   over the k for which s divides i + p − k·d,

depends on the phase r = (i + p) mod s. With g = gcd(s, d), a phase that g does not divide gets
nothing; for the others the right k are k₀, k₀ + s/g, k₀ + 2·s/g …, and each of them looks d/g
outputs further back. So the cells of one phase are a convolution of dy, of stride 1 and dilation
d/g, with those kernel cells in reverse order. With s = 1 there is one phase, the whole kernel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

from tinygrad_cnn.engine.layout import Array
from tinygrad_cnn.engine.windows import Axis, Windows


@dataclass(frozen=True, slots=True)
class Phase:
    """Cells of one phase, the kernel cells that reach them, and the windows on dy they make."""

    cells: slice
    kernel: slice
    axis: Axis | None  # None where no kernel cell reaches


@lru_cache(maxsize=1024)
def phases(axis: Axis) -> tuple[Phase, ...]:
    """Return the phases of the cells of `axis`."""
    return tuple(_phases(axis))


def _phases(axis: Axis) -> Iterator[Phase]:
    s, p, d = axis.stride, axis.before, axis.dilation
    g = math.gcd(s, d)
    for first in range(min(s, axis.size)):
        cells = slice(first, axis.size, s)
        start = next((k for k in range(axis.kernel) if (first + p - k * d) % s == 0), None)
        if start is None:
            yield Phase(cells, slice(0, 0), None)
            continue
        kernel = slice(start, axis.kernel, s // g)
        length = len(range(axis.kernel)[kernel])
        nearest = (first + p - start * d) // s  # the output that `start` joins with cell `first`
        before = (length - 1) * (d // g) - nearest  # flipped, the window starts at its last cell
        count = len(range(axis.size)[cells])
        reach = (count - 1) + (d // g) * (length - 1) + 1
        after = reach - before - axis.windows
        yield Phase(cells, kernel, Axis(axis.windows, length, 1, d // g, before, after, count))


def parts(
    w: Array, at: Windows, groups: int
) -> Iterator[tuple[tuple[slice, slice], Array | None, Windows | None]]:
    """Yield cells of dx, the kernels (C, OC/G, ·, ·) to convolve dy with for them, and where."""
    oc, c, kh, kw = w.shape
    turned = w.reshape(groups, oc // groups, c, kh, kw).swapaxes(1, 2)
    turned = turned.reshape(groups * c, oc // groups, kh, kw)
    for row, column in product(phases(at.rows), phases(at.columns)):
        cells = (row.cells, column.cells)
        if row.axis is None or column.axis is None:
            yield cells, None, None
            continue
        kernels = turned[:, :, row.kernel, column.kernel][:, :, ::-1, ::-1]
        yield cells, np.ascontiguousarray(kernels), Windows(row.axis, column.axis)
