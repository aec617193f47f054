"""Exporters of `tinygrad_cnn.ops.sampling`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.exporters.values import like, whole
from tinygrad_cnn.onnx.graph import Graph, Reference, exporter

_MODES = {"bilinear": "linear", "bicubic": "cubic", "nearest": "nearest"}


@exporter("grid_sample")
def _(
    graph: Graph,
    x: Reference,
    grid: Reference,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> Any:
    return graph.node("GridSample", x, grid, mode=_MODES[mode], padding_mode=padding_mode,
                      align_corners=int(align_corners))  # fmt: skip


@exporter("affine_grid")
def _(graph: Graph, theta: Reference, size: Sequence[Any], align_corners: bool = False) -> Any:
    # Points times θᵀ: the standard's AffineGrid has other points along an axis of length 1.
    height, width = map(int, size[2:])
    plain = ops.affine_grid(np.eye(2, 3)[np.newaxis], (1, 1, height, width), align_corners)
    points = np.append(plain.reshape(-1, 2), np.ones((height * width, 1)), axis=1)
    turned = graph.node("Transpose", theta, perm=[0, 2, 1])
    moved = graph.node("MatMul", like(theta, points), turned)
    return graph.node("Reshape", moved, whole([0, height, width, 2]))
