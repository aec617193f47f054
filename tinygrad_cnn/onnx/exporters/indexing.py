"""Exporters of `tinygrad_cnn.ops.indexing`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.errors import OnnxError
from tinygrad_cnn.onnx.exporters.shape import to_the_end
from tinygrad_cnn.onnx.exporters.values import in_int64, int64, like
from tinygrad_cnn.onnx.graph import Graph, Reference, exporter

__all__ = ["at_index"]


@exporter(ops.getitem)
def at_index(graph: Graph, x: Reference, index: Any) -> Any:
    """Return the part of `x` that an index of NumPy selects."""
    if isinstance(index, Reference) and not index.is_constant:
        return graph.node("Gather", x, in_int64(graph, index), axis=0)
    parts = _spelled_out(index, x.array.ndim)
    places = [part for part in parts if part is not None]
    y = _sliced(graph, x, places)
    chosen = {a: part for a, part in enumerate(places) if not isinstance(part, slice)}
    if len(chosen) > 1 and any(map(_ndim, chosen.values())):
        y, parts = _gathered(graph, y, parts, chosen)
    else:
        for axis in sorted(chosen, reverse=True):
            y = graph.node("Gather", y, in_int64(graph, chosen[axis]), axis=axis)
        parts = [new for part in parts for new in _axes_of(part)]
    added = [a for a, part in enumerate(parts) if part is None]
    if added:
        y = graph.node("Unsqueeze", y, int64(added))
    return graph.node("Identity", x) if y is x else y


def _spelled_out(index: Any, ndim: int) -> list[Any]:
    """Return an int, a slice or an array of integers for each axis, with None for new axes."""
    parts: list[Any] = []
    for part in index if isinstance(index, tuple) else (index,):
        if isinstance(part, Reference) and part.is_constant:
            part = part.array
        if isinstance(part, list):
            part = np.array(part) if part else np.empty(0, np.int64)
        if isinstance(part, bool | np.bool_):
            raise OnnxError(f"the index is {part}, expected integers, slices or arrays")
        if isinstance(part, np.ndarray) and part.dtype.kind == "b":
            parts += part.nonzero()
        else:
            parts.append(part)
    spent = sum(part is not None and part is not Ellipsis for part in parts)
    cut = next((k for k, part in enumerate(parts) if part is Ellipsis), len(parts))
    return [*parts[:cut], *[slice(None)] * (ndim - spent), *parts[cut + 1 :]]


def _sliced(graph: Graph, x: Reference, places: Sequence[Any]) -> Any:
    """Return `x` cut along the axes that have a slice."""
    cuts = {a: part for a, part in enumerate(places)
            if isinstance(part, slice) and part != slice(None)}  # fmt: skip
    if not cuts:
        return x
    steps = [1 if cut.step is None else int(cut.step) for cut in cuts.values()]
    starts, ends = [], []
    for cut, step in zip(cuts.values(), steps, strict=True):
        first = 0 if step > 0 else to_the_end(1)
        starts.append(first if cut.start is None else cut.start)
        ends.append(to_the_end(step) if cut.stop is None else cut.stop)
    bounds = graph.integers(starts), graph.integers(ends)
    return graph.node("Slice", x, *bounds, int64(list(cuts)), int64(steps))


def _gathered(
    graph: Graph, x: Any, parts: Sequence[Any], chosen: dict[int, Any]
) -> tuple[Any, list[Any]]:
    """Return the entries at several arrays, and the index of the axes that are left.

    As in NumPy, their axes come first, unless the arrays stand next to each other.
    """
    ndim, found = sum(part is not None for part in parts), max(map(_ndim, chosen.values()))
    others = [a for a in range(ndim) if a not in chosen]
    y = graph.node("Transpose", x, perm=[*chosen, *others])
    y = graph.node("GatherND", y, _stacked(graph, [*chosen.values()], found))
    is_array = [part is not None and not isinstance(part, slice) for part in parts]
    first = is_array.index(True)
    rest = [part for part, is_one in zip(parts, is_array, strict=True) if not is_one]
    if not all(is_array[first : first + len(chosen)]):
        return y, [slice(None)] * found + rest
    before = sum(part is not None for part in parts[:first])
    if before and found:
        order = [
            *range(found, found + before),
            *range(found),
            *range(found + before, found + len(others)),
        ]
        y = graph.node("Transpose", y, perm=order)
    return y, [*parts[:first], *[slice(None)] * found, *rest[first:]]


def _stacked(graph: Graph, arrays: list[Any], ndim: int) -> Any:
    """Return arrays of an index, broadcast against each other, along a new last axis."""
    if not any(isinstance(part, Reference) for part in arrays):
        return np.stack(np.broadcast_arrays(*map(int64, arrays)), -1)
    wide = [in_int64(graph, part) for part in arrays]
    total = wide[0]
    for part in wide[1:]:
        total = graph.node("Add", total, part)  # for its shape
    shape = graph.node("Shape", total)
    last = int64([ndim])
    lines = [graph.node("Unsqueeze", graph.node("Expand", part, shape), last) for part in wide]
    return graph.node("Concat", *lines, axis=-1)


def _axes_of(part: Any) -> list[Any]:
    """Return the part of an index for each axis of the result: None for a new one."""
    return [part] if part is None or isinstance(part, slice) else [slice(None)] * _ndim(part)


def _ndim(part: Any) -> int:
    return np.ndim(part.array if isinstance(part, Reference) else part)


@exporter(ops.put)
def _(graph: Graph, x: Reference, index: Any, shape: Sequence[int]) -> Any:
    # The places of the selected entries in the vector of all: x is added to zeros there.
    sizes = tuple(shape)
    places = np.arange(math.prod(sizes)).reshape(sizes)
    if isinstance(index, Reference) and not index.is_constant:
        chosen = at_index(graph, Reference(graph.node("Identity", places), places, sizes), index)
        chosen = graph.node("Reshape", chosen, int64([-1]))
    else:
        chosen = places[index.array if isinstance(index, Reference) else index].reshape(-1)
    zeros, values = like(x, np.zeros(places.size)), graph.node("Reshape", x, int64([-1]))
    y = graph.node("ScatterElements", zeros, chosen, values, reduction="add")
    return graph.node("Reshape", y, int64(sizes), allowzero=1)


@exporter(ops.concatenate)
def _(graph: Graph, arrays: Sequence[Reference], axis: int | None = 0) -> Any:
    parts: list[Any] = list(arrays)
    if axis is None:
        parts = [graph.node("Reshape", part, int64([-1])) for part in parts]
    return graph.node("Concat", *parts, axis=0 if axis is None else int(axis))


@exporter(ops.stack)
def _(graph: Graph, arrays: Sequence[Reference], axis: int = 0) -> Any:
    place = axis % (arrays[0].array.ndim + 1)
    return graph.node(
        "Concat", *(graph.node("Unsqueeze", x, int64([place])) for x in arrays), axis=place
    )
