"""Exporters of `tinygrad_cnn.ops.loss`."""

from __future__ import annotations

from typing import Any

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.exporters.values import like
from tinygrad_cnn.onnx.graph import Graph, Reference, exporter

__all__ = ["reduced"]


@exporter(ops.mse)
def _(graph: Graph, prediction: Reference, target: Reference, reduction: str = "mean") -> Any:
    return reduced(graph, _square(graph, prediction, target), reduction)


@exporter(ops.squared_error)
def _(graph: Graph, prediction: Reference, target: Reference, reduction: str = "sum") -> Any:
    half = graph.node("Mul", _square(graph, prediction, target), like(prediction, 0.5))
    return reduced(graph, half, reduction)


def _square(graph: Graph, prediction: Reference, target: Reference) -> Any:
    difference = graph.node("Sub", prediction, target)
    return graph.node("Mul", difference, difference)


def reduced(graph: Graph, losses: Any, reduction: str) -> Any:
    """Return the losses, their sum or their mean."""
    if reduction == "none":
        return losses
    return graph.node("ReduceMean" if reduction == "mean" else "ReduceSum", losses, keepdims=0)
