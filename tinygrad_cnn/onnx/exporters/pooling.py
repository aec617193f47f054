"""Exporters of `tinygrad_cnn.ops.pooling`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.engine.windows import Padding, Pair, windows
from tinygrad_cnn.onnx.exporters.convolution import bordered, is_refused, window_attributes
from tinygrad_cnn.onnx.exporters.values import as_floats, both, int64, on_batches
from tinygrad_cnn.onnx.graph import Graph, Reference, exporter


@exporter(ops.maxpool)
def _(
    graph: Graph,
    x: Reference,
    kernel_size: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    wide_padding: bool = False,
) -> Any:
    kernel = both(kernel_size)
    attributes = window_attributes(x.shape, kernel, stride or kernel, padding, dilation)
    lowest = np.asarray(-np.inf, x.dtype if x.dtype.kind == "f" else float)
    top, left, bottom, right = attributes.get("pads", [0] * 4)
    # onnxruntime refuses a border as wide as the kernel, beyond which a dilated window may reach.
    is_wide = max(top, bottom) >= kernel[0] or max(left, right) >= kernel[1]

    def compute(images: Any) -> Any:
        own = attributes
        if is_wide or is_refused(attributes):
            images = bordered(graph, images, attributes, lowest)
            own = {k: v for k, v in attributes.items() if k != "auto_pad"} | {"pads": [0] * 4}
        return _pooled(graph, "MaxPool", images, x.shape, ceil_mode, attributes, own)

    return as_floats(graph, x, lambda x: on_batches(graph, x, 4, compute))


@exporter(ops.avgpool)
def _(
    graph: Graph,
    x: Reference,
    kernel_size: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    wide_padding: bool = False,
) -> Any:
    kernel = both(kernel_size)
    attributes = window_attributes(x.shape, kernel, stride or kernel, padding, 1)
    own = {**attributes, "count_include_pad": int(count_include_pad)}
    return on_batches(
        graph,
        x,
        4,
        lambda images: _pooled(graph, "AveragePool", images, x.shape, ceil_mode, attributes, own),
    )


def _pooled(
    graph: Graph,
    op_type: str,
    images: Any,
    shape: tuple[Any, ...],
    ceil_mode: bool,
    at: dict[str, Any],
    attributes: dict[str, Any],
) -> Any:
    """Return a pooling of images; `at` has the windows on those of `shape`, without a border."""
    size = shape[-2:]
    if not ceil_mode or "pads" not in at or not all(isinstance(n, int) for n in size):
        return graph.node(op_type, images, ceil_mode=int(ceil_mode), **attributes)
    # A window that would start in the border at the end is left out, as in PyTorch. onnxruntime
    # does that too, but the standard says so from opset 22 on, and other programs may not.
    top, left, bottom, right = at["pads"]
    border = ((top, bottom), (left, right))
    kernel, strides, dilations = (
        (at[name][0], at[name][1]) for name in ("kernel_shape", "strides", "dilations")
    )
    count = windows("", (size[0], size[1]), kernel, strides, border, dilations, True).count
    rooms = [
        n + sum(ends) - d * (k - 1) - 1
        for n, ends, d, k in zip(size, border, dilations, kernel, strict=True)
    ]
    down = tuple(room // s + 1 for room, s in zip(rooms, strides, strict=True))
    up = tuple(-(-room // s) + 1 for room, s in zip(rooms, strides, strict=True))
    y = graph.node(op_type, images, ceil_mode=int(count != down), **attributes)
    if count in (down, up):
        return y
    return graph.node("Slice", y, int64([0, 0]), int64(count), int64([2, 3]))
