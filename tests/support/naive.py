"""Pooling as its definition reads: one loop an index (see `engine.convolution.reference`)."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np

from tinygrad_cnn.check.strategies.windows import both, sides

Array = np.ndarray[Any, Any]


def windows(
    size: tuple[int, int],
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
) -> tuple[list[list[int]], list[list[int]]]:
    """Return, for height and width, the cells under each window; those off the image as well.

    PyTorch's definition: the last window of `ceil_mode` starts on the image or the border before.
    """
    result = []
    steps = kernel_size if stride is None else stride
    borders = same(size, kernel_size, steps, dilation) if padding == "same" else sides(padding)
    for n, k, s, (p, after), d in zip(
        size, both(kernel_size), both(steps), borders, both(dilation), strict=True
    ):
        room = n + p + after - d * (k - 1) - 1
        count = (math.ceil(room / s) if ceil_mode else math.floor(room / s)) + 1
        if ceil_mode and (count - 1) * s >= n + p:
            count -= 1
        result.append([[o * s - p + i * d for i in range(k)] for o in range(count)])
    return result[0], result[1]


def same(size: Any, kernel_size: Any, stride: Any, dilation: Any) -> list[tuple[int, int]]:
    """Return the border of ⌈n / s⌉ windows, found by counting up; it grows at the end first."""
    found = []
    for n, k, s, d in zip(size, both(kernel_size), both(stride), both(dilation), strict=True):
        before = after = 0
        while (n + before + after - d * (k - 1) - 1) // s + 1 < math.ceil(n / s):
            before, after = (before, after + 1) if after <= before else (before + 1, after)
        found.append((before, after))
    return found


def maxpool(
    x: Array,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    wide_padding: bool = False,
) -> tuple[Array, Array]:
    """Return the maxima and, for the sum of them, the gradient that goes to the first maxima."""
    *lead, H, W = x.shape
    rows, columns = windows((H, W), kernel_size, stride, padding, dilation, ceil_mode)
    y = np.zeros((*lead, len(rows), len(columns)))
    gradient = np.zeros(x.shape)
    for *lead, i, j in np.ndindex(y.shape):
        inside = [(r, k) for r, k in product(rows[i], columns[j]) if 0 <= r < H and 0 <= k < W]
        winner = max(inside, key=lambda at: x[*lead, *at])  # the first, of equal ones
        y[*lead, i, j] = x[*lead, *winner]
        gradient[*lead, *winner] += 1
    return y, gradient


def avgpool(
    x: Array,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    wide_padding: bool = False,
) -> Array:
    """Return the mean under each window; what lies beyond the padding never counts."""
    *lead, H, W = x.shape
    rows, columns = windows((H, W), kernel_size, stride, padding, 1, ceil_mode)
    borders = same((H, W), kernel_size, stride, 1) if padding == "same" else sides(padding)
    (top, bottom), (left, right) = borders
    y = np.zeros((*lead, len(rows), len(columns)))
    for *at, i, j in np.ndindex(y.shape):
        cells = list(product(rows[i], columns[j]))
        inside = [(r, k) for r, k in cells if 0 <= r < H and 0 <= k < W]
        counted = [(r, k) for r, k in cells if -top <= r < H + bottom and -left <= k < W + right]
        total = sum(x[*at, r, k] for r, k in inside)
        y[*at, i, j] = total / len(counted if count_include_pad else inside)
    return y
