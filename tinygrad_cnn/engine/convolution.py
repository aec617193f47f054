"""Convolution and its two gradients as matrix products over gathered columns.

With G groups, K = (C/G)·KH·KW and P = OH·OW, an image becomes the matrix of its windows,

    columns : (N, G, K, P)      columns[n, g, (c, i, j), (oh, ow)] = x[n, (g, c), cell under (i, j)]

gathered by one slice copy per kernel offset (i, j). Then, as batched products,

    y            (N, G, OC/G, P) = w (G, OC/G, K) · columns
    dw           (G, OC/G, K)    = Σ_n  dy · columnsᵀ
    dx's columns (N, G, K, P)    = wᵀ · dy,   added back to the cells they were gathered from.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from tinygrad_cnn.engine.windows import Windows

Array: TypeAlias = np.ndarray[Any, Any]


def forward(x: Array, w: Array, at: Windows, groups: int) -> Array:
    """Return the convolution of `x` (N, C, H, W) with `w` (OC, C/G, KH, KW): (N, OC, OH, OW)."""
    n, oc = x.shape[0], w.shape[0]
    y = np.matmul(_matrices(w, groups), _gather(x, at, groups))
    return y.reshape(n, oc, *at.count)


def weight_gradient(dy: Array, x: Array, at: Windows, groups: int) -> Array:
    """Return the gradient (OC, C/G, KH, KW) of the weights, from `dy` (N, OC, OH, OW)."""
    n, oc = dy.shape[:2]
    c = x.shape[1]
    rows = dy.reshape(n, groups, oc // groups, -1)
    dw = np.matmul(rows, _gather(x, at, groups).swapaxes(-1, -2)).sum(axis=0)
    return dw.reshape(oc, c // groups, *at.kernel)


def input_gradient(dy: Array, w: Array, at: Windows, groups: int) -> Array:
    """Return the gradient (N, C, H, W) of the image, from `dy` (N, OC, OH, OW)."""
    n, oc = dy.shape[:2]
    c = w.shape[1] * groups
    rows = dy.reshape(n, groups, oc // groups, at.count[0] * at.count[1])
    columns = np.matmul(_matrices(w, groups).swapaxes(-1, -2), rows)
    columns = columns.reshape(n, c, *at.kernel, *at.count)
    padded = np.zeros((n, c, at.rows.padded, at.columns.padded), columns.dtype)
    for i, j, cells in at.offsets():
        padded[cells] += columns[:, :, i, j]
    return np.ascontiguousarray(at.crop(padded))


def _matrices(w: Array, groups: int) -> Array:
    """Return the kernels as one matrix a group: (OC, C/G, KH, KW) → (G, OC/G, K)."""
    return w.reshape(groups, w.shape[0] // groups, w.shape[1] * w.shape[2] * w.shape[3])


def _gather(x: Array, at: Windows, groups: int) -> Array:
    """Return the windows of `x` as columns: (N, C, H, W) → (N, G, K, P)."""
    n, c = x.shape[:2]
    padded = at.pad(x)
    columns = np.empty((n, c, *at.kernel, *at.count), x.dtype)
    for i, j, cells in at.offsets():
        columns[:, :, i, j] = padded[cells]
    k = c // groups * at.kernel[0] * at.kernel[1]
    return columns.reshape(n, groups, k, at.count[0] * at.count[1])
