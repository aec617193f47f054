"""Exporters of `tinygrad_cnn.ops.arrangement` whose ops need images of one size."""

from __future__ import annotations

from typing import Any

from tinygrad_cnn.onnx.exporters.values import whole
from tinygrad_cnn.onnx.graph import Graph, Reference, exporter


@exporter("triu")
def _(graph: Graph, x: Reference, k: int = 0) -> Any:
    return graph.node("Trilu", x, whole(k), upper=1)


@exporter("tril")
def _(graph: Graph, x: Reference, k: int = 0) -> Any:
    return graph.node("Trilu", x, whole(k), upper=0)
