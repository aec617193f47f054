"""Exporters of `tinygrad_cnn.ops.resampling`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.exporters.values import int64, like, on_batches
from tinygrad_cnn.onnx.graph import Graph, Reference, exporter

_MODES = {"linear": "linear", "bilinear": "linear", "bicubic": "cubic"}
_NEAREST = {
    "nearest": {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    "nearest-exact": {
        "coordinate_transformation_mode": "half_pixel",
        "nearest_mode": "round_prefer_ceil",
    },
}


@exporter(ops.resample)
def _resample(
    graph: Graph,
    x: Reference,
    old: Sequence[Any],
    new: Sequence[Any],
    mode: str = "bilinear",
    factors: Sequence[float] = (0.0, 0.0),
    align_corners: bool = False,
    adjoint: bool = False,
) -> Any:
    if adjoint or mode == "area" or _is_uneven(old, new, factors):
        return _by_matrices(graph, x, old, new, mode, factors, align_corners, adjoint)
    place = "align_corners" if align_corners else "half_pixel"
    attributes = {
        "mode": _MODES[mode],
        "cubic_coeff_a": -0.75,
        "coordinate_transformation_mode": place,
    }
    return on_batches(graph, x, 4, lambda x: _resized(graph, x, old, new, factors, attributes))


def _is_uneven(old: Sequence[Any], new: Sequence[Any], factors: Sequence[float]) -> bool:
    """Return whether images of one size get another that is not just their factors times it.

    onnxruntime leaves images as they are if their size stays, and rounds factors to float32.
    """
    each = list(zip(old, new, factors, strict=True))
    return _are_fixed(old) and any(f and n * f != m for n, m, f in each)


def _are_fixed(sizes: Sequence[Any]) -> bool:
    return all(isinstance(n, int) for n in sizes)


def _resized(
    graph: Graph,
    x: Any,
    old: Sequence[Any],
    new: Sequence[Any],
    factors: Sequence[float],
    attributes: dict[str, Any],
) -> Any:
    """Return images at another size; with factors, if their size varies."""
    if any(factors) and not _are_fixed(old):
        scales = np.array([_not_below(f) if f else 1.0 for f in factors], np.float32)
        return graph.node("Resize", x, None, scales, axes=[2, 3], **attributes)
    return graph.node("Resize", x, None, None, graph.integers(new), axes=[2, 3], **attributes)


def _not_below(factor: float) -> np.float32:
    """Return the factor rounded up, so that n·factor is not just less than an integer."""
    near = np.float32(factor)
    return near if float(near) >= factor else np.nextafter(near, np.float32(np.inf))


def _by_matrices(
    graph: Graph,
    x: Reference,
    old: Sequence[Any],
    new: Sequence[Any],
    mode: str,
    factors: Sequence[float],
    align_corners: bool,
    adjoint: bool,
) -> Any:
    """Compute R x Cᵀ, or Rᵀ x C."""
    rows, columns = (
        ops.resample(np.eye(n)[np.newaxis], (n, n), (m, n), mode, (f, 0.0), align_corners)[0]
        for n, m, f in zip(map(int, old), map(int, new), factors, strict=True)
    )
    if adjoint:
        rows, columns = rows.T, columns.T
    return graph.node("MatMul", graph.node("MatMul", like(x, rows), x), like(x, columns.T))


@exporter("interpolate")
def _(
    graph: Graph,
    x: Reference,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool = False,
) -> Any:
    is_signal, row = x.array.ndim == 3, int64([2])
    given = scale_factor if size is None else size
    each = list(given) if isinstance(given, tuple | list) else [given] * (2 - is_signal)
    if is_signal:  # an image of height 1
        image = graph.node("Unsqueeze", x, row)
        array, shape = x.array[:, :, np.newaxis], (*x.shape[:2], 1, x.shape[2])
        x, each = replace(x, name=image, array=array, shape=shape), [1, *each]
    old = x.shape[2:]
    factors = [0.0, 0.0] if size is not None else [float(factor) for factor in each]
    if size is None and _are_fixed(old):
        each = [math.floor(n * f) for n, f in zip(old, factors, strict=True)]
    if mode not in _NEAREST:
        y = _resample(graph, x, old, each, mode, factors, align_corners)
    elif _is_uneven(old, each, factors):
        y = x
        for axis, (n, f) in enumerate(zip(old, factors, strict=True), start=2):
            cells = np.arange(n).reshape(1, 1, n)
            chosen = ops.interpolate(cells, scale_factor=f or 1.0, mode=mode)
            y = graph.node("Gather", y, chosen.reshape(-1), axis=axis)
    else:
        y = _resized(graph, x, old, each, factors, {"mode": "nearest", **_NEAREST[mode]})
    return graph.node("Squeeze", y, row) if is_signal else y
