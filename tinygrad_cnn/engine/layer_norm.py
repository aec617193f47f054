"""Layer normalization: rows of adjacent values, in blocks that stay in the cache.

A block holds whole rows, so that the sums of its rows, Σ h and Σ h·x̂ with h = g·w, are known before
it leaves the cache: going back reads g and x once. The sums over all rows, Σ g and Σ g·x̂, are
products with ones in a block, and in float64 over blocks.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_cnn.engine import memory, threads
from tinygrad_cnn.engine.arrays import Array, Shape
from tinygrad_cnn.engine.bands import PARTS
from tinygrad_cnn.engine.normalization import added, divisor
from tinygrad_cnn.engine.reduction import average, total

BAND = 1 << 16  # values of one array in a block


def normalized(
    x: Array, shape: Shape, statistics: Array, w: Array | None, bias: Array | None
) -> Array:
    """Return (x − μ) / σ·w + bias, with `w` and `bias` of `shape`, that of the last axes of `x`.

    `statistics` are those of `normalization.statistics` over these axes.
    """
    inner = math.prod(shape)
    is_plain = all(few is None or few.dtype == x.dtype for few in (w, bias))
    if x.dtype.char not in "fd" or not x.size or not is_plain:
        y = (x - statistics[0]) / statistics[1]
        y = y if w is None else y * w
        return np.asarray(y if bias is None else y + bias)
    rows = np.ascontiguousarray(x).reshape(-1, inner)
    center, inverse = _columns(statistics)
    step = max(1, min(len(rows), BAND // inner))
    scales, shifts = _repeated(w, step, inner, x.dtype), _repeated(bias, step, inner, x.dtype)
    out = memory.empty(rows.shape, x.dtype)

    def piece(i: int) -> None:
        at = slice(i * step, (i + 1) * step)
        y = np.subtract(rows[at], center[at], out=out[at])
        np.multiply(y, inverse[at], out=y)
        if scales is not None:
            np.multiply(y, scales[: len(y)], out=y)
        if shifts is not None:
            np.add(y, shifts[: len(y)], out=y)

    threads.run(piece, -(-len(rows) // step), 32 * x.size)
    return out.reshape(x.shape)


def gradients(
    g: Array, x: Array, shape: Shape, statistics: Array, w: Array | None
) -> tuple[Array, Array, Array]:
    """Return the gradients of x, of the scale and of the shift, for the gradient `g`."""
    inner = math.prod(shape)
    is_plain = g.dtype == x.dtype and (w is None or w.dtype == x.dtype)
    if x.dtype.char not in "fd" or not x.size or not is_plain:
        lead = x.ndim - len(shape)
        outer, last = tuple(range(lead)), tuple(range(lead, x.ndim))
        normal = (x - statistics[0]) / statistics[1]
        h = g if w is None else g * w
        inside = h - average(h, last, True) - normal * average(h * normal, last, True)
        return inside / statistics[1], total(g * normal, outer), total(g, outer)
    rows, flow = (np.ascontiguousarray(a).reshape(-1, inner) for a in (x, g))
    center, inverse = _columns(statistics)
    step = max(1, min(len(rows), BAND // inner))
    blocks = -(-len(rows) // step)
    parts = max(1, min(PARTS, blocks // 4))
    each = -(-blocks // parts) * step
    parts = -(-len(rows) // each)
    scales = _repeated(w, step, inner, x.dtype)
    out = memory.empty(rows.shape, x.dtype)
    found = np.zeros((parts, 2, inner))

    overflowed: list[int] = []  # parts in which g·w is too large, though (g·w)/σ may not be

    def piece(part: int) -> None:
        normals, products = memory.empty((2, step, inner), x.dtype)
        end = min(len(rows), (part + 1) * each)
        for top in range(part * each, end, step):
            at = slice(top, min(top + step, end))
            u, dx, count = flow[at], out[at], min(step, end - top)
            normal = np.subtract(rows[at], center[at], out=normals[:count])
            np.multiply(normal, inverse[at], out=normal)
            of_values, of_products = added(u, normal)
            found[part] += of_products, of_values
            h = u if scales is None else np.multiply(u, scales[:count], out=products[:count])
            p, q = _means(h, normal)
            if not (np.isfinite(p).all() and np.isfinite(q).all()):
                overflowed.append(part)
            np.multiply(normal, q, out=normal)
            np.subtract(h, normal, out=dx)
            np.subtract(dx, p, out=dx)
            np.multiply(dx, inverse[at], out=dx)

    with np.errstate(over="ignore", invalid="ignore"):
        threads.run(piece, parts, 64 * x.size)
    if overflowed and x.dtype.char == "f":
        double = np.float64
        wide = None if w is None else w.astype(double)
        with np.errstate(over="ignore"):
            dx, dw, db = gradients(
                g.astype(double), x.astype(double), shape, statistics.astype(double), wide
            )
            return dx.astype(x.dtype), dw.astype(x.dtype), db.astype(x.dtype)
    dw, db = found.sum(0).astype(x.dtype)
    return out.reshape(x.shape), dw.reshape(shape), db.reshape(shape)


def _columns(statistics: Array) -> tuple[Array, Array]:
    """Return μ and 1/σ of each row, as columns."""
    return statistics[0].reshape(-1, 1), 1.0 / statistics[1].reshape(-1, 1)


def _repeated(few: Array | None, rows: int, inner: int, dtype: np.dtype[Any]) -> Array | None:
    """Return one row, repeated; None stays."""
    if few is None:
        return None
    every = memory.empty((rows, inner), dtype)
    every[...] = few.reshape(-1)
    return every


def _means(h: Array, normal: Array) -> tuple[Array, Array]:
    """Return the means of h and of h·normal over each row, as columns."""
    rows, inner = h.shape
    short = divisor(inner)
    if short < inner:
        h, normal = (a.reshape(rows, inner // short, short) for a in (h, normal))
    p, q = h @ np.ones(short, h.dtype), np.vecdot(h, normal)
    if short < inner:
        p, q = p.sum(1), q.sum(1)
    return (p / inner)[:, np.newaxis], (q / inner)[:, np.newaxis]
