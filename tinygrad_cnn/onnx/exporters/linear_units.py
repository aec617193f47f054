"""Exporters of `tinygrad_cnn.ops.linear_units`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.exporters.values import int64, like, one_to_one
from tinygrad_cnn.onnx.graph import Graph, Reference, exporter

exporter(ops.mish)(one_to_one("Mish"))


@exporter(ops.gelu)
def _(graph: Graph, x: Reference, approximate: str = "none") -> Any:
    return graph.node("Gelu", x, approximate=approximate)


@exporter(ops.silu)
def _(graph: Graph, x: Reference) -> Any:
    return graph.node("Mul", x, graph.node("Sigmoid", x))


@exporter(ops.elu)
def _(graph: Graph, x: Reference, alpha: float = 1.0) -> Any:
    return graph.node("Elu", x, alpha=float(alpha))


@exporter("celu")
def _(graph: Graph, x: Reference, alpha: float = 1.0) -> Any:
    if x.dtype == np.float32:
        return graph.node("Celu", x, alpha=float(alpha))
    factor = like(x, alpha)  # Celu takes float32 only
    return graph.node("Mul", graph.node("Elu", graph.node("Div", x, factor)), factor)


exporter("selu")(one_to_one("Selu"))


@exporter("prelu")
def _(graph: Graph, x: Reference, weight: Reference) -> Any:
    lengths = [-1, *[1] * (x.array.ndim - 2)] if weight.array.size > 1 else [1] * x.array.ndim
    return graph.node("PRelu", x, graph.node("Reshape", weight, int64(lengths)))
