"""Pooling by kernel offset: each step handles one offset of all windows, as one strided slice.

Small images are pooled so as a whole; large ones piece by piece (`max_pooling`, `winners`).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from tinygrad_cnn.engine import fast
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.layout import like
from tinygrad_cnn.engine.memory import empty, empty_like
from tinygrad_cnn.engine.pooling import average_pooling, max_pooling, winners
from tinygrad_cnn.engine.reduction import added
from tinygrad_cnn.engine.selection import select
from tinygrad_cnn.engine.windows import WindowAxis, Windows

SMALL = 1 << 21  # comparisons for which images are pooled as a whole


def maximum(x: Array, at: Windows) -> Array:
    """Return the largest value under each window: (..., H, W) → (..., OH, OW)."""
    compiled = fast.kernels("pooling", x)
    y: Array | None = None if compiled is None else compiled.maximum(x, at)
    if y is not None:
        return y
    if x.size * len(at.cells) > SMALL:
        return max_pooling.maximum(x, at)
    padded = at.pad(x, max_pooling.lowest(x.dtype))
    tall = _largest([padded[..., cells, :] for cells in at.rows.offsets])
    return _largest([tall[..., cells] for cells in at.columns.offsets])


def winner(x: Array, y: Array, at: Windows) -> Array:
    """Return the kernel offset, i·KW + j, of the first value under each window that equals `y`.

    Where `y` is NaN, it is that of the last NaN.
    """
    compiled = fast.kernels("pooling", x)
    found: Array | None = None if compiled is None else compiled.winner(x, at)
    if found is not None:
        return found
    won = _first_equal(x, y, at)
    if y.dtype.kind == "f" and np.isnan(y).any():
        padded = at.pad(np.isnan(x))
        for k, cells in enumerate(at.cells):
            won[padded[cells]] = k
    return won


def _first_equal(x: Array, y: Array, at: Windows) -> Array:
    if x.size * len(at.cells) > SMALL:
        return max_pooling.winner(x, y, at)
    first, *others = at.cells
    if not others:
        return np.zeros_like(y, np.uint8)
    padded = at.pad(x, np.nan)  # equals no value, so the border never wins
    missed: Array = padded[first] != y
    won: Array = missed.astype(np.min_scalar_type(len(others)))
    for cells in others[:-1]:
        missed &= padded[cells] != y
        won += missed  # one further, where no offset so far matched
    return won


def gather(x: Array, won: Array, at: Windows) -> Array:
    """Return the value of `x` at the offset `won` of each window: (..., H, W) → (..., OH, OW)."""
    if x.size * len(at.cells) > SMALL:
        return winners.gather(x, won, at)
    padded = at.pad(x)
    out = np.zeros_like(won, x.dtype)
    for k, cells in enumerate(at.cells):
        np.copyto(out, padded[cells], where=won == k)
    return out


def scatter(u: Array, won: Array, at: Windows) -> Array:
    """Return zeros with `u` added at the offset `won` of each window, the adjoint of `gather`."""
    compiled = fast.kernels("pooling", u)
    dx: Array | None = None if compiled is None else compiled.scatter(u, won, at)
    if dx is not None:
        return dx
    if u.size * at.rows.stride * at.columns.stride * len(at.cells) > SMALL:
        return winners.scatter(u, won, at)
    u = like(u, won)
    apart = at.rows.apart and at.columns.apart  # no overlap: each cell is written once
    padded = empty_like(u, (*u.shape[:-2], at.rows.padded, at.columns.padded))
    if not (apart and at.covers_all):
        padded[...] = 0
    part = None if apart else empty_like(u)
    for k, cells in enumerate(at.cells):
        chosen = won == k
        if part is None:
            select(u, chosen, out=padded[cells])
        else:
            padded[cells] += select(u, chosen, out=part)
    return at.crop(padded)


def average(x: Array, at: Windows, count_include_pad: bool) -> Array:
    """Return the mean under each window: (..., H, W) → (..., OH, OW)."""
    if x.size * len(at.cells) > SMALL:
        return average_pooling.average(x, at, _divisor(at, count_include_pad, x.dtype))
    padded = at.pad(x)
    total = added([padded[cells] for cells in at.cells])
    mean: Array = total / _divisor(at, count_include_pad, x.dtype)
    return mean


def average_gradient(u: Array, at: Windows, count_include_pad: bool) -> Array:
    """Return `u` spread evenly over each window, the adjoint of `average`."""
    if u.size * at.rows.stride * at.columns.stride * len(at.cells) > SMALL:
        return average_pooling.average_gradient(u, at, _divisor(at, count_include_pad, u.dtype))
    share: Array = u / _divisor(at, count_include_pad, u.dtype)
    padded = np.zeros_like(u, shape=(*u.shape[:-2], at.rows.padded, at.columns.padded))
    for cells in at.cells:
        padded[cells] += share
    return at.crop(padded)


def unfold(x: Array, at: Windows) -> Array:
    """Return the cells under each window: (..., C, H, W) → (..., C·KH·KW, OH·OW)."""
    padded = at.pad(x)
    columns = empty((*x.shape[:-2], len(at.cells), *at.count), x.dtype)
    for k, cells in enumerate(at.cells):
        columns[..., k, :, :] = padded[cells]
    return columns.reshape(*x.shape[:-3], x.shape[-3] * len(at.cells), math.prod(at.count))


def fold(columns: Array, channels: int, at: Windows) -> Array:
    """Return zeros with the columns added at the cells of their windows, adjoint of `unfold`."""
    lead = (*columns.shape[:-2], channels)
    parts = columns.reshape(*lead, len(at.cells), *at.count)
    padded = np.zeros((*lead, at.rows.padded, at.columns.padded), columns.dtype)
    for k, cells in enumerate(at.cells):
        padded[cells] += parts[..., k, :, :]
    return at.crop(padded)


def _largest(arrays: list[Array]) -> Array:
    """Return the elementwise maximum: a new array in the layout of the first."""
    first, *others = arrays
    if not others:
        return first.copy(order="K")
    best: Array = np.maximum(first, others[0])
    for array in others[1:]:
        np.maximum(best, array, out=best)
    return best


def _divisor(at: Windows, count_include_pad: bool, dtype: np.dtype[Any]) -> Array:
    """Return the number of cells averaged in each window: (OH, OW)."""
    rows, columns = (_cells(axis, count_include_pad) for axis in (at.rows, at.columns))
    counts: Array = rows[:, np.newaxis] * columns
    return counts.astype(dtype)


@lru_cache(maxsize=256)
def _cells(axis: WindowAxis, count_include_pad: bool) -> Array:
    """Return the number of cells of each window on the image, optionally with its padding."""
    low, high = 0, axis.size
    if count_include_pad:
        low, high = -axis.before, axis.size + axis.after
    cells = axis.starts()[:, np.newaxis] + np.arange(axis.kernel) * axis.dilation
    counts: Array = np.sum((cells >= low) & (cells < high), axis=1)
    return counts
