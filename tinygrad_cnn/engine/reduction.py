"""Sums over axes in any memory order, with a rounding error that grows as log n.

NumPy sums pairwise along the fastest axis in memory: log n roundings. Along any other axis it adds
row by row, n roundings: in float32 the sum of four million rows of 0.1 is off by 4 %. Here 16 rows
are added at a time, then their sums, and so on, one axis after the other, the slowest first. A
value goes through at most 16 additions for each factor of 16: 4·log₂ n.

Short rows that are adjacent in memory are added as one long row: the sum of a million rows of 3
values is 15 times as fast as NumPy's. With NumPy's sums, a step of VGG with batch norm takes 1.15
times as long.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.engine.arrays import Array, Shape

BLOCK = 16  # values added one after the other
LONG = 1 << 12  # values per row; longer rows are not faster

Axes: TypeAlias = int | tuple[int, ...] | None
Slices: TypeAlias = tuple[slice, ...]

_add: Any = np.add.reduce


def total(x: Array, axis: Axes = None, keepdims: bool = False) -> Any:
    """Return the sum of `x` over `axis`, like ``np.sum`` but with a smaller rounding error.

    The error is at most 4·log₂ n roundings of Σ|x|, where n is the number of values in a sum.
    float16 is summed in float32 and rounded.
    """
    if x.dtype.char not in "fdgFDG" or not x.dtype.isnative:
        if x.dtype.kind not in "fc":
            return np.sum(x, axis=axis, keepdims=keepdims)
        return total(_wide(x), axis, keepdims).astype(x.dtype.newbyteorder("="))
    plan = _plan(x.shape, x.strides, axis)
    if plan is None:
        return _add(x, axis=axis, keepdims=keepdims)
    x = x.transpose(plan.order).reshape(plan.runs)
    for position in plan.summed:
        x = _summed(x, position)
    x = x.reshape(plan.kept).transpose(plan.back)
    if keepdims:
        return x.reshape(plan.with_ones)
    return x if x.ndim else x[()]


def average(x: Array, axis: Axes = None, keepdims: bool = False) -> Any:
    """Return the mean of `x` over `axis`: `total` divided by the number of values."""
    if x.dtype.char == "e":
        return average(_wide(x), axis, keepdims).astype(np.float16)
    summed = total(x, axis, keepdims)
    return summed / summed.dtype.type(x.size // max(1, summed.size))


def _wide(x: Array) -> Array:
    """Return `x` in a native dtype with at least the range and precision of float32."""
    return x.astype(np.promote_types(x.dtype, np.float32))


def added(arrays: Sequence[Array]) -> Array:
    """Return the sum of `arrays`, as precise as `total`, in a new array of their layout."""
    if len(arrays) > BLOCK:
        return added([added(arrays[k : k + BLOCK]) for k in range(0, len(arrays), BLOCK)])
    first, *others = arrays
    summed = first.copy(order="K")
    for array in others:
        summed += array
    return summed


def add_at(x: Array, positions: NDArray[np.integer[Any]], size: int) -> Array:
    """Return `size` zeros with each value of the vector `x` added at its position.

    The sum is taken in float64, so float32 loses no value, however many a position gets.
    """
    if x.dtype.kind == "c":
        both = [add_at(part, positions, size) for part in (x.real, x.imag)]
        return np.stack(both, axis=-1).view(x.dtype).reshape(size)
    out = np.zeros(size, x.dtype)
    if x.dtype.kind != "f":
        np.add.at(out, positions, x)
    elif size > max(4 * LONG, 4 * x.size):  # mostly zeros
        cells, positions = np.unique(positions, return_inverse=True)
        out[cells] = np.bincount(positions, x, len(cells))
    else:
        out[...] = np.bincount(positions, x, size)
    return out


class _Plan(NamedTuple):
    """How to sum an array of some shape and strides."""

    order: Shape  # the axes, slowest in memory first
    runs: Shape  # lengths in that order, adjacent axes with the same fate merged
    summed: Shape  # the positions of the runs to sum, each after those before it are gone
    kept: Shape  # the lengths of the remaining axes, in that order,
    back: Shape  # and the permutation to their order in the array
    with_ones: Shape  # the shape of the result with keepdims


@lru_cache(maxsize=1024)
def _plan(shape: Shape, strides: Shape, axis: Axes) -> _Plan | None:
    """Return the plan of a sum; None if NumPy sums well, or has to raise."""
    ndim = len(shape)
    axes = range(ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    summed = {k % ndim for k in axes if -ndim <= k < ndim}
    if len(summed) < len(axes) or 0 in shape or math.prod(shape[k] for k in summed) <= BLOCK:
        return None
    order = tuple(sorted(range(ndim), key=lambda k: -abs(strides[k])))
    runs: list[list[int]] = []
    for k in order:
        if shape[k] == 1:
            continue
        last = runs[-1][-1] if runs else k
        near = strides[last] == shape[k] * strides[k]
        if runs and near and (k in summed) == (last in summed):
            runs[-1].append(k)
        else:
            runs.append([k])
    positions = [p for p, run in enumerate(runs) if run[0] in summed]
    if order == tuple(range(ndim)) and positions == [len(runs) - 1] and len(runs) <= 2:
        return None
    left = [k for k in order if k not in summed]
    return _Plan(
        order,
        tuple(math.prod(shape[k] for k in run) for run in runs),
        tuple(p - gone for gone, p in enumerate(positions)),
        tuple(shape[k] for k in left),
        tuple(left.index(k) for k in sorted(left)),
        tuple(1 if k in summed else n for k, n in enumerate(shape)),
    )


def _summed(x: Array, axis: int) -> Array:
    """Return the sum over an axis of an array in memory order."""
    if axis == x.ndim - 1 or x.shape[axis] <= BLOCK:  # along the fastest, NumPy adds pairwise
        return _add(x, axis=axis)  # type: ignore[no-any-return]  # an array
    first, blocks, rows, rest = _blocks(x.shape, axis)
    y = _summed(_add(x[first].reshape(blocks), axis=axis + 1).reshape(rows), axis)
    return y if rest is None else y + _summed(x[rest], axis)


@lru_cache(maxsize=1024)
def _blocks(shape: Shape, axis: int) -> tuple[Slices, Shape, Shape, Slices | None]:
    """Return rows of an axis, their shape in blocks, that of the blocks' sums, and other rows."""
    n, before, behind = shape[axis], shape[:axis], shape[axis + 1 :]
    side = min(n // BLOCK, max(1, LONG // math.prod(behind)))  # rows added as one
    count = n // (BLOCK * side)
    end = count * BLOCK * side
    ahead = (slice(None),) * axis
    return (
        (*ahead, slice(end)),
        (*before, count, BLOCK, side, *behind),
        (*before, count * side, *behind),
        (*ahead, slice(end, n)) if end < n else None,
    )
