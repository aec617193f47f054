"""Convolution and its two gradients by their definition, as loops.

With stride s, padding p, dilation d and groups of C channels, each term of the three sums joins

    the output  y[n, o, i, j],
    the weight  w[o, c, k, l]  and
    the pixel   x[n, c₀ + c, i·s + k·d − p, j·s + l·d − p]

with c₀ the first channel of the group of o. Pixels outside the image are 0 and have no term. The
sums over all terms are

    y[output]  = Σ  w[weight] · x[pixel]
    dw[weight] = Σ dy[output] · x[pixel]           ∂y[output] / ∂w[weight] = x[pixel]
    dx[pixel]  = Σ dy[output] · w[weight]          ∂y[output] / ∂x[pixel]  = w[weight]

The loops run over g, i, j, k and l. The terms of all images n, and of the channels o and c of the
group g, are matrix products: y (N, O), w (O, C), x (N, C).

Nothing in the package computes with it: it is there to be read, and tests compare with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import TypeAlias

import numpy as np

from tinygrad_cnn.engine.arrays import Array, Shape
from tinygrad_cnn.engine.windows import Padding, Pair

Terms: TypeAlias = tuple[slice, slice, int, int]


def conv2d(
    x: Array,
    w: Array,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Array:
    """Return the convolution of `x` (N, C·G, H, W) with `w` (OC, C, KH, KW), in float64.

    Examples
    --------
    >>> import numpy as np
    >>> conv2d(np.array([[[[1.0, 2.0, 4.0]]]]), np.array([[[[-1.0, 1.0]]]]))
    array([[[[1., 2.]]]])
    """
    (OH, _), (OW, _) = _axes(x.shape, w.shape, stride, padding, dilation)
    x, w, y = np.asarray(x, float), np.asarray(w, float), np.zeros((len(x), len(w), OH, OW))
    for output, weight, pixel in terms(x.shape, w.shape, stride, padding, dilation, groups):
        y[output] += x[pixel] @ w[weight].T
    return y


def conv2d_weight_gradient(
    dy: Array,
    x: Array,
    shape: Shape,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Array:
    """Return the gradient of weights of `shape` (OC, C, KH, KW), in float64.

    Examples
    --------
    >>> import numpy as np
    >>> dy, x = np.array([[[[1.0, 10.0]]]]), np.array([[[[1.0, 2.0, 4.0]]]])
    >>> conv2d_weight_gradient(dy, x, (1, 1, 1, 2))
    array([[[[21., 42.]]]])
    """
    dy, x, dw = np.asarray(dy, float), np.asarray(x, float), np.zeros(shape)
    for output, weight, pixel in terms(x.shape, shape, stride, padding, dilation, groups):
        dw[weight] += dy[output].T @ x[pixel]
    return dw


def conv2d_input_gradient(
    dy: Array,
    w: Array,
    shape: Shape,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Array:
    """Return the gradient of images of `shape` (N, C·G, H, W), in float64.

    Examples
    --------
    >>> import numpy as np
    >>> dy, w = np.array([[[[1.0, 10.0]]]]), np.array([[[[-1.0, 1.0]]]])
    >>> conv2d_input_gradient(dy, w, (1, 1, 1, 3))
    array([[[[-1., -9., 10.]]]])
    """
    dy, w, dx = np.asarray(dy, float), np.asarray(w, float), np.zeros(shape)
    for output, weight, pixel in terms(shape, w.shape, stride, padding, dilation, groups):
        dx[pixel] += dy[output] @ w[weight]
    return dx


def terms(
    x: Shape, w: Shape, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Iterator[tuple[Terms, Terms, Terms]]:
    """Yield the indices of outputs, weights and pixels that form terms, each once.

    `x` and `w` are the shapes of images and weights.
    """
    (_, rows), (_, columns) = _axes(x, w, stride, padding, dilation)
    every, OC, C = slice(None), w[0] // groups, w[1]
    for g, (i, k, row), (j, m, column) in product(range(groups), rows, columns):
        o, c = slice(g * OC, (g + 1) * OC), slice(g * C, (g + 1) * C)
        yield (every, o, i, j), (o, every, k, m), (every, c, row, column)


def _axes(
    x: Shape, w: Shape, stride: Pair, padding: Padding, dilation: Pair
) -> list[tuple[int, list[tuple[int, int, int]]]]:
    """Return per axis the number of outputs, and (output, cell, pixel) for all pixels they read."""
    axes = []
    for axis, (size, kernel) in enumerate(zip(x[2:], w[2:], strict=True)):
        s, d = (v if isinstance(v, int) else v[axis] for v in (stride, dilation))
        spread = d * (kernel - 1)
        if isinstance(padding, str):
            count = -(-size // s) if padding == "same" else (size - spread - 1) // s + 1
            before = max((count - 1) * s + spread + 1 - size, 0) // 2
        else:
            border = padding if isinstance(padding, int) else padding[axis]
            before, after = (border, border) if isinstance(border, int) else border
            count = (before + size + after - spread - 1) // s + 1
        cells = product(range(count), range(kernel))
        reads = [(i, k, i * s + k * d - before) for i, k in cells]
        axes.append((count, [read for read in reads if 0 <= read[2] < size]))
    return axes
