"""Exporters of `tinygrad_cnn.ops.linear`."""

from __future__ import annotations

from typing import Any

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.exporters.values import one_to_one
from tinygrad_cnn.onnx.graph import Graph, Reference, exporter

exporter(ops.matmul)(one_to_one("MatMul"))


@exporter(ops.linear)
def _(graph: Graph, x: Reference, w: Reference, bias: Reference | None = None) -> Any:
    if x.array.ndim == 2:
        return graph.node("Gemm", x, w, bias, transB=1)
    y = graph.node("MatMul", x, graph.node("Transpose", w, perm=[1, 0]))
    return y if bias is None else graph.node("Add", y, bias)
