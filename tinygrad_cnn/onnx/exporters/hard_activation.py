"""Exporters of `tinygrad_cnn.ops.hard_activation`."""

from __future__ import annotations

from typing import Any

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.exporters.values import like, one_to_one
from tinygrad_cnn.onnx.graph import Graph, Reference, exporter


@exporter(ops.hardtanh)
def _(graph: Graph, x: Reference, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    return graph.node("Clip", x, like(x, min_val), like(x, max_val))


@exporter("hardsigmoid")
def _(graph: Graph, x: Reference) -> Any:
    return graph.node("HardSigmoid", x, alpha=1 / 6, beta=0.5)


exporter("hardswish")(one_to_one("HardSwish"))
