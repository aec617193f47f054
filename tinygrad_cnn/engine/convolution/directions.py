"""Convolution and its two gradients, computed by the algorithm that `algorithm` chooses."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.convolution import (
    depthwise,
    depthwise_compiled,
    direct,
    im2col,
    input_gradient_apart,
    input_gradient_rows,
    input_gradient_shared,
    winograd_compiled,
)
from tinygrad_cnn.engine.convolution.algorithm import adds_rows, choose, choose_weight_gradient
from tinygrad_cnn.engine.convolution.input_gradient_phases import phase_convolutions
from tinygrad_cnn.engine.convolution.input_gradient_shared import shared_windows
from tinygrad_cnn.engine.windows import Windows


def forward(x: Array, w: Array, bias: Array | None, at: Windows, groups: int) -> Array:
    """Return the convolution of `x` (N, C, H, W) with `w` (OC, C/G, KH, KW): (N, OC, OH, OW)."""
    dtype = np.result_type(x, w) if bias is None else np.result_type(x, w, bias)
    way = choose(x.shape[0], x.shape[1], w.shape[0], at, groups, dtype)
    y = way.layout.empty((x.shape[0], w.shape[0], *at.count), dtype)
    if way is depthwise and depthwise_compiled.takes(w.shape[0], groups, y):
        way = depthwise_compiled
    if y.size:
        way.convolve(*_of(dtype, x, w, bias), at, groups, out=y)
    return y


def weight_gradient(dy: Array, x: Array, at: Windows, groups: int) -> Array:
    """Return the weight gradient (OC, C/G, KH, KW), given `dy` (N, OC, OH, OW)."""
    n, oc, c = x.shape[0], dy.shape[1], x.shape[1]
    dtype = np.result_type(dy, x)
    if n == 0:
        return np.zeros((oc, c // groups, *at.kernel), dtype)
    way = choose_weight_gradient(n, c, oc, at, groups, dtype)
    dy, x, _ = _of(dtype, dy, x, None)
    if way is depthwise and depthwise_compiled.takes(oc, groups, x):
        way = depthwise_compiled
    return way.weight_gradient(dy, x, at, groups)


def input_gradient(dy: Array, w: Array, at: Windows, groups: int) -> Array:
    """Return the input gradient (N, C, H, W), given `dy` (N, OC, OH, OW)."""
    n, oc, c = dy.shape[0], w.shape[0], w.shape[1] * groups
    dtype = np.result_type(dy, w)
    dy, w, _ = _of(dtype, dy, w, None)
    way = choose(n, oc, c, at, groups, dtype)
    dx = way.layout.empty((n, c, at.rows.size, at.columns.size), dtype)  # shared by all parts
    if way is depthwise and depthwise_compiled.takes(oc, groups, dx):
        depthwise_compiled.input_gradient(dy, w, at, groups, dx)
        return dx
    deep = way is im2col and im2col.is_deep(n, oc, at, groups)
    if n and not deep and input_gradient_apart.takes(at, groups):
        input_gradient_apart.input_gradient(dy, w, at, way.layout, dx)
        return dx
    if n and way is not winograd_compiled and adds_rows(c, at, groups):
        input_gradient_rows.input_gradient(dy, w, at, way, dx)
        return dx
    if n and deep:
        im2col.input_gradient(dy, w, at, dx)
        return dx
    shared = shared_windows(at) if n and groups == 1 and way is direct else None
    if shared is not None and choose(n, oc, c, shared, 1, dtype) is direct:
        input_gradient_shared.input_gradient(dy, w, at, shared, dx)
        return dx
    for (rows, columns), kernels, windows in phase_convolutions(w, at, groups):
        cells = dx[:, :, rows, columns]
        if kernels is None or windows is None:
            cells[...] = 0
        elif cells.size:
            way = choose(n, oc, c, windows, groups, dtype)
            way.convolve(dy, kernels, None, windows, groups, out=cells)
    return dx


def _of(
    dtype: np.dtype[Any], a: Array, b: Array, c: Array | None
) -> tuple[Array, Array, Array | None]:
    """Convert arrays to `dtype`, without a copy if they have it."""
    a, b = a.astype(dtype, copy=False), b.astype(dtype, copy=False)
    return a, b, None if c is None else c.astype(dtype, copy=False)
