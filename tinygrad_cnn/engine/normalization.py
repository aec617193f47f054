"""Normalization by mean and deviation, in few passes over memory.

Batch norm reads x twice and writes y; going back it reads x and the gradient g twice and writes dx:

    Σ x, Σ x²                         →  μ, σ = √(Σ x² / n − μ² + ε)       `statistics`
    x·s + (b − μ·s)                   with s = w/σ                         `normalized`
    Σ g, Σ g·x                        →  p = Σ g / n, q = Σ g·x̂ / n        `moments`
    g·s − x·(s·q/σ) + s·(q·μ/σ − p)   = s·(g − p − x̂·q)                    `input_gradient`

Each pass works in bands that stay in the cache, whatever the axes and their order in memory. The
array is seen as (A, P, W), where P is an axis that is summed over: BLAS adds the rows of a band, as
a product with ones, and the sums of bands are added in float64. If the fastest axis is summed over
and long, the array is seen as rows, (L, R), with a sum each.

These sums lose digits where |μ| is much larger than σ. Then x is centered first, in each pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from tinygrad_cnn.engine import fast, memory, threads
from tinygrad_cnn.engine.arrays import Array, Shape, inverse, memory_order
from tinygrad_cnn.engine.bands import PARTS
from tinygrad_cnn.engine.reduction import average, total

BAND = 1 << 19  # values of all arrays in a band of elementwise work,
SUMMED = 1 << 18  # and of one array in a band to be summed
TILE = 1 << 13  # values of a row that is broadcast; shorter rows take 1.4 times as long
IN_TURN = 1 << 8  # rows added one after the other in the dtype of x
LONG = 1 << 10  # values that BLAS adds one after the other, some at a time
WIDE = 256  # rows of fewer values are slow: NumPy spends 100 ns on each
SMALL = 1 << 11  # values up to which NumPy's own broadcasting is faster
NARROW = 1 << 9  # values of a row (P, W) made of several narrow ones
FAR = 2.0  # center x where |μ| is more than this many deviations
LEAST, MOST = 1e-30, 1e30  # between these, float32 holds the squares that a variance is made of


def statistics(x: Array, axes: Shape, eps: float) -> Array:
    """Return four rows: the mean of `x` over `axes`, √(variance + ε), the variance, and a flag.

    Of the dtype of `x` and shape (4, ...), the axes kept with length 1. The deviation is right
    wherever the dtype can hold it, the variance wherever it can hold a square. The flag is 1 in all
    places if x is to be centered first, 0 otherwise.
    """
    found = np.empty((4, *[1 if k in axes else n for k, n in enumerate(x.shape)]), x.dtype)
    if not x.size:
        found[...] = 0
        return found
    if x.dtype.char not in "fd":
        found[0] = average(x, axes, True)
        found[2] = average(np.square(x - found[0]), axes, True)
        found[1], found[3] = np.sqrt(found[2] + eps), 1
        return found
    compiled = fast.kernels("normalization", x)
    if compiled is not None and compiled.statistics(x, found, eps):
        return found
    grid, x = _dense(x, found.shape[1:])
    with np.errstate(all="ignore"):
        mean, second = _sums(grid, x, x) / grid.terms
        squares = mean * mean
        variance = second - squares
        far = not (squares <= FAR**2 * variance).all()
        if far:
            off, second = _sums(grid, x, x, mean.astype(x.dtype)) / grid.terms
            mean, variance = mean.astype(x.dtype) + off, np.maximum(second - off * off, 0.0)
        if x.dtype.char == "f" and not LEAST < variance.min() + eps <= variance.max() + eps < MOST:
            found[...] = statistics(x.astype(np.float64), axes, eps)
            found[3] = 1
            return found
        found[0], found[1], found[2], found[3] = mean, np.sqrt(variance + eps), variance, far
    return found


def is_near(mean: Array, variance: Array, dtype: np.dtype[Any]) -> bool:
    """Return whether values of this mean and variance need no centering first; see `statistics`."""
    if dtype.char not in "fd":
        return False
    in_range = dtype.char == "d" or LEAST < variance.min() <= variance.max() < MOST
    return bool(in_range and (mean * mean <= FAR**2 * variance).all())


def normalized(x: Array, statistics: Array, w: Array | None, bias: Array | None) -> Array:
    """Return (x − μ) / σ·w + bias; `w` and `bias` broadcast to `x` and have as many axes."""
    center, deviation = statistics[0], statistics[1]
    if not x.size:
        return x.copy()
    compiled = fast.kernels("normalization", x)
    y: Array | None = None if compiled is None else compiled.normalized(x, statistics, w, bias)
    if y is not None:
        return y
    if statistics.item(-1):
        inverse = 1.0 / deviation
        factors = [inverse] if w is None else [inverse, w]
        return affine(x, factors, np.zeros_like(center) if bias is None else bias, center)
    scale = 1.0 / deviation if w is None else w / deviation
    shift = center * scale
    return affine(x, [scale], -shift if bias is None else bias - shift)


def is_repeated(x: Array, few: Array) -> bool:
    """Return whether `few` has all axes of `x`, and few values that are repeated."""
    if not isinstance(few, np.ndarray) or few.ndim != np.ndim(x) or 8 * few.size > x.size:
        return False
    return all(n in (1, m) for n, m in zip(few.shape, x.shape, strict=True))


def affine(x: Array, factors: list[Array], shift: Array, center: Array | None = None) -> Array:
    """Return (x − center) times each factor, + shift; they broadcast to `x` and have its axes."""

    def band(out: Array, _: Array, x: Array, shift: Array, *others: Array) -> None:
        factors = others
        if center is not None:
            x = np.subtract(x, others[0], out=out)
            factors = others[1:]
        for factor in factors:
            x = np.multiply(x, factor, out=out)
        np.add(x, shift, out=out)

    middle = [] if center is None else [center]
    return _mapped(band, [x], [shift, *middle, *factors], 16)


def moments(g: Array, x: Array, statistics: Array) -> Array:
    """Return Σ g and Σ g·(x − μ)/σ over the axes where the statistics have length 1, stacked."""
    center, deviation, far = statistics[0], statistics[1], not x.size or statistics.item(-1)
    if x.dtype.char not in "fd" or g.dtype != x.dtype or not x.size:
        axes = tuple([k for k, n in enumerate(center.shape) if n == 1])
        normal = (x - center) / deviation
        return np.stack([total(g, axes, True), total(g * normal, axes, True)])
    g = _like(g, x)
    compiled = fast.kernels("normalization", x)
    found: Array | None = None if compiled is None else compiled.moments(g, x, statistics)
    if found is not None:
        return found
    grid, x = _dense(x, center.shape)
    found = np.empty((2, *center.shape), x.dtype)
    g = _like(g, x)  # x may be a copy
    with np.errstate(all="ignore"):
        if not far:
            first, second = _sums(grid, g, x)
            second = (second - first * center) / deviation
            far = not np.isfinite(second).all()  # a product overflowed
        if far:
            first, second = _sums(grid, g, x, center, 1.0 / deviation)
        found[0], found[1] = first, second
    return found


def input_gradient(
    g: Array, x: Array, statistics: Array, slope: Array, w: Array | None, p: Array, q: Array
) -> Array:
    """Return slope·(w·g − p − (x − μ)/σ·q); the last four broadcast and have as many axes."""
    center, deviation = statistics[0], statistics[1]
    compiled = fast.kernels("normalization", x) if g.dtype == x.dtype else None
    if compiled is not None:
        dx = compiled.input_gradient(_like(g, x), x, statistics, slope, w, p, q)
        if dx is not None:
            return np.asarray(dx)
    far = not x.size or statistics.item(-1)
    with np.errstate(all="ignore"):
        tilt = -slope * q if far else -slope * q / deviation
        level = -slope * p if far else -slope * p - center * tilt
        if not np.isfinite(level).all():
            inner = (g if w is None else w * g) - p - (x - center) / deviation * q
            return np.asarray(slope * inner)
        few = [
            slope if w is None else slope * w,
            tilt,
            level,
            *([center, 1.0 / deviation] if far else []),
        ]

    def band(
        out: Array, room: Array, x: Array, g: Array, slope: Array, tilt: Array, level: Array,
        *others: Array,
    ) -> None:  # fmt: skip
        if others:
            x = np.subtract(x, others[0], out=out)
            np.multiply(x, others[1], out=out)
        np.multiply(x, tilt, out=out)
        np.multiply(g, slope, out=room)
        np.add(out, room, out=out)
        np.add(out, level, out=out)

    return _mapped(band, [x, g], few, 32)


# --- views of memory -----------------------------------------------------------------------------


CHANGES = (np.subtract, np.multiply)  # by the center, and by the scale


class _Grid(NamedTuple):
    """The view of an array that the passes use, where some axes are summed over."""

    order: Shape  # its axes, slowest in memory first
    view: Shape  # (A, P, W) in that order, or rows (L, R)
    outer: Shape  # the runs of (A, W), or of L: adjacent axes that are summed over, or are not
    kept: Shape  # their lengths, 1 for those that are summed over,
    summed: Shape  # and the positions of these
    ordered: Shape  # the shape of the sums in memory order,
    back: Shape  # and the permutation to their order in the array
    terms: int  # the values in a sum

    def seen(self, x: Array) -> Array:
        """Return a dense array as (A, P, W) or (L, R): a view."""
        return memory.view(x.transpose(self.order), self.view)

    def sums(self, found: Array) -> Array:
        """Return sums of shape (2, A, W), or (2, L), in the shape of the array, with axes of 1."""
        runs = found.reshape(2, *self.outer).sum(tuple([k + 1 for k in self.summed]))
        sums: Array = runs.reshape(2, *self.ordered).transpose(0, *[k + 1 for k in self.back])
        return sums

    def values(self, few: Array) -> Array:
        """Return one value for each sum with one axis for each run: a view."""
        few = few.transpose(self.order)
        if few.shape != self.ordered:
            few = np.broadcast_to(few, self.ordered)
        return few.reshape(self.kept)

    def spread(self, few: Array) -> Array:
        """Return one value for each sum as (A, W), or (L,)."""
        every = np.empty(self.outer, few.dtype)
        every[...] = self.values(few)
        return every.reshape(self.view[0], *self.view[2:])


@lru_cache(maxsize=1024)
def _grid(shape: Shape, strides: Shape, itemsize: int, sums: Shape) -> _Grid | None:
    """Return the grid for sums of this shape; None if the array is not dense in memory."""
    order = memory_order(shape, strides)
    runs: list[tuple[int, bool]] = []  # the length, and whether it is summed over
    step = itemsize
    for k in reversed(order):
        n, is_summed = shape[k], sums[k] == 1
        if n == 1:
            continue
        if strides[k] != step:
            return None
        step *= n
        if runs and runs[0][1] == is_summed:
            runs[0] = (runs[0][0] * n, is_summed)
        else:
            runs.insert(0, (n, is_summed))
    if not runs or runs[0][1]:
        runs.insert(0, (1, False))
    if len(runs) == 1:
        runs.append((1, True))
    (lead, _), (summed, _), *rest = runs
    width, last = math.prod(n for n, _ in rest), runs[-1]
    if last[1] and (not rest or width > BAND // 4 or (last[0] >= WIDE and 16 * width > BAND)):
        short = divisor(last[0])
        outer = [*runs[:-1], (last[0] // short, True)]
        view: Shape = (math.prod(n for n, _ in outer), short)
    else:
        most = max(1, min(summed, NARROW // width))
        side = next(k for k in range(most, 0, -1) if summed % k == 0)
        outer = [(lead, False), (side, True), *rest]
        view = (lead, summed // side, side * width)
    ordered = tuple([sums[k] for k in order])
    return _Grid(
        order,
        view,
        tuple([n for n, _ in outer]),
        tuple([1 if is_summed else n for n, is_summed in outer]),
        tuple([k for k, (_, is_summed) in enumerate(outer) if is_summed]),
        ordered,
        inverse(order),
        math.prod(shape) // math.prod(sums),
    )


@lru_cache(maxsize=1024)
def divisor(length: int) -> int:
    """Return the length of equal pieces of a long row, whose sums BLAS is to take separately."""
    if length <= LONG:
        return length
    return next((k for k in range(LONG, WIDE // 4, -1) if length % k == 0), length)


def _dense(x: Array, sums: Shape) -> tuple[_Grid, Array]:
    """Return the grid of `x`, and `x`, copied if it is not dense in memory."""
    grid = _grid(x.shape, x.strides, x.itemsize, sums)
    if grid is None:
        x = x.copy(order="K")
        grid = _grid(x.shape, x.strides, x.itemsize, sums)
        assert grid is not None
    return grid, x


def _like(array: Array, model: Array) -> Array:
    """Return `array` in the memory order of `model`."""
    if array.strides == model.strides:
        return array
    out = memory.empty_like(model)
    out[...] = array
    return out


# --- passes --------------------------------------------------------------------------------------


def _sums(
    grid: _Grid, u: Array, v: Array, center: Array | None = None, scale: Array | None = None
) -> Array:
    """Return Σ u and Σ u·v in float64, stacked.

    With a center, v − center is `v`, and `u` if this is `v`; with a scale, times that.
    """
    is_one = u is v
    a, b = grid.seen(u), grid.seen(v)
    shift = [] if center is None else [grid.spread(c) for c in (center, scale) if c is not None]
    if len(grid.view) == 2:
        return grid.sums(_sums_of_rows(a, b, is_one, shift))
    lead, rows, width = grid.view
    step = min(rows, max(1, SUMMED // width))
    bands = -(-rows // step)
    parts = max(1, min(PARTS, bands // 2))
    each = -(-bands // parts) * step
    parts = -(-rows // each)
    found = memory.empty((parts, 2, lead, width), np.float64)

    def piece(part: int) -> None:
        room = memory.empty((step, width), u.dtype)
        for k in range(lead):
            first, second = found[part, 0, k], found[part, 1, k]
            for top in range(part * each, min(rows, (part + 1) * each), step):
                at = slice(top, min(top + step, rows, (part + 1) * each))
                x, y = a[k, at], b[k, at]
                out = room[: len(x)]
                for change, few in zip(CHANGES, shift, strict=False):
                    y = change(y, few[k], out=out)
                    x = y if is_one else x
                of_values, of_products = added(x, y)
                if top == part * each:
                    first[...], second[...] = of_values, of_products
                else:
                    first += of_values
                    second += of_products

    threads.run(piece, parts, 16 * u.size)
    return grid.sums(found[0] if parts == 1 else found.sum(0))


def added(x: Array, y: Array) -> tuple[Array, Array]:
    """Return Σ x and Σ x·y over the rows: at most `IN_TURN` added one after the other."""
    count = len(x) // IN_TURN
    if not count:
        return np.ones(len(x), x.dtype) @ x, np.einsum("rw,rw->w", x, y)
    whole = count * IN_TURN
    a, b = (rows[:whole].reshape(count, IN_TURN, -1) for rows in (x, y))
    first = (np.ones(IN_TURN, x.dtype) @ a).sum(0, np.float64)
    second = np.einsum("krw,krw->kw", a, b).sum(0, dtype=np.float64)
    if whole < len(x):
        of_rest, of_products = added(x[whole:], y[whole:])
        return first + of_rest, second + of_products
    return first, second


def _sums_of_rows(a: Array, b: Array, is_one: bool, shift: list[Array]) -> Array:
    """Return Σ a and Σ a·b of each row in float64, stacked; see `_sums`."""
    rows, length = a.shape
    short = min(length, LONG)
    step = min(rows, max(1, SUMMED // short))
    cuts = -(-length // short)
    found = np.empty((2, cuts, rows))
    ones = np.ones(short, a.dtype)

    def piece(i: int) -> None:
        top, cut = divmod(i, cuts)
        at, along = slice(top * step, (top + 1) * step), slice(cut * short, (cut + 1) * short)
        x, y = a[at, along], b[at, along]
        for change, few in zip(CHANGES, shift, strict=False):
            y = change(y, few[at, np.newaxis])
            x = y if is_one else x
        found[0, cut, at] = x @ ones[: x.shape[1]]
        found[1, cut, at] = np.vecdot(x, y)

    threads.run(piece, cuts * -(-rows // step), 16 * a.size)
    return found[:, 0] if cuts == 1 else found.sum(1)


def _mapped(band: Callable[..., None], big: list[Array], few: list[Array], work: int) -> Array:
    """Return ``out`` after ``band(out, room, *big, *few)`` in bands, in the memory order of `big`.

    `band` writes to `out` and may write to `room`. The arrays of `few` broadcast to those of `big`.
    """
    x = big[0]
    dtype = np.result_type(*big, *few)
    sums = tuple(map(max, zip(*[f.shape for f in few], strict=True)))
    grid = None
    if x.size > SMALL and dtype.char in "fd":
        big = [x if x.dtype == dtype else x.astype(dtype) for x in big]
        grid, x = _dense(big[0], sums)
        if len(grid.view) == 2 and x.size <= BAND // 8:
            grid = None
    if grid is None:  # small, or of another dtype
        out = memory.empty_like(x, dtype=dtype)
        band(out, np.empty_like(out) if len(big) > 1 else out, *big, *few)
        return out
    out = memory.empty_like(x)
    seen = [grid.seen(a) for a in (out, x, *[_like(other, x) for other in big[1:]])]
    few = [f.astype(dtype, copy=False) for f in few]
    if len(grid.view) == 2:
        _map_rows(band, seen, [grid.spread(f) for f in few], work)
    else:
        _map_columns(band, seen, [grid.values(f) for f in few], grid.outer, work)
    return out


def _map_columns(
    band: Callable[..., None], seen: list[Array], values: list[Array], outer: Shape, work: int
) -> None:
    """Call `band` with bands of arrays (A, P, W), and the values repeated for each row."""
    lead, rows, width = seen[0].shape
    dtype = seen[0].dtype
    tile = min(rows, -(-TILE // width))  # rows for which the values are repeated
    step = max(1, BAND // (len(seen) * width * tile)) * tile
    count = -(-rows // step)

    def repeated(k: int) -> Array:
        every = memory.empty((len(values), tile * width), dtype)
        cells = memory.view(every, (len(values), tile, *outer[1:]))
        for i, value in enumerate(values):
            cells[i] = value[k]
        return every

    once = repeated(0) if lead == 1 else None

    def piece(i: int) -> None:
        k, part = divmod(i, count)
        every = once if once is not None else repeated(k)
        top, bottom = part * step, min(rows, (part + 1) * step)
        room = memory.empty((step // tile, tile * width), dtype) if len(seen) > 2 else every
        middle = bottom - (bottom - top) % tile
        for first, last in ((top, middle), (middle, bottom)):
            if first < last:
                shape = (-(-(last - first) // tile), min(tile, last - first) * width)
                out, *others = [memory.view(a[k, first:last], shape) for a in seen]
                band(out, room[: shape[0], : shape[1]], *others, *every[:, : shape[1]])

    threads.run(piece, lead * count, work * seen[0].size)


def _map_rows(band: Callable[..., None], seen: list[Array], values: list[Array], work: int) -> None:
    """Call `band` with blocks of arrays (L, R) and the values (L, 1)."""
    rows, length = seen[0].shape
    most = BAND // len(seen)
    step, short = max(1, most // length), min(length, most)
    cuts = -(-length // short)

    def piece(i: int) -> None:
        top, cut = divmod(i, cuts)
        at, along = slice(top * step, (top + 1) * step), slice(cut * short, (cut + 1) * short)
        out, *others = [a[at, along] for a in seen]
        room = np.empty_like(out) if len(others) > 1 else out
        band(out, room, *others, *[v[at, np.newaxis] for v in values])

    threads.run(piece, cuts * -(-rows // step), work * seen[0].size)
