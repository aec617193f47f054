"""The input gradient of a convolution for few channels: convolved along rows, added down columns.

With R the gathered kernel rows (see `kernel_rows`), the output is a product of kernels and windows
of R. So the gradients are

    R[oh, m, k, c] = Σ over o, j of  dy[oh, m − j, o] · w[o, c, k, j]
    dx[oh·stride + k·dilation − padding, m, c]  +=  R[oh, m, k, c]        for each kernel row k

The first is a convolution of dy with kernels of one row, from OC to KH·C channels (one convolution
per phase of the columns, see `input_gradient_phases`). The second is the adjoint of the gather. A
convolution along both axes has only C rows in its products, too few for BLAS if C is small, and
multiplies the zeros above and below dy. Here the products have KH·C rows and no such zeros, at the
cost of KH additions per value. A step of LeNet-5 with 64 images takes 1.15 times as long without.
"""

from __future__ import annotations

from functools import lru_cache

from tinygrad_cnn.engine import threads
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.bands import bands
from tinygrad_cnn.engine.convolution.algorithm import Algorithm
from tinygrad_cnn.engine.convolution.input_gradient_phases import phases
from tinygrad_cnn.engine.windows import WindowAxis, Windows, inside


def input_gradient(dy: Array, w: Array, at: Windows, way: Algorithm, dx: Array) -> None:
    """Write the input gradient to `dx` (N, C, H, W), given `dy` (N, OC, OH, OW).

    The convolution along rows is computed by `way`.
    """
    (oc, c, kh, _), (n, _, height, width) = w.shape, dx.shape
    turned = w.transpose(2, 1, 0, 3)  # (KH, C, OC, KW)
    parts = []
    for cells, kernel, windows in _along_columns(at):
        kernels = turned[..., kernel][..., ::-1].reshape(kh * c, oc, 1, -1)
        r = way.layout.empty((n, kh * c, *windows.count), dy.dtype)
        way.convolve(dy, kernels, None, windows, 1, out=r)
        parts.append((cells, r.reshape(n, kh, c, *windows.count)))
    pieces = bands(height, n, width * c * (1 + -(-kh // at.rows.stride)) * dx.itemsize)

    def piece(i: int) -> None:
        band = pieces[i]
        images = slice(band.first, band.last)
        dx[images, :, band.top : band.bottom] = 0
        for k, outputs, rows in _additions(at.rows, band.top, band.bottom):
            for cells, r in parts:
                dx[images, :, rows, cells] += r[images, k, :, outputs]

    threads.run(piece, len(pieces), kh * dx.size)


@lru_cache(maxsize=1024)
def _along_columns(at: Windows) -> tuple[tuple[slice, slice, Windows], ...]:
    """Return the columns of dx per phase, the kernel cells that reach them, and the windows."""
    row = WindowAxis(at.rows.windows, 1, 1, 1, 0, 0, at.rows.windows)
    return tuple(
        (phase.cells, phase.kernel, Windows(row, phase.axis))
        for phase in phases(at.columns)
        if phase.axis is not None
    )


@lru_cache(maxsize=1024)
def _additions(axis: WindowAxis, top: int, bottom: int) -> tuple[tuple[int, slice, slice], ...]:
    """Return per kernel row the outputs that read cells `top` to `bottom`, and those cells."""
    found = []
    for k in range(axis.kernel):
        offset = k * axis.dilation - axis.before
        first, last = inside(offset - top, axis.stride, bottom - top, 0, axis.windows)
        if first < last:
            start, stop = first * axis.stride + offset, (last - 1) * axis.stride + offset + 1
            found.append((k, slice(first, last), slice(start, stop, axis.stride)))
    return tuple(found)
