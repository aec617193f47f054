"""Exporters of `tinygrad_cnn.ops.gathering`, of which several take their indices from values."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.onnx.errors import OnnxError
from tinygrad_cnn.onnx.exporters.indexing import at_index
from tinygrad_cnn.onnx.exporters.values import cast, in_int64, int64, like
from tinygrad_cnn.onnx.graph import Graph, Reference, exporter


@exporter("take")
def _(graph: Graph, x: Reference, indices: Any, axis: int | None = None) -> Any:
    y, place = _along(graph, x, axis)
    return graph.node("Gather", y, in_int64(graph, indices), axis=place)


@exporter("take_along_axis")
def _(graph: Graph, x: Reference, indices: Any, axis: int | None = -1) -> Any:
    y, place = _along(graph, x, axis)
    shape = list((-1,) if axis is None else x.shape)
    return graph.node("GatherElements", y, _fitted(graph, indices, shape, place), axis=place)


@exporter("scatter_add")
def _(graph: Graph, x: Reference, indices: Any, values: Any, axis: int = -1) -> Any:
    place = axis % x.array.ndim
    places = _fitted(graph, indices, list(x.shape), place)
    added = graph.node("Expand", values, graph.node("Shape", places))
    return graph.node("ScatterElements", x, places, added, axis=place, reduction="add")


@exporter("scatter")
def _(graph: Graph, x: Reference, indices: Reference, values: Any, axis: int) -> Any:
    if not isinstance(values, Reference):
        values = graph.node(
            "Expand", np.array(values, x.dtype), graph.integers(list(indices.shape))
        )
    return graph.node("ScatterElements", x, indices, values, axis=axis)


@exporter("index_put")
def _(graph: Graph, x: Reference, index: Any, values: Any, accumulate: bool = False) -> Any:
    given: Any
    if isinstance(values, Reference):
        given, single = cast(graph, values, x.dtype), not values.array.ndim
    else:
        given, single = like(x, values), not np.ndim(values)
    if any(map(_is_computed_mask, index if isinstance(index, tuple) else (index,))):
        if accumulate or not single:
            raise OnnxError("the index is a computed mask, expected a single number to set")
        return graph.node("Where", _over_last(graph, index, x.array.ndim), given, x)
    # The places of the selected entries in the vector of all: the values are written there.
    shape = graph.node("Shape", x)
    zero, one, count = int64(0), int64(1), graph.node("Size", x)
    numbers = np.arange(x.array.size).reshape(x.array.shape)
    places = graph.node("Reshape", graph.node("Range", zero, count, one), shape)
    chosen = at_index(graph, Reference(places, numbers, x.shape), index)
    filling = graph.node("Expand", given, graph.node("Shape", chosen))
    line = int64([-1])
    y = graph.node("ScatterElements", graph.node("Reshape", x, line),
                   graph.node("Reshape", chosen, line), graph.node("Reshape", filling, line),
                   reduction="add" if accumulate else "none")  # fmt: skip
    return graph.node("Reshape", y, shape)


def _is_computed_mask(part: Any) -> bool:
    return isinstance(part, Reference) and not part.is_constant and part.dtype.kind == "b"


def _over_last(graph: Graph, mask: Any, ndim: int) -> Any:
    """Return a mask of the first axes with axes of length 1 for the others."""
    if not isinstance(mask, Reference):
        raise OnnxError("the index has a computed mask, expected only the mask")
    added = range(mask.array.ndim, ndim)
    return graph.node("Unsqueeze", mask, int64([*added])) if added else mask


@exporter("sort")
def _(graph: Graph, x: Reference, axis: int | None = -1, descending: bool = False) -> Any:
    return _sorted(graph, x, axis, descending)[0]


@exporter("argsort")
def _(graph: Graph, x: Reference, axis: int | None = -1, descending: bool = False) -> Any:
    return _sorted(graph, x, axis, descending)[1]


@exporter("topk")
def _(graph: Graph, x: Reference, k: Any, axis: int = -1, largest: bool = True) -> Any:
    counts = graph.integers([k])
    return graph.node("TopK", x, counts, outputs=2, axis=int(axis), largest=int(largest))


def _sorted(graph: Graph, x: Reference, axis: int | None, descending: bool) -> Any:
    y, place = _along(graph, x, axis)
    count = graph.node("Shape", y, start=place, end=place + 1)
    return graph.node("TopK", y, count, outputs=2, axis=place, largest=int(descending))


def _along(graph: Graph, x: Reference, axis: int | None) -> tuple[Any, int]:
    """Return `x` and the axis, not negative; without an axis, the vector of all entries."""
    if axis is None:
        return graph.node("Reshape", x, int64([-1])), 0
    return x, axis % x.array.ndim


def _fitted(graph: Graph, indices: Any, shape: list[Any], axis: int) -> Any:
    """Return indices, repeated to `shape` along all axes but one."""
    places = in_int64(graph, indices)
    own = list(places.shape)
    wanted = [1 if a == axis else n for a, n in enumerate(shape)]
    if [1 if a == axis else n for a, n in enumerate(own)] == wanted:
        return places
    return graph.node("Expand", places, graph.integers(wanted))
