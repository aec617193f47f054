"""Sums over some axes of arrays in any memory order, with a rounding error that grows by log n.

NumPy adds in pairs along the axis that is fastest in memory, which costs log n roundings. Along any
other axis it adds row by row, n roundings: in float32 the sum of four million rows of 0.1 is 4 %
off. Here such rows are added in blocks of up to 16, then the sums of the blocks, and so on. So a
value goes through at most 4·log₂ n additions, the 15 of a block for each factor of 16.

Short rows that lie side by side in memory are added as one long row, which makes the sum of a
million rows of 3 values 30 times as fast as NumPy's. What is small is added by a product with ones:
that costs a third of a call of ``np.add.reduce``, and BLAS may add in any order, for no order of 16
values needs more than 15 additions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.engine.buffers import Array

BLOCK = 16  # values that are added one after the other
LONG = 1 << 12  # values of a row; longer ones are no faster to add
SMALL = 1 << 13  # values up to which BLAS multiplies in one thread of its own accord

Axes: TypeAlias = int | tuple[int, ...] | None
Shape: TypeAlias = tuple[int, ...]

_add: Any = np.add.reduce


def total(x: Array, axis: Axes = None, keepdims: bool = False) -> Any:
    """Return the sum of `x` over `axis`, as ``np.sum`` does but for the rounding.

    The error is at most 4·log₂ n roundings of Σ|x|, with n the number of values in a sum. float16
    is added in float32, and the sum rounded to float16.
    """
    kind = x.dtype.char
    if kind not in "fdgFDG" or not x.dtype.isnative:
        if x.dtype.kind not in "fc":
            return np.sum(x, axis=axis, keepdims=keepdims)
        return total(_wide(x), axis, keepdims).astype(x.dtype.newbyteorder("="))
    plan = _plan(x.shape, x.strides, axis, kind)
    if plan is None:
        return _add(x, axis=axis, keepdims=keepdims)
    if plan.order is not None:
        x = x.transpose(plan.order)
    x = _stepped(x, plan.steps)
    if plan.back is not None:
        x = x.reshape(plan.kept).transpose(plan.back)
    if keepdims:
        return x.reshape(plan.with_ones)
    return x if x.ndim else x[()]


def average(x: Array, axis: Axes = None, keepdims: bool = False) -> Any:
    """Return the mean of `x` over `axis`: `total` over the number of values in a sum."""
    if x.dtype.char == "e":
        return average(_wide(x), axis, keepdims).astype(np.float16)
    summed = total(x, axis, keepdims)
    return summed / summed.dtype.type(x.size // max(1, summed.size))


def _wide(x: Array) -> Array:
    """Return `x` in a dtype of this machine with the range and precision of float32 at least."""
    return x.astype(np.promote_types(x.dtype, np.float32))


def added(arrays: Sequence[Array]) -> Array:
    """Return the sum of `arrays`, as exact as `total`, in new memory in the order of theirs."""
    if len(arrays) > BLOCK:
        return added([added(arrays[k : k + BLOCK]) for k in range(0, len(arrays), BLOCK)])
    first, *others = arrays
    summed = first.copy(order="K")
    for array in others:
        summed += array
    return summed


def add_at(x: Array, positions: NDArray[np.integer[Any]], size: int) -> Array:
    """Return `size` zeros with each value of the vector `x` added at its position.

    Added in float64: however many values a position gets, in float32 none of it is lost.
    """
    if x.dtype.kind == "c":
        both = [add_at(part, positions, size) for part in (x.real, x.imag)]
        return np.stack(both, axis=-1).view(x.dtype).reshape(size)
    out = np.zeros(size, x.dtype)
    if x.dtype.kind != "f":
        np.add.at(out, positions, x)
    elif size > max(4 * LONG, 4 * x.size):  # most would stay 0
        cells, positions = np.unique(positions, return_inverse=True)
        out[cells] = np.bincount(positions, x, len(cells))
    else:
        out[...] = np.bincount(positions, x, size)
    return out


class _Step(NamedTuple):
    """To sum an array, its axes in the order of memory, over one axis or over blocks of one."""

    shape: Shape  # the array's, reshaped so that a block is an axis
    axis: int
    ones: Array | None  # where it is a product with these


class _Cut(NamedTuple):
    """To sum an array over an axis that blocks do not divide: in two parts."""

    shape: Shape
    parts: list[tuple[tuple[slice, ...], _Steps]]


_Steps: TypeAlias = "tuple[_Step | _Cut, ...]"


class _Plan(NamedTuple):
    """How to sum an array of given shape and strides."""

    order: Shape | None  # the axes, the slowest in memory first; None if they are so
    steps: _Steps
    kept: Shape  # the lengths of the axes that are left, in that order,
    back: Shape | None  # and how to permute them; None if nothing is to be done
    with_ones: Shape  # the shape of the result with keepdims


def _stepped(x: Array, steps: _Steps) -> Array:
    """Return what `steps` make of `x`."""
    for step in steps:
        x = x.reshape(step.shape)
        if isinstance(step, _Cut):
            first, rest = [_stepped(x[part], then) for part, then in step.parts]
            first += rest
            x = first
        elif step.ones is not None:
            x = np.dot(step.ones, x)
        else:
            x = _add(x, axis=step.axis)
    return x


@lru_cache(maxsize=1024)
def _plan(shape: Shape, strides: Shape, axis: Axes, kind: str) -> _Plan | None:
    """Return how to sum; None where NumPy does it well, or has to refuse it."""
    ndim = len(shape)
    axes = range(ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    summed = {k % ndim for k in axes if -ndim <= k < ndim}
    if len(summed) < len(axes) or 0 in shape or math.prod(shape[k] for k in summed) <= BLOCK:
        return None
    order = tuple(sorted(range(ndim), key=lambda k: -abs(strides[k])))
    runs: list[list[int]] = []  # neighbours in memory that are both summed, or both kept
    contiguous, previous = True, 0
    for k in order:
        if shape[k] == 1:
            continue
        near = bool(runs) and strides[previous] == shape[k] * strides[k]
        if near and (k in summed) == (previous in summed):
            runs[-1].append(k)
        else:
            contiguous = contiguous and (near or not runs)
            runs.append([k])
        previous = k
    contiguous = contiguous and strides[previous] == np.dtype(kind).itemsize
    in_order = order == tuple(range(ndim))
    is_summed = [run[0] in summed for run in runs]
    if in_order and is_summed in ([True], [False, True]):
        return None
    lengths = [math.prod(shape[k] for k in run) for run in runs]
    steps: list[_Step | _Cut] = []
    while True in is_summed:
        at = is_summed.index(True)
        steps += _over(tuple(lengths), at, np.dtype(kind), contiguous or bool(steps))
        del lengths[at], is_summed[at]
    left = [k for k in order if k not in summed]
    kept = tuple(shape[k] for k in left)
    back = tuple(left.index(k) for k in sorted(left))
    with_ones = tuple(1 if k in summed else n for k, n in enumerate(shape))
    done = back == tuple(range(len(left))) and kept == tuple(lengths)
    return _Plan(None if in_order else order, tuple(steps), kept, None if done else back, with_ones)


def _over(shape: Shape, axis: int, dtype: np.dtype[Any], contiguous: bool) -> _Steps:
    """Return how to sum an array of `shape` over `axis`."""
    n, before, behind = shape[axis], shape[:axis], shape[axis + 1 :]
    row = math.prod(behind)
    small = contiguous and axis == 0 and n * row <= SMALL
    if n <= BLOCK or not behind:
        if small and len(behind) == 1:
            return (_Step((n, row), 0, np.ones(n, dtype)),)
        return (_Step(shape, axis, None),)
    longest = max(1, LONG // row)
    for block in range(BLOCK, BLOCK // 2 - 1, -1):  # one that divides n, if there is
        side = _divisor(n // block, longest)  # rows that are taken for one
        if n % block == 0 and 2 * side > min(longest, n // block):
            blocks = n // block // side
            then = _over((*before, n // block, *behind), axis, dtype, True)
            if small and blocks == 1:
                return (_Step((block, side * row), 0, np.ones(block, dtype)), *then)
            return (_Step((*before, blocks, block, side, *behind), axis + 1, None), *then)
    rest = n % (BLOCK * min(longest, n // BLOCK))
    parts = []
    for part in (slice(n - rest), slice(n - rest, n)):
        length = part.stop - (part.start or 0)
        then = _over((*before, length, *behind), axis, dtype, contiguous)
        parts.append(((*(slice(None),) * axis, part), then))
    return (_Cut(shape, parts),)


def _divisor(n: int, most: int) -> int:
    """Return the largest divisor of `n` up to `most`."""
    return next(k for k in range(min(n, most), 0, -1) if n % k == 0)
