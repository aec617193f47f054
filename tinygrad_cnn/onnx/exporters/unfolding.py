"""Exporters of `tinygrad_cnn.ops.unfolding`."""

from __future__ import annotations

from itertools import product
from typing import Any

from tinygrad_cnn import ops
from tinygrad_cnn.engine.windows import Padding, Pair
from tinygrad_cnn.onnx.exporters.convolution import bordered, window_attributes
from tinygrad_cnn.onnx.exporters.shape import to_the_end
from tinygrad_cnn.onnx.exporters.values import as_floats, both, int64, joined, like, on_batches
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
    # The cells at one offset in all windows are a slice of the image with its border.
    kernel = both(kernel_size)
    at = window_attributes(x.shape, kernel, stride, padding, dilation)
    steps, dilations = int64(at["strides"]), at["dilations"]

    def compute(images: Any) -> Any:
        padded = bordered(graph, images, at, like(x, 0))
        cells = []
        for offsets in product(*(range(k) for k in kernel)):
            starts = [i * d for i, d in zip(offsets, dilations, strict=True)]
            rests = [(k - 1 - i) * d for i, k, d in zip(offsets, kernel, dilations, strict=True)]
            ends = [-rest if rest else to_the_end(1) for rest in rests]
            cell = graph.node("Slice", padded, int64(starts), int64(ends), int64([2, 3]), steps)
            cells.append(graph.node("Unsqueeze", cell, int64([2])))
        columns = graph.node("Concat", *cells, axis=2)
        return joined(graph, columns, [0, x.shape[-3] * len(cells)], 1, columns, 3)

    return on_batches(graph, x, 4, compute)


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
    kernel = both(kernel_size)
    size = output_size if isinstance(output_size, tuple | list) else (output_size, output_size)
    attributes = window_attributes(tuple(size), kernel, stride, padding, dilation)
    shape = int64(attributes.pop("kernel_shape"))

    def compute(x: Any) -> Any:
        return graph.node("Col2Im", x, graph.integers(size), shape, **attributes)

    return as_floats(graph, x, lambda x: on_batches(graph, x, 3, compute))
