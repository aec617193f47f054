"""Exporters of `tinygrad_cnn.ops.normalization`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.exporters.values import int64, joined
from tinygrad_cnn.onnx.graph import Graph, Reference, exporter


@exporter(ops.layer_norm)
def _(
    graph: Graph,
    x: Reference,
    normalized_shape: int | Sequence[int],
    weight: Reference | None = None,
    bias: Reference | None = None,
    eps: float = 1e-5,
) -> Any:
    count = len(normalized_shape) if isinstance(normalized_shape, Sequence) else 1
    scale = np.ones(x.shape[-count:], x.dtype) if weight is None else weight
    return graph.node("LayerNormalization", x, scale, bias, axis=-count, epsilon=float(eps))


@exporter(ops.group_norm)
def _(
    graph: Graph,
    x: Reference,
    num_groups: int,
    weight: Reference | None = None,
    bias: Reference | None = None,
    eps: float = 1e-5,
) -> Any:
    # GroupNormalization has a scale for each channel from opset 21 on, and before for each group.
    # So groups are the channels of InstanceNormalization.
    ones, zeros = np.ones(num_groups, x.dtype), np.zeros(num_groups, x.dtype)
    channels_of_one = x.array.shape[1] // num_groups
    groups = joined(graph, x, [0, num_groups], channels_of_one, x, 2)
    normal = graph.node("InstanceNormalization", groups, ones, zeros, epsilon=float(eps))
    y = graph.node("Reshape", normal, graph.node("Shape", x))
    for op_type, factor in (("Mul", weight), ("Add", bias)):
        if factor is not None:
            channels = int64([-1] + [1] * (x.array.ndim - 2))
            y = graph.node(op_type, y, graph.node("Reshape", factor, channels))
    return y


@exporter("instance_norm")
def _(
    graph: Graph,
    x: Reference,
    weight: Reference | None = None,
    bias: Reference | None = None,
    eps: float = 1e-5,
) -> Any:
    channels = int(x.shape[1])
    scale = np.ones(channels, x.dtype) if weight is None else weight
    shift = np.zeros(channels, x.dtype) if bias is None else bias
    return graph.node("InstanceNormalization", x, scale, shift, epsilon=float(eps))


@exporter("batch_norm_inference")
def _(
    graph: Graph, x: Reference, mean: Reference, variance: Reference, weight: Any, bias: Any,
    eps: float,
) -> Any:  # fmt: skip
    scale = np.ones(mean.shape, mean.dtype) if weight is None else weight
    shift = np.zeros(mean.shape, mean.dtype) if bias is None else bias
    return graph.node("BatchNormalization", x, scale, shift, mean, variance, epsilon=eps)
