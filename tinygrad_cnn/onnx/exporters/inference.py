"""Exporters of what layers and `compat.torch` compute by several ops, and files by one node."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.onnx.graph import Graph, Reference, exporter


@exporter("batch_norm_inference")
def _(
    graph: Graph, x: Reference, mean: Reference, variance: Reference, weight: Any, bias: Any,
    eps: float,
) -> Any:  # fmt: skip
    scale = np.ones(mean.shape, mean.dtype) if weight is None else weight
    shift = np.zeros(mean.shape, mean.dtype) if bias is None else bias
    return graph.node("BatchNormalization", x, scale, shift, mean, variance, epsilon=eps)


@exporter("scatter")
def _(graph: Graph, x: Reference, indices: Reference, values: Any, axis: int) -> Any:
    if not isinstance(values, Reference):
        values = graph.node(
            "Expand", np.array(values, x.dtype), graph.integers(list(indices.shape))
        )
    return graph.node("ScatterElements", x, indices, values, axis=axis)


@exporter("size")
def _(graph: Graph, size: Any, reciprocal: bool, like: Reference) -> Any:
    number = graph.node("Cast", graph.integers([size]), to=like.dtype)
    number = graph.node("Reciprocal", number) if reciprocal else number
    return graph.reshaped(number, like.shape)
