"""Values picked by index, and values set at indices."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.core.variable import Array
from tinygrad_cnn.onnx.importers.shape import reshaped
from tinygrad_cnn.onnx.importers.values import (
    axis_of,
    integers,
    is_floating,
    plain,
    refused,
)
from tinygrad_cnn.onnx.operator import Operator, importer

__all__ = ["scattered"]


def _at(x: Array, index: Any) -> Array:
    """Return ``x[index]``: floats by an op, other values by NumPy."""
    return ops.getitem(x, index) if is_floating(x) else np.asarray(plain(x)[index])


def _along(shape: tuple[int, ...], axis: int, places: NDArray[Any]) -> tuple[Any, ...]:
    """Return the index of the entries at `places`, each in its own line along an axis."""
    grid = list(np.ogrid[tuple(slice(n) for n in shape)])
    grid[axis] = places
    return tuple(grid)


# --- picking -------------------------------------------------------------------------------------


@importer("Slice")
def _(
    node: Operator,
    x: Array,
    starts: Array | None = None,
    ends: Array | None = None,
    axes: Array | None = None,
    steps: Array | None = None,
) -> Array:
    if starts is None or ends is None:  # before opset 10
        starts, ends, axes = node.get("starts"), node.get("ends"), node.get("axes")
    first, last = integers(starts), integers(ends)
    along = range(len(first)) if axes is None else integers(axes)
    strides = [1] * len(first) if steps is None else integers(steps)
    index = [slice(None)] * len(x.shape)
    for axis, start, end, step in zip(along, first, last, strides, strict=True):
        a = axis_of(node, axis, len(x.shape))
        index[a] = _bounded(start, end, step, x.shape[a])
    return _at(x, tuple(index))


def _bounded(start: int, end: int, step: int, n: int) -> slice:
    """Return a slice; a first entry before the axis is moved into it, unlike in NumPy."""
    if step < 0 and start < -n and n:
        start = 0
    return slice(start, end, step)


@importer("Gather")
def _(node: Operator, x: Array, indices: Array) -> Array:
    axis = axis_of(node, node.get("axis", 0), len(x.shape))
    if is_floating(x):
        return ops.take(x, plain(indices), axis)
    return np.asarray(np.take(plain(x), plain(indices), axis))


@importer("GatherElements")
def _(node: Operator, x: Array, indices: Array) -> Array:
    axis = axis_of(node, node.get("axis", 0), len(x.shape))
    return _at(x, _along(indices.shape, axis, plain(indices)))


@importer("GatherND")
def _(node: Operator, x: Array, indices: Array) -> Array:
    places, batch = plain(indices), node.get("batch_dims", 0)
    after = (1,) * (places.ndim - 1 - batch)
    grids = np.ogrid[tuple(slice(n) for n in x.shape[:batch])]
    lead = [grid.reshape(*grid.shape, *after) for grid in grids]
    return _at(x, (*lead, *np.moveaxis(places, -1, 0)))


@importer("Compress")
def _(node: Operator, x: Array, condition: Array) -> Array:
    axis = node.get("axis")
    if axis is None:
        x, axis = reshaped(x, (-1,)), 0
    a = axis_of(node, axis, len(x.shape))
    return _at(x, (*(slice(None),) * a, np.flatnonzero(plain(condition))))


@importer("NonZero")
def _(node: Operator, x: Array) -> Array:
    return np.array(np.nonzero(np.atleast_1d(plain(x))), np.int64)


@importer("ReverseSequence")
def _(node: Operator, x: Array, lengths: Array) -> Array:
    batch, time = node.get("batch_axis", 1), node.get("time_axis", 0)
    steps = np.arange(x.shape[time])[:, np.newaxis]
    ends = plain(lengths)[np.newaxis]
    places = np.where(steps < ends, ends - 1 - steps, steps)  # (time, batch)
    shape = [n if a in (batch, time) else 1 for a, n in enumerate(x.shape)]
    places = (places if time < batch else places.T).reshape(shape)
    return _at(x, _along(x.shape, time, places))


@importer("Trilu")
def _(node: Operator, x: Array, k: Array | None = None) -> Array:
    upper = node.get("upper", 1)
    (offset,) = [0] if k is None else integers(k)
    if is_floating(x):
        return (ops.triu if upper else ops.tril)(x, offset)
    return np.asarray((np.triu if upper else np.tril)(plain(x), offset))


@importer("OneHot")
def _(node: Operator, indices: Array, depth: Array, values: Array) -> Array:
    (count,) = integers(depth)
    places = plain(indices).astype(np.int64)
    axis = axis_of(node, node.get("axis", -1), places.ndim + 1)
    column = np.arange(count).reshape(-1, *(1,) * (places.ndim - axis))
    hot = np.expand_dims(places, axis) % count == column
    inside = (-count <= places) & (places < count)
    chosen = hot & np.expand_dims(inside, axis)
    return (ops.where if is_floating(values) else np.where)(chosen, _at(values, 1), _at(values, 0))


# --- setting -------------------------------------------------------------------------------------

_REDUCTIONS: dict[str, tuple[Callable[..., Any], np.ufunc]] = {
    "add": (ops.add, np.add),
    "mul": (ops.mul, np.multiply),
    "max": (ops.maximum, np.maximum),
    "min": (ops.minimum, np.minimum),
}


def scattered(
    node: Operator, x: Array, index: tuple[Any, ...], updates: Array, reduction: str = "none"
) -> Array:
    """Return `x` with `updates` written, or combined with what stands there, at an index."""
    if reduction != "none" and reduction not in _REDUCTIONS:
        raise refused(node, f"reduction is {reduction!r}, expected one of {['none', *_REDUCTIONS]}")
    if not is_floating(x):
        return _written(plain(x), index, plain(updates), reduction)
    if reduction in ("none", "add"):
        return ops.index_put(x, index, updates, accumulate=reduction == "add")
    numbers = np.arange(plain(x).size).reshape(x.shape)
    places = np.broadcast_to(numbers[index], updates.shape).reshape(-1)
    y, updates = ops.reshape(x, (-1,)), ops.reshape(updates, (-1,))
    for one in _rounds(places):
        here = places[one]
        combined = _REDUCTIONS[reduction][0](ops.take(y, here), ops.take(updates, one))
        y = ops.index_put(y, here, combined)
    return ops.reshape(y, x.shape)


def _written(
    x: NDArray[Any], index: tuple[Any, ...], updates: NDArray[Any], reduction: str
) -> NDArray[Any]:
    y = x.copy()
    if reduction == "none":
        y[index] = updates
    else:
        with np.errstate(all="ignore"):
            _REDUCTIONS[reduction][1].at(y, index, updates)
    return y


def _rounds(places: NDArray[Any]) -> list[NDArray[Any]]:
    """Return numbers of updates in groups: in a group, no place occurs twice."""
    order = np.argsort(places, kind="stable")
    starts = np.flatnonzero(np.diff(places[order], prepend=-1))
    occurrence = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    return [order[occurrence == k] for k in range(occurrence.max(initial=-1) + 1)]


@importer("Scatter")
@importer("ScatterElements")
def _(node: Operator, x: Array, indices: Array, updates: Array) -> Array:
    axis = axis_of(node, node.get("axis", 0), len(x.shape))
    index = _along(indices.shape, axis, plain(indices))
    return scattered(node, x, index, updates, node.get("reduction", "none"))


@importer("ScatterND")
def _(node: Operator, x: Array, indices: Array, updates: Array) -> Array:
    index = tuple(np.moveaxis(plain(indices), -1, 0))
    return scattered(node, x, index, updates, node.get("reduction", "none"))


@importer("TensorScatter")
def _(node: Operator, past: Array, update: Array, starts: Array | None = None) -> Array:
    axis = axis_of(node, node.get("axis", -2), len(past.shape))
    first = np.zeros(past.shape[0], np.int64) if starts is None else plain(starts)
    batch, steps = ([-1 if a == k else 1 for a in range(len(past.shape))] for k in (0, axis))
    places = first.reshape(batch) + np.arange(update.shape[axis]).reshape(steps)
    if node.get("mode", "linear") == "circular":
        places = places % past.shape[axis]
    return scattered(node, past, _along(update.shape, axis, places), update)


# --- searching -----------------------------------------------------------------------------------


@importer("TopK")
def _(node: Operator, x: Array, k: Array | None = None) -> Array:
    (count,) = integers(node.get("k") if k is None else k)
    axis = axis_of(node, node.get("axis", -1), len(x.shape))
    if count > x.shape[axis]:
        raise refused(node, f"k is {count}, but the axis has {x.shape[axis]} values")
    values, places = ops.topk(x, count, axis, bool(node.get("largest", 1)))
    return values, plain(places).astype(np.int64)


def _extreme(choose: Callable[..., Any], node: Operator, x: Array) -> Array:
    axis = axis_of(node, node.get("axis", 0), len(x.shape))
    values, last = plain(x), node.get("select_last_index", 0)
    if last:
        values = np.flip(values, axis)
    places = choose(values, axis, keepdims=bool(node.get("keepdims", 1)))
    return np.asarray(x.shape[axis] - 1 - places if last else places, np.int64)


importer("ArgMax")(partial(_extreme, np.argmax))
importer("ArgMin")(partial(_extreme, np.argmin))


@importer("Unique")
def _(node: Operator, x: Array) -> Array:
    axis = node.get("axis")
    if axis is None:
        x, axis = reshaped(x, (-1,)), 0
    a = axis_of(node, axis, len(x.shape))
    _, first, inverse, counts = np.unique(
        plain(x), return_index=True, return_inverse=True, return_counts=True, axis=a
    )
    inverse = inverse.reshape(-1)
    if not node.get("sorted", 1):  # in the order of the first occurrences
        order = np.argsort(first)
        first, counts, inverse = first[order], counts[order], np.argsort(order)[inverse]
    y = _at(x, (*(slice(None),) * a, first))
    return y, *(part.astype(np.int64) for part in (first, inverse, counts))


@importer("NonMaxSuppression")
def _(
    node: Operator,
    boxes: Array,
    scores: Array,
    limit: Array | None = None,
    overlap: Array | None = None,
    least: Array | None = None,
) -> Array:
    count = 0 if limit is None else integers(limit)[0]
    most = 0.0 if overlap is None else float(plain(overlap).reshape(()))
    floor = -np.inf if least is None else float(plain(least).reshape(()))
    corners = _corners(plain(boxes), node.get("center_point_box", 0))
    found = [
        (n, c, box)
        for n, batch in enumerate(plain(scores))
        for c, of_class in enumerate(batch)
        for box in _kept(corners[n], of_class, count, most, floor)
    ]
    return np.array(found, np.int64).reshape(-1, 3)


def _corners(boxes: NDArray[Any], centered: int) -> NDArray[Any]:
    """Return boxes as (low, low, high, high)."""
    first, second = boxes[..., :2], boxes[..., 2:]
    if centered:
        first, second = first - second / 2, first + second / 2
    return np.concatenate([np.minimum(first, second), np.maximum(first, second)], -1)


def _kept(
    boxes: NDArray[Any], scores: NDArray[Any], count: int, most: float, floor: float
) -> list[int]:
    """Return the boxes of one class, best first, that no better one overlaps too much."""
    kept: list[int] = []
    sizes = np.prod(boxes[:, 2:] - boxes[:, :2], -1)
    for box in np.argsort(-scores, kind="stable").tolist():
        if len(kept) == count or scores[box] <= floor:
            break
        low = np.maximum(boxes[kept, :2], boxes[box, :2])
        high = np.minimum(boxes[kept, 2:], boxes[box, 2:])
        common = np.prod(np.maximum(high - low, 0), -1)
        union = sizes[kept] + sizes[box] - common
        if not np.any(common > most * union):
            kept.append(box)
    return kept
