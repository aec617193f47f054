"""Exporters of `tinygrad_cnn.ops.statistics`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_cnn.onnx.exporters.values import cast, int64, like
from tinygrad_cnn.onnx.graph import Graph, Reference, exporter
from tinygrad_cnn.ops.reduction import Axis
from tinygrad_cnn.ops.shape import axes_of


@exporter("norm")
def _(graph: Graph, x: Reference, ord: float = 2, axis: Axis = None, keepdims: bool = False) -> Any:
    axes = axes_of("norm", x.array.shape, axis)
    operator = {1.0: "ReduceL1", 2.0: "ReduceL2", math.inf: "ReduceMax"}.get(ord)
    sizes = graph.node("Abs", x)
    if not axes:
        return sizes
    if operator is not None:
        return graph.node(operator, sizes, int64(axes), keepdims=int(keepdims))
    # Divided by the largest, no power of an entry overflows.
    largest = graph.node("ReduceMax", sizes, int64(axes), keepdims=1)
    is_zero = graph.node("Equal", largest, like(x, 0))
    unit = graph.node("Where", is_zero, like(x, 1), largest)
    powers = graph.node("Pow", graph.node("Div", sizes, unit), like(x, ord))
    total = graph.node("ReduceSum", powers, int64(axes), keepdims=1)
    y = graph.node("Mul", unit, graph.node("Pow", total, like(x, 1 / ord)))
    return y if keepdims else graph.node("Squeeze", y, int64(axes))


@exporter("prod")
def _(graph: Graph, x: Reference, axis: Axis = None, keepdims: bool = False) -> Any:
    axes = axes_of("prod", x.array.shape, axis)
    if not axes:
        return graph.node("Identity", x)
    return graph.node("ReduceProd", x, int64(axes), keepdims=int(keepdims))


@exporter("count_nonzero")
def _(graph: Graph, x: Reference, axis: Axis = None, keepdims: bool = False) -> Any:
    return _count(graph, x, cast(graph, x, bool), axis, keepdims)


@exporter("any")
def _(graph: Graph, x: Reference, axis: Axis = None, keepdims: bool = False) -> Any:
    found = _count(graph, x, cast(graph, x, bool), axis, keepdims)
    return graph.node("Greater", found, int64(0))


@exporter("all")
def _(graph: Graph, x: Reference, axis: Axis = None, keepdims: bool = False) -> Any:
    others = _count(graph, x, graph.node("Not", cast(graph, x, bool)), axis, keepdims)
    return graph.node("Equal", others, int64(0))


def _count(graph: Graph, x: Reference, mask: Any, axis: Axis, keepdims: bool) -> Any:
    axes = axes_of("count", x.array.shape, axis)
    ones = graph.node("Cast", mask, to=np.dtype(np.int64))
    return graph.node("ReduceSum", ones, int64(axes), keepdims=int(keepdims)) if axes else ones


def _place(op_type: str) -> Any:
    def export(graph: Graph, x: Reference, axis: int | None = None, keepdims: bool = False) -> Any:
        values: Any = x if x.dtype.kind == "f" else cast(graph, x, np.float64)
        if axis is not None:
            return graph.node(op_type, values, axis=int(axis), keepdims=int(keepdims))
        vector = graph.node("Reshape", values, int64([-1]))
        place = graph.node(op_type, vector, axis=0, keepdims=0)
        if not keepdims:
            return place
        return graph.node("Reshape", place, int64([1] * x.array.ndim))

    return export


exporter("argmax")(_place("ArgMax"))
exporter("argmin")(_place("ArgMin"))
