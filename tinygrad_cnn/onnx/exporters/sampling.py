"""Exporters of `tinygrad_cnn.ops.sampling`."""

from __future__ import annotations

from typing import Any

from tinygrad_cnn.onnx.graph import Graph, Reference, exporter


@exporter("grid_sample")
def _(
    graph: Graph,
    x: Reference,
    grid: Reference,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> Any:
    name = "linear" if mode == "bilinear" else mode
    return graph.node("GridSample", x, grid, mode=name, padding_mode=padding_mode,
                      align_corners=int(align_corners))  # fmt: skip


@exporter("affine_grid")
def _(graph: Graph, theta: Reference, size: Any, align_corners: bool = False) -> Any:
    return graph.node("AffineGrid", theta, graph.integers(size), align_corners=int(align_corners))
