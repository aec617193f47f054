"""Exporters of `tinygrad_cnn.ops.rounding`, and of the ufuncs that take their place of integers."""

from __future__ import annotations

from typing import Any

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.exporters.values import as_floats, common, like
from tinygrad_cnn.onnx.graph import Graph, Reference, exporter


@exporter(ops.sign)
def _(graph: Graph, x: Reference) -> Any:
    return graph.node("Identity" if x.dtype.kind == "b" else "Sign", x)


def _step(op_type: str) -> Any:
    def export(graph: Graph, x: Reference) -> Any:
        return graph.node(op_type if x.dtype.kind == "f" else "Identity", x)

    return export


exporter(ops.floor)(_step("Floor"))
exporter(ops.ceil)(_step("Ceil"))


@exporter(ops.round)
def _(graph: Graph, x: Reference, decimals: int = 0) -> Any:
    if decimals == 0 or (decimals > 0 and x.dtype.kind != "f"):
        return _step("Round")(graph, x)
    there, back = ("Mul", "Div") if decimals > 0 else ("Div", "Mul")

    def compute(x: Reference) -> Any:
        ten = like(x, 10.0 ** abs(decimals))
        return graph.node(back, graph.node("Round", graph.node(there, x, ten)), ten)

    return as_floats(graph, x, compute)


@exporter(ops.mod)
@exporter("remainder")
def _mod(graph: Graph, a: Reference, b: Reference) -> Any:
    a, b = common(graph, a, b)
    if a.dtype.kind != "f":
        return graph.node("Mod", a, b)
    # For floats, the standard has only C's remainder, which has the sign of a.
    rest = graph.node("Mod", a, b, fmod=1)
    signs = [graph.node("Less", value, like(a, 0)) for value in (rest, b)]
    is_zero = graph.node("Equal", rest, like(a, 0))
    opposed = graph.node("And", graph.node("Not", is_zero), graph.node("Xor", *signs))
    return graph.node("Where", opposed, graph.node("Add", rest, b), rest)


@exporter(ops.floor_divide)
def _(graph: Graph, a: Reference, b: Reference) -> Any:
    # (a − a mod b) / b, as ⌊a / b⌋ is one too large where a / b is rounded up to an integer
    a, b = common(graph, a, b)
    quotient = graph.node("Div", graph.node("Sub", a, _mod(graph, a, b)), b)
    if a.dtype.kind != "f":
        return quotient
    by_zero = graph.node("Equal", b, like(b, 0))
    return graph.node("Where", by_zero, graph.node("Div", a, b), graph.node("Round", quotient))
