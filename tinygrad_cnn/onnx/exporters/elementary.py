"""Exporters of `tinygrad_cnn.ops.elementary`."""

from __future__ import annotations

import math
from typing import Any

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.exporters.values import like, one_to_one
from tinygrad_cnn.onnx.graph import Graph, Reference, exporter

exporter(ops.pow)(one_to_one("Pow"))
exporter(ops.exp)(one_to_one("Exp"))
exporter(ops.log)(one_to_one("Log"))
exporter(ops.sqrt)(one_to_one("Sqrt"))
exporter(ops.erf)(one_to_one("Erf"))


@exporter(ops.log1p)
def _(graph: Graph, x: Reference) -> Any:
    # With u = 1 + x rounded, ln u · x / (u − 1) has all digits of ln(1 + x) (Kahan).
    one = like(x, 1)
    u = graph.node("Add", x, one)
    rest = graph.node("Sub", u, one)
    log = graph.node("Log", u)
    exact = graph.node("Mul", log, graph.node("Div", x, rest))
    large = graph.node("Where", graph.node("Less", x, one), exact, log)  # ∞ / ∞ would be NaN
    return graph.node("Where", graph.node("Equal", rest, like(x, 0)), x, large)


@exporter(ops.expm1)
def _(graph: Graph, x: Reference) -> Any:
    # eˣ − 1 = tanh(x / 2)·(eˣ + 1), without cancellation near 0
    half = graph.node("Tanh", graph.node("Mul", x, like(x, 0.5)))
    return graph.node("Mul", half, graph.node("Add", graph.node("Exp", x), like(x, 1)))


@exporter(ops.log2)
def _(graph: Graph, x: Reference) -> Any:
    return graph.node("Div", graph.node("Log", x), like(x, math.log(2)))


@exporter(ops.log10)
def _(graph: Graph, x: Reference) -> Any:
    return graph.node("Div", graph.node("Log", x), like(x, math.log(10)))


@exporter(ops.square)
def _(graph: Graph, x: Reference) -> Any:
    return graph.node("Mul", x, x)


@exporter(ops.erfc)
def _(graph: Graph, x: Reference) -> Any:
    return graph.node("Sub", like(x, 1), graph.node("Erf", x))
