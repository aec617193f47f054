"""Depthwise convolution of many images: each channel a product with a Toeplitz matrix.

A depthwise product has one row per output and KH·KW terms: too small for BLAS. So T neighboring
outputs of a row are computed at once. They read KH rows of I = (T − 1)·stride + KW columns, and

    y[oh, T columns, c] (T, N)  =  M[c] (T, KH·I) · x[KH rows, I columns, c] (KH·I, N)

with a Toeplitz matrix per channel, M[c, t, k, t·stride + l] = w[c, k, l], and zero elsewhere. The
columns of the border are left out of M, and kernel rows on the border out of the product.

In the images-last layout the pixels of a channel have one stride. So if I is the width of the
image, or KH = 1, the operand is a view of the image, and otherwise of a copy of the I columns.

A zero of M times an infinite or NaN value is NaN. It makes every output of the T infinite or NaN,
so one of them is checked, and if it is, the convolution is computed by `direct` instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinygrad_cnn.engine import threads
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.bands import image_blocks
from tinygrad_cnn.engine.convolution import depthwise_few, direct
from tinygrad_cnn.engine.convolution.depthwise_gradient import WIDE, weight_gradient
from tinygrad_cnn.engine.convolution.strips import (
    IMAGES,
    Rows,
    cells_read,
    operand,
    outputs_at_once,
    pieces_of,
)
from tinygrad_cnn.engine.layout import Layout
from tinygrad_cnn.engine.memory import view
from tinygrad_cnn.engine.windows import Windows

__all__ = ["convolve", "layout", "takes", "weight_gradient"]

layout = Layout.IMAGES_LAST


def takes(channels: int, at: Windows, groups: int, dtype: np.dtype[Any]) -> bool:
    """Return whether a convolution is depthwise, and of a kind that is computed here."""
    return (
        groups == channels > 1
        and dtype.char in "fd"  # BLAS multiplies them
        and at.rows.dilation == at.columns.dilation == 1
    )


def convolve(x: Array, w: Array, bias: Array | None, at: Windows, groups: int, out: Array) -> None:
    """Write the convolution of images `x` with `w` (m·C, 1, KH, KW), plus `bias`, to `out`."""
    if len(x) < WIDE:
        depthwise_few.add_rows(x, w, bias, at, layout, out)
        return
    memory, target = layout.memory(layout.arranged(x)), layout.memory(out)
    (oh, ow, oc, n), c = target.shape, groups
    target = view(target, (oh, ow, c, oc // c, n))
    width = outputs_at_once(at.columns)
    matrices = _toeplitz(w.reshape(c, oc // c, *at.kernel), width, at.columns.stride)
    blocks = image_blocks(n, IMAGES)
    pieces = pieces_of(at, width, c, blocks[0][1], x.itemsize)
    added = None if bias is None else np.repeat(bias, blocks[0][1]).reshape(c, oc // c, -1)
    finite = [True] * (len(pieces) * len(blocks))

    def piece(i: int) -> None:
        (strip, rows, (low, high)), (first, last) = (
            pieces[i // len(blocks)],
            blocks[i % len(blocks)],
        )
        y = target[:, strip.first : strip.last, low:high, :, first:last]
        offset = strip.offset(at.columns)
        matrix = matrices[low:high, :, : strip.last - strip.first, :, offset : offset + strip.width]
        x, top = cells_read(memory[..., low:high, first:last], at, strip, rows)
        with np.errstate(invalid="ignore"):  # of an infinite value and a zero of M
            for part in rows:
                _products(x, top, matrix, at, part, y)
        y = y[rows[0].top : rows[-1].bottom]
        finite[i] = bool(np.isfinite(y[:, 0]).all())
        if added is not None:
            y += added[low:high, :, : last - first]

    threads.run(piece, len(finite), out.size * at.rows.kernel * matrices.shape[-1])
    if not all(finite):
        direct.convolve(x, w, bias, at, groups, out)


def _toeplitz(w: Array, width: int, stride: int) -> Array:
    """Return M, (C, m, T, KH, I), of kernels (C, m, KH, KW)."""
    c, m, kh, kw = w.shape
    matrices = np.zeros((c, m, width, kh, (width - 1) * stride + kw), w.dtype)
    channel, one, output, row, column = matrices.strides
    diagonals = as_strided(
        matrices, (c, m, width, kh, kw), (channel, one, output + stride * column, row, column)
    )
    diagonals[...] = w[:, :, np.newaxis]
    return matrices


def _products(x: Array, top: int, matrix: Array, at: Windows, part: Rows, y: Array) -> None:
    """Write the products of some output rows, which read `x` from row `top` on, to `y`."""
    out = y[part.top : part.bottom]
    if part.start >= part.stop or x.shape[1] == 0:
        out[...] = 0
        return
    kernels = matrix[..., part.start : part.stop, :]
    kernels = kernels.reshape(*kernels.shape[:3], -1)  # (C, m, T, KH·I)
    np.matmul(kernels, operand(x, top, at, part), out=out.transpose(0, 2, 3, 1, 4))
