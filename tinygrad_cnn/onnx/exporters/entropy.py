"""Exporters of `tinygrad_cnn.ops.entropy`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.exporters.loss import reduced
from tinygrad_cnn.onnx.exporters.values import cast, int64, like
from tinygrad_cnn.onnx.graph import Graph, Reference, exporter
from tinygrad_cnn.ops.targets import class_axis


@exporter(ops.cross_entropy)
def _(
    graph: Graph,
    logits: Reference,
    target: Reference,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    axis: int | None = None,
    weight: Reference | None = None,
    ignore_index: int = -100,
) -> Any:
    at = class_axis("cross_entropy", logits.array.shape, axis)
    logarithms = graph.node("LogSoftmax", logits, axis=at)
    return _loss(graph, logits, logarithms, at, target, reduction, label_smoothing, weight,
                 ignore_index)  # fmt: skip


@exporter("nll")
def _(
    graph: Graph,
    log_probabilities: Reference,
    target: Reference,
    reduction: str = "mean",
    axis: int | None = None,
    weight: Reference | None = None,
    ignore_index: int = -100,
) -> Any:
    x = log_probabilities
    at = class_axis("nll", x.array.shape, axis)
    return _loss(graph, x, x, at, target, reduction, 0.0, weight, ignore_index)


def _loss(
    graph: Graph,
    logits: Reference,
    logarithms: Any,
    at: int,
    target: Reference,
    reduction: str,
    label_smoothing: float,
    weight: Reference | None,
    ignore_index: int,
) -> Any:
    """Return −Σ t·ln p / n along an axis; the operators of the standard take labels only."""
    classes, zero = int(logits.shape[at]), like(logits, 0)
    along = [classes] + [1] * (logits.array.ndim - at - 1)
    shares = None  # of each label in the mean
    if target.array.ndim == logits.array.ndim:
        wanted: Any = cast(graph, target, logits.dtype)
    else:
        labels = graph.node("Unsqueeze", cast(graph, target, np.int64), int64([at]))
        is_label = graph.node("Equal", labels, np.arange(classes).reshape(along))
        wanted = graph.node("Cast", is_label, to=logits.dtype)
        counted = graph.node("Not", graph.node("Equal", labels, int64(ignore_index)))
        shares = graph.node("Cast", counted, to=logits.dtype)
    rows = wanted
    if label_smoothing:
        kept = graph.node("Mul", wanted, like(logits, 1 - label_smoothing))
        wanted = graph.node("Add", kept, like(logits, label_smoothing / classes))
    if weight is not None:
        factors = graph.node("Reshape", cast(graph, weight, logits.dtype), int64(along))
        wanted = graph.node("Mul", wanted, factors)
        if shares is not None:
            own = graph.node("ReduceSum", graph.node("Mul", rows, factors), int64([at]))
            shares = graph.node("Mul", shares, own)
    none = graph.node("Equal", wanted, zero)  # 0·(−∞) counts as 0
    if shares is not None:
        none = graph.node("Or", none, graph.node("Equal", shares, zero))
    terms = graph.node("Where", none, zero, graph.node("Mul", wanted, logarithms))
    losses = graph.node("Neg", graph.node("ReduceSum", terms, int64([at]), keepdims=0))
    if reduction != "mean" or shares is None:
        return reduced(graph, losses, reduction)
    return graph.node("Div", *(reduced(graph, values, "sum") for values in (losses, shares)))
