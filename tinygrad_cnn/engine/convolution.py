"""Convolution and its two gradients as matrix products over gathered columns.

Memory is laid out as (C, H, W, N): the images of the API, (N, C, H, W), are a transposed view of
it, which elementwise ops keep. So each slice that is copied has runs of at least N values, and no
result needs to be put in order. With G groups, K = (C/G)·KH·KW and P = OH·OW·N,

    columns : (G, K, P)      columns[g, (c, i, j), (oh, ow, n)] = x[n, (g, c), cell under (i, j)]

is gathered by one slice copy per kernel offset (i, j). Then

    y            (G, OC/G, P) = w (G, OC/G, K) · columns
    dw           (G, OC/G, K) = dy (G, OC/G, P) · columnsᵀ
    dx's columns (G, K, P)    = wᵀ · dy,   added back to the cells they were gathered from.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.engine.threads import matmul
from tinygrad_cnn.engine.windows import Windows

Array = NDArray[Any]


def forward(x: Array, w: Array, bias: Array | None, at: Windows, groups: int) -> Array:
    """Return the convolution of `x` (N, C, H, W) with `w` (OC, C/G, KH, KW): (N, OC, OH, OW)."""
    n, oc = x.shape[0], w.shape[0]
    y = matmul(_matrices(w, groups), _gather(x, at, groups))
    y = y.reshape(oc, *at.count, n)
    if bias is not None:
        column = bias.reshape(-1, 1, 1, 1)
        y = np.add(y, column, out=y if y.dtype == bias.dtype else None)
    return _images(y)


def weight_gradient(dy: Array, x: Array, at: Windows, groups: int) -> Array:
    """Return the gradient (OC, C/G, KH, KW) of the weights, from `dy` (N, OC, OH, OW)."""
    oc, c = dy.shape[1], x.shape[1]
    dw = matmul(_rows(dy, groups), _gather(x, at, groups).swapaxes(-1, -2))
    return dw.reshape(oc, c // groups, *at.kernel)


def input_gradient(dy: Array, w: Array, at: Windows, groups: int) -> Array:
    """Return the gradient (N, C, H, W) of the image, from `dy` (N, OC, OH, OW)."""
    n, c = dy.shape[0], w.shape[1] * groups
    columns = matmul(_matrices(w, groups).swapaxes(-1, -2), _rows(dy, groups))
    columns = columns.reshape(c, *at.kernel, *at.count, n)
    dx = np.zeros((c, at.rows.padded, at.columns.padded, n), columns.dtype)
    padded = _images(dx)
    for i, j, cells in at.offsets():
        padded[cells] += _images(columns[:, i, j])
    return at.crop(padded)


def _matrices(w: Array, groups: int) -> Array:
    """Return the kernels as one matrix a group: (OC, C/G, KH, KW) → (G, OC/G, K)."""
    return w.reshape(groups, w.shape[0] // groups, w.shape[1] * w.shape[2] * w.shape[3])


def _images(memory: Array) -> Array:
    """Return the API's view of memory: (C, H, W, N) → (N, C, H, W)."""
    return memory.transpose(3, 0, 1, 2)


def _memory(images: Array) -> Array:
    """Return images in memory order, a copy only if they are not: (N, C, H, W) → (C, H, W, N)."""
    return np.ascontiguousarray(images.transpose(1, 2, 3, 0))


def _rows(dy: Array, groups: int) -> Array:
    """Return an output's gradient as one matrix a group: (N, OC, OH, OW) → (G, OC/G, P)."""
    n, oc, oh, ow = dy.shape
    return _memory(dy).reshape(groups, oc // groups, oh * ow * n)


def _gather(x: Array, at: Windows, groups: int) -> Array:
    """Return the windows of `x` as columns: (N, C, H, W) → (G, K, P)."""
    n, c = x.shape[:2]
    padded = _images(np.zeros((c, at.rows.padded, at.columns.padded, n), x.dtype))
    at.crop(padded)[...] = x
    columns = np.empty((c, *at.kernel, *at.count, n), x.dtype)
    for i, j, cells in at.offsets():
        _images(columns[:, i, j])[...] = padded[cells]
    k = c // groups * at.kernel[0] * at.kernel[1]
    return columns.reshape(groups, k, at.count[0] * at.count[1] * n)
