"""Exporters of `tinygrad_cnn.ops.reduction`."""

from __future__ import annotations

from typing import Any

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.exporters.values import int64
from tinygrad_cnn.onnx.graph import Graph, Reference, exporter
from tinygrad_cnn.ops.reduction import Axis
from tinygrad_cnn.ops.shape import axes_of


def _reduction(op_type: str) -> Any:
    def export(graph: Graph, x: Reference, axis: Axis = None, keepdims: bool = False) -> Any:
        axes = axes_of(op_type, x.shape, axis)
        if not axes:  # without axes, the operator would reduce all of them
            return graph.node("Identity", x)
        return graph.node(op_type, x, int64(axes), keepdims=int(keepdims))

    return export


exporter(ops.sum)(_reduction("ReduceSum"))
exporter(ops.mean)(_reduction("ReduceMean"))
exporter(ops.max)(_reduction("ReduceMax"))
exporter(ops.min)(_reduction("ReduceMin"))
exporter(ops.logsumexp)(_reduction("ReduceLogSumExp"))


@exporter(ops.cumsum)
def _(graph: Graph, x: Reference, axis: int | None = None) -> Any:
    if axis is None:
        return graph.node("CumSum", graph.node("Reshape", x, int64([-1])), int64(0))
    return graph.node("CumSum", x, int64(axis))
