"""Exporters of `tinygrad_cnn.ops.unfolding`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.engine.windows import Padding, Pair, pair
from tinygrad_cnn.onnx.exporters.convolution import window_attributes
from tinygrad_cnn.onnx.exporters.values import as_floats, on_batches, whole
from tinygrad_cnn.onnx.graph import Graph, Reference, exporter


@exporter(ops.unfold)
def _(
    graph: Graph,
    x: Reference,
    kernel_size: Pair,
    dilation: Pair = 1,
    padding: Padding = 0,
    stride: Pair = 1,
) -> Any:
    # A convolution with a kernel for each cell, which is 1 there and 0 elsewhere.
    kernel = pair("", "kernel_size", kernel_size, 1)
    channels, cells = x.shape[-3], math.prod(kernel)
    dtype = x.dtype if x.dtype.kind == "f" else np.dtype(float)
    kernels = np.tile(np.eye(cells, dtype=dtype).reshape(cells, 1, *kernel), (channels, 1, 1, 1))
    attributes = window_attributes(x.shape, kernel, stride, padding, dilation)

    def compute(x: Any) -> Any:
        y = graph.node("Conv", x, kernels, group=channels, **attributes)
        return graph.node("Reshape", y, whole([0, channels * cells, -1]))

    return as_floats(graph, x, lambda x: on_batches(graph, x, 4, compute))


@exporter(ops.fold)
def _(
    graph: Graph,
    x: Reference,
    output_size: Pair,
    kernel_size: Pair,
    dilation: Pair = 1,
    padding: Padding = 0,
    stride: Pair = 1,
) -> Any:
    kernel = pair("", "kernel_size", kernel_size, 1)
    size = output_size if isinstance(output_size, tuple | list) else (output_size, output_size)
    attributes = window_attributes(tuple(size), kernel, stride, padding, dilation)
    shape = whole(attributes.pop("kernel_shape"))

    def compute(x: Any) -> Any:
        return graph.node("Col2Im", x, graph.integers(size), shape, **attributes)

    return as_floats(graph, x, lambda x: on_batches(graph, x, 3, compute))
