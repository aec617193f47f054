"""Exporters of `tinygrad_cnn.ops.trigonometry`."""

from __future__ import annotations

import math
from typing import Any

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.exporters.values import like, one_to_one
from tinygrad_cnn.onnx.graph import Graph, Reference, exporter

exporter(ops.sin)(one_to_one("Sin"))
exporter(ops.cos)(one_to_one("Cos"))
exporter(ops.tan)(one_to_one("Tan"))
exporter(ops.arctan)(one_to_one("Atan"))
exporter(ops.sinh)(one_to_one("Sinh"))
exporter(ops.cosh)(one_to_one("Cosh"))


@exporter(ops.arctan2)
def _(graph: Graph, a: Reference, b: Reference) -> Any:
    # The angle to the nearer half of the axis, which is mirrored where b < 0.
    zero, turn = like(a, 0), like(a, math.pi)
    sizes = graph.node("Abs", a), graph.node("Abs", b)
    is_diagonal = graph.node("Equal", *sizes)  # also 0 and 0, or ∞ and ∞, whose quotient is NaN
    slope = graph.node("Where", is_diagonal, graph.node("Sign", a), graph.node("Div", a, sizes[1]))
    right = graph.node("Atan", slope)
    half = graph.node("Where", graph.node("Less", a, zero), like(a, -math.pi), turn)
    left = graph.node("Sub", half, right)
    return graph.node("Where", graph.node("Less", b, zero), left, right)


@exporter(ops.hypot)
def _(graph: Graph, a: Reference, b: Reference) -> Any:
    # m·√(1 + (n/m)²) for the larger size m and the smaller one n, as squares may overflow
    one, sizes = like(a, 1), (graph.node("Abs", a), graph.node("Abs", b))
    m, n = graph.node("Max", *sizes), graph.node("Min", *sizes)
    ratio = graph.node("Where", graph.node("Equal", m, n), one, graph.node("Div", n, m))
    root = graph.node("Sqrt", graph.node("Add", graph.node("Mul", ratio, ratio), one))
    return graph.node("Mul", m, root)
