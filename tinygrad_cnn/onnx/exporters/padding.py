"""Exporters of `tinygrad_cnn.ops.padding`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.exporters.values import cast, int64
from tinygrad_cnn.onnx.graph import Graph, Reference, exporter


@exporter(ops.pad)
def _(
    graph: Graph, x: Reference, pad_width: Any = 0, mode: str = "constant", value: float = 0.0
) -> Any:
    pairs = np.broadcast_to(pad_width, (x.array.ndim, 2))
    if not pairs.any():
        return graph.node("Identity", x)
    widths = int64(pairs.T.reshape(-1))
    if mode == "constant":
        dtype = ops.pad(x.array, 0, mode, value).dtype  # integers that cannot hold the value
        return graph.node("Pad", cast(graph, x, dtype), widths, np.asarray(value, dtype), mode=mode)
    # The standard has no symmetric borders, and onnxruntime none that are wider than the image.
    if mode != "symmetric" and (pairs.max(1) < np.array(x.array.shape)).all():
        return graph.node("Pad", x, widths, mode=mode)
    y: Any = x
    for axis, (border, n) in enumerate(zip(pairs, x.shape, strict=True)):
        if border.any():
            cells = np.pad(np.arange(int(n)), border, mode)  # type: ignore[call-overload]
            y = graph.node("Gather", y, int64(cells), axis=axis)
    return y
