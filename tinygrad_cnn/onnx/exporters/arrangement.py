"""Exporters of `tinygrad_cnn.ops.arrangement` that are operators of the standard."""

from __future__ import annotations

from typing import Any

from tinygrad_cnn.onnx.exporters.values import int64
from tinygrad_cnn.onnx.graph import Graph, Reference, exporter


@exporter("triu")
def _(graph: Graph, x: Reference, k: int = 0) -> Any:
    return graph.node("Trilu", x, int64(k), upper=1)


@exporter("tril")
def _(graph: Graph, x: Reference, k: int = 0) -> Any:
    return graph.node("Trilu", x, int64(k), upper=0)
