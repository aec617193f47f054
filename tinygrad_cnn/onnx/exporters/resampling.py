"""Exporters of `tinygrad_cnn.ops.resampling`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.errors import OnnxError
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

EXACT = 256  # a length of up to 65,536 times a number of 256ths is exact in float32


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
    """Return images at another size; with factors, if their size varies.

    The operator multiplies in float32, and the new size is rounded down: only factors with few
    digits give the same size as here. onnxruntime copies images whose size stays, though a factor
    such as 1.25 moves the cells of those of length 3.
    """
    if not any(factors) or _are_fixed(old):
        return graph.node("Resize", x, None, None, graph.integers(new), axes=[2, 3], **attributes)
    for factor in factors:
        if factor * EXACT % 1 or 1 < factor < 1.5:
            raise OnnxError(
                f"scale_factor is {factor:g} for images whose size varies, expected a number of "
                f"{EXACT}ths that is not between 1 and 1.5; give size instead"
            )
    scales = np.array([factor or 1.0 for factor in factors], np.float32)
    return graph.node("Resize", x, None, scales, axes=[2, 3], **attributes)


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


def _are_repeated(old: Sequence[Any], new: Sequence[Any], factors: Sequence[float]) -> bool:
    """Return whether each cell becomes a whole number of cells."""
    each = zip(old, new, factors, strict=True)
    return _are_fixed(new) and all(m % n == 0 and f in (0.0, m / n) for n, m, f in each)


def _cells(graph: Graph, n: Any, m: Any, factor: float, mode: str) -> Any:
    """Return the cell nearest to each of m on an axis of n.

    The operator Resize multiplies by m / n in float32, and may so get the cell before.
    """
    if _are_fixed((n, m)):
        size = {"scale_factor": (1.0, factor)} if factor else {"size": (1, m)}
        return ops.interpolate(np.arange(n).reshape(1, 1, 1, n), mode=mode, **size).reshape(-1)
    float32 = np.dtype(np.float32)
    length, count = (graph.node("Cast", graph.integers(k), to=float32) for k in (n, m))
    places = graph.node("Range", int64(0), graph.integers(m), int64(1))
    centers = graph.node("Cast", places, to=float32)
    if mode == "nearest-exact":
        centers = graph.node("Add", centers, np.asarray(0.5, np.float32))
    cells = graph.node("Mul", centers, graph.node("Div", length, count))
    last = graph.node("Sub", graph.integers(n), int64(1))
    return graph.node("Min", graph.node("Cast", cells, to=np.dtype(np.int64)), last)


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
    elif any(factors) if not _are_fixed(old) else _are_repeated(old, each, factors):
        y = _resized(graph, x, old, each, factors, {"mode": "nearest", **_NEAREST[mode]})
    else:
        y = x
        for axis, n, m, f in zip((2, 3), old, each, factors, strict=True):
            y = graph.node("Gather", y, _cells(graph, n, m, f, mode), axis=axis) if n != m else y
        y = graph.node("Identity", x) if y is x else y
    return graph.node("Squeeze", y, row) if is_signal else y
