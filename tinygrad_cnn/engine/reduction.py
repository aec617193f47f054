"""Sums over some axes of arrays in any memory order."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.engine.buffers import LARGE, Array


def total(x: Array, axis: int | tuple[int, ...] | None, keepdims: bool) -> Any:
    """Return the sum of `x` over `axis`.

    One axis after the other, the slowest in memory first: each pass then adds whole rows, and no
    value is the sum of more than one axis's length at a time, which keeps rounding small.
    """
    if axis is None or not isinstance(axis, tuple) or len(axis) < 2 or x.nbytes < LARGE:
        return np.sum(x, axis=axis, keepdims=keepdims)
    axes = {k % x.ndim for k in axis}
    for k in sorted(axes, key=lambda k: -abs(x.strides[k])):
        x = np.sum(x, axis=k, keepdims=True)
    return x if keepdims else x.reshape([n for k, n in enumerate(x.shape) if k not in axes])
