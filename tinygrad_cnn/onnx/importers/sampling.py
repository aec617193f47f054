"""Images read at points between their pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.importers.values import refused
from tinygrad_cnn.onnx.operator import Operator, importer

MODES = {"linear": "bilinear", "cubic": "bicubic"}  # ours of the names from opset 20 on


@importer("GridSample")
def _(node: Operator, x: Any, grid: Any) -> Any:
    mode = node.get("mode", "linear")
    if x.ndim not in (4, 5):
        raise refused(node, f"x has shape {x.shape}, expected images or volumes")
    border, corners = node.get("padding_mode", "zeros"), bool(node.get("align_corners", 0))
    return ops.grid_sample(x, grid, MODES.get(mode, mode), border, corners)


@importer("AffineGrid")
def _(node: Operator, theta: Any, size: Any) -> Any:
    shape = tuple(np.asarray(size).tolist())
    return ops.affine_grid(theta, shape, bool(node.get("align_corners", 0)))
