"""Exporters of `tinygrad_cnn.ops.arithmetic`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from tinygrad_cnn import ops
from tinygrad_cnn.core.dtypes import float_dtype
from tinygrad_cnn.onnx.exporters.values import cast, common, one_to_one
from tinygrad_cnn.onnx.graph import Graph, Reference, exporter


def _of_two(op_type: str, of_bools: str | None = None) -> Any:
    def export(graph: Graph, a: Reference, b: Reference) -> Any:
        a, b = common(graph, a, b)
        return graph.node(of_bools if of_bools and a.dtype.kind == "b" else op_type, a, b)

    return export


exporter(ops.add)(_of_two("Add"))
exporter(ops.sub)(_of_two("Sub"))
exporter(ops.mul)(_of_two("Mul"))
exporter(ops.div)(_of_two("Div"))
exporter(ops.maximum)(_of_two("Max", "Or"))
exporter(ops.minimum)(_of_two("Min", "And"))
exporter(ops.neg)(one_to_one("Neg"))
exporter(ops.abs)(one_to_one("Abs"))


@exporter(ops.multiply_add)
def _(graph: Graph, a: Reference, b: Reference, c: Reference) -> Any:
    return graph.node("Add", graph.node("Mul", a, b), c)


@exporter(ops.where)
def _(graph: Graph, condition: Reference, a: Reference, b: Reference) -> Any:
    a, b = common(graph, a, b)
    if a.dtype.kind != "b":
        return graph.node("Where", condition, a, b)
    otherwise = graph.node("And", graph.node("Not", condition), b)  # onnxruntime lacks this Where
    return graph.node("Or", graph.node("And", condition, a), otherwise)


@exporter(ops.clip)
def _(graph: Graph, x: Reference, low: float | None = None, high: float | None = None) -> Any:
    dtype = np.clip(x.array[..., np.newaxis][..., :0], low, high).dtype
    if dtype.kind == "f" and x.dtype.kind != "f":
        dtype = np.dtype(float_dtype.get())
    limits = [None if limit is None else np.asarray(limit, dtype) for limit in (low, high)]
    return graph.node("Clip", cast(graph, x, dtype), *limits)


@exporter(ops.astype)
def _(graph: Graph, x: Reference, dtype: DTypeLike) -> Any:
    return graph.node("Identity", cast(graph, x, dtype))
