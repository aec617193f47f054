"""Exporters of comparisons and logical operations, which are ufuncs of NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.onnx.exporters.values import cast, common, like, one_to_one
from tinygrad_cnn.onnx.graph import Graph, Reference, exporter

exporter("isnan")(one_to_one("IsNaN"))
exporter("isinf")(one_to_one("IsInf"))


def _comparison(op_type: str) -> Any:
    def export(graph: Graph, a: Reference, b: Reference) -> Any:
        a, b = common(graph, a, b)
        if a.dtype.kind == "b" and op_type != "Equal":
            a, b = cast(graph, a, np.int32), cast(graph, b, np.int32)
        return graph.node(op_type, a, b)

    return export


for _ufunc, _op_type in [
    ("equal", "Equal"),
    ("less", "Less"),
    ("less_equal", "LessOrEqual"),
    ("greater", "Greater"),
    ("greater_equal", "GreaterOrEqual"),
]:
    exporter(_ufunc)(_comparison(_op_type))


@exporter("not_equal")
def _(graph: Graph, a: Reference, b: Reference) -> Any:
    return graph.node("Not", graph.node("Equal", *common(graph, a, b)))


def _logical(op_type: str) -> Any:
    def export(graph: Graph, **arguments: Reference) -> Any:
        return graph.node(op_type, *(cast(graph, x, bool) for x in arguments.values()))

    return export


for _ufunc, _op_type in [
    ("logical_and", "And"),
    ("logical_or", "Or"),
    ("logical_xor", "Xor"),
    ("logical_not", "Not"),
]:
    exporter(_ufunc)(_logical(_op_type))


def _bitwise(of_bools: str) -> Any:
    def export(graph: Graph, a: Reference, b: Reference) -> Any:
        a, b = common(graph, a, b)
        return graph.node(of_bools if a.dtype.kind == "b" else f"Bitwise{of_bools}", a, b)

    return export


exporter("bitwise_and")(_bitwise("And"))
exporter("bitwise_or")(_bitwise("Or"))
exporter("bitwise_xor")(_bitwise("Xor"))


@exporter("invert")
def _(graph: Graph, a: Reference) -> Any:
    return graph.node("Not" if a.dtype.kind == "b" else "BitwiseNot", a)


@exporter("power")
def _(graph: Graph, a: Reference, b: Reference) -> Any:
    return graph.node("Pow", *common(graph, a, b))


@exporter("isfinite")
def _(graph: Graph, a: Reference) -> Any:
    return graph.node("Not", graph.node("Or", graph.node("IsNaN", a), graph.node("IsInf", a)))


@exporter("signbit")
def _(graph: Graph, a: Reference) -> Any:
    return graph.node("Less", a, like(a, 0))  # but −0 counts as 0
