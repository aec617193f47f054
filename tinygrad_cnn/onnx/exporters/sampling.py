"""Exporters of `tinygrad_cnn.ops.sampling`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.exporters.values import int64, like
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
    lengths = size[2:]
    if not all(isinstance(n, int) for n in lengths):
        sizes = graph.integers(size)
        return graph.node("AffineGrid", theta, sizes, align_corners=int(align_corners))
    # Points times θᵀ: the standard's operator has other ones along an axis of length 1.
    axes = len(lengths)
    identity = np.eye(axes, axes + 1)[np.newaxis]
    points = np.ones((math.prod(lengths), axes + 1))
    points[:, :-1] = ops.affine_grid(identity, (1, 1, *lengths), align_corners).reshape(-1, axes)
    turned = graph.node("Transpose", theta, perm=[0, 2, 1])
    moved = graph.node("MatMul", like(theta, points), turned)
    return graph.node("Reshape", moved, int64([0, *lengths, axes]))
