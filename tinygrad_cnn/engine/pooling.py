"""Pooling: each step treats one kernel offset of all windows at once, as one strided slice."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from tinygrad_cnn.engine.windows import Axis, Windows

Array: TypeAlias = np.ndarray[Any, Any]


def maximum(x: Array, at: Windows) -> Array:
    """Return the largest value under each window: (..., H, W) → (..., OH, OW)."""
    padded = at.pad(x, _lowest(x.dtype))
    slices = (padded[cells] for _, _, cells in at.offsets())
    best = next(slices).copy()
    for cells in slices:
        np.maximum(best, cells, out=best)
    return best


def winner(x: Array, at: Windows) -> Array:
    """Return the kernel offset, i·KW + j, of the first largest value under each window."""
    padded = at.pad(x, _lowest(x.dtype))
    columns = at.columns.kernel
    first = _first_inside(at.rows)[:, np.newaxis] * columns + _first_inside(at.columns)
    dtype = np.min_scalar_type(at.rows.kernel * columns)
    won = np.broadcast_to(first.astype(dtype), (*x.shape[:-2], *at.count)).copy()
    best = np.full(won.shape, _lowest(x.dtype), x.dtype)
    for i, j, cells in at.offsets():
        value = padded[cells]
        better = value > best
        np.copyto(won, i * columns + j, where=better, casting="unsafe")
        np.copyto(best, value, where=better)
    return won


def gather(x: Array, won: Array, at: Windows) -> Array:
    """Return the value of `x` at the offset `won` of each window: (..., H, W) → (..., OH, OW)."""
    padded = at.pad(x)
    out = np.zeros(won.shape, x.dtype)
    for i, j, cells in at.offsets():
        np.copyto(out, padded[cells], where=won == i * at.columns.kernel + j)
    return out


def scatter(u: Array, won: Array, at: Windows) -> Array:
    """Return zeros with `u` added at the offset `won` of each window: the adjoint of `gather`."""
    padded = np.zeros((*u.shape[:-2], at.rows.padded, at.columns.padded), u.dtype)
    zero = u.dtype.type(0)
    for i, j, cells in at.offsets():
        padded[cells] += np.where(won == i * at.columns.kernel + j, u, zero)
    return np.ascontiguousarray(at.crop(padded))


def average(x: Array, at: Windows, count_include_pad: bool) -> Array:
    """Return the mean under each window: (..., H, W) → (..., OH, OW)."""
    padded = at.pad(x)
    total = np.zeros((*x.shape[:-2], *at.count), x.dtype)
    for _, _, cells in at.offsets():
        total += padded[cells]
    return total / _divisor(at, count_include_pad, x.dtype)


def average_gradient(u: Array, at: Windows, count_include_pad: bool) -> Array:
    """Return `u`, shared out evenly over each window: the adjoint of `average`."""
    share = u / _divisor(at, count_include_pad, u.dtype)
    padded = np.zeros((*u.shape[:-2], at.rows.padded, at.columns.padded), u.dtype)
    for _, _, cells in at.offsets():
        padded[cells] += share
    return np.ascontiguousarray(at.crop(padded))


def _divisor(at: Windows, count_include_pad: bool, dtype: np.dtype[Any]) -> Array:
    """Return how many cells each window counts: (OH, OW)."""
    counts = [_cells(axis, count_include_pad) for axis in (at.rows, at.columns)]
    return np.multiply.outer(*counts).astype(dtype)


def _cells(axis: Axis, count_include_pad: bool) -> Array:
    """Return how many cells of each window lie on the image, or on it and its padding."""
    low, high = 0, axis.size
    if count_include_pad:
        low, high = -axis.before, axis.size + axis.after
    cells = axis.starts()[:, np.newaxis] + np.arange(axis.kernel) * axis.dilation
    return ((cells >= low) & (cells < high)).sum(axis=1)


def _first_inside(axis: Axis) -> Array:
    """Return the first kernel offset of each window that is not on the padding."""
    return np.maximum(0, -(axis.starts() // axis.dilation))


def _lowest(dtype: np.dtype[Any]) -> Any:
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min
