"""The input gradient of a convolution, as convolutions of stride 1 with flipped kernels.

Along one axis, output o reads cell i = o·s − p + k·d with kernel cell k. So the gradient of cell i,

    dx[i] = Σ over k of  dy[(i + p − k·d) / s] · w[k],   over the k for which s divides i + p − k·d,

depends on the phase r = (i + p) mod s. With g = gcd(s, d), a phase not divisible by g has gradient
0. For the others, k runs over k₀, k₀ + s/g, k₀ + 2·s/g …, each step reading d/g outputs further
back. So the cells of one phase are a convolution of dy, with stride 1 and dilation d/g, by those
kernel cells in reverse order. With s = 1 there is one phase: the whole kernel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.windows import WindowAxis, Windows


@dataclass(frozen=True, slots=True)
class Phase:
    """The cells of one phase, the kernel cells that reach them, and the windows on dy."""

    cells: slice
    kernel: slice
    axis: WindowAxis | None  # None if no kernel cell reaches them


@lru_cache(maxsize=1024)
def phases(axis: WindowAxis) -> tuple[Phase, ...]:
    """Return the phases of the cells of `axis`."""
    return tuple(_phases(axis))


def _phases(axis: WindowAxis) -> Iterator[Phase]:
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
        nearest = (first + p - start * d) // s  # the output that reads cell `first` with `start`
        before = (length - 1) * (d // g) - nearest  # the flipped window starts at its last cell
        count = len(range(axis.size)[cells])
        reach = (count - 1) + (d // g) * (length - 1) + 1
        after = reach - before - axis.windows
        yield Phase(
            cells, kernel, WindowAxis(axis.windows, length, 1, d // g, before, after, count)
        )


def phase_convolutions(
    w: Array, at: Windows, groups: int
) -> Iterator[tuple[tuple[slice, slice], Array | None, Windows | None]]:
    """Yield the cells of dx per phase, their kernels (C, OC/G, ·, ·), a view, and the windows."""
    oc, c, kh, kw = w.shape
    turned = w.reshape(groups, oc // groups, c, kh, kw).swapaxes(1, 2)
    turned = turned.reshape(groups * c, oc // groups, kh, kw)
    for row, column in product(phases(at.rows), phases(at.columns)):
        cells = (row.cells, column.cells)
        if row.axis is None or column.axis is None:
            yield cells, None, None
            continue
        kernels = turned[:, :, row.kernel, column.kernel][:, :, ::-1, ::-1]
        yield cells, kernels, Windows(row.axis, column.axis)
