"""Arrays at another size: Resize, and Upsample before it.

Axes are treated one by one. Each new cell is a weighted sum of cells near its center; how centers
are found is the coordinate_transformation_mode.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.importers.geometry import axes_of
from tinygrad_cnn.onnx.importers.values import plain, refused
from tinygrad_cnn.onnx.operator import Operator, importer

Values = NDArray[Any]


@dataclass(frozen=True, slots=True)
class ResizedAxis:
    """An axis of length `old` that becomes one of length `new`.

    Attributes
    ----------
    old, new : int
    scale : float
        Coordinates are computed with it. ``scale * old`` is near `new`, but may have a fraction.
    region : (float, float)
        The part of the axis to resize, with coordinates from 0 to 1.
    """

    old: int
    new: int
    scale: float
    region: tuple[float, float] = (0.0, 1.0)

    @property
    def stays(self) -> bool:
        """Whether nothing is to be done."""
        return self.old == self.new and self.scale == 1 and self.region == (0.0, 1.0)


@importer("Resize")
def _(node: Operator, x: Any, roi: Any = None, scales: Any = None, sizes: Any = None) -> Any:
    if node.opset < 11:  # then the second input holds the scales
        scale = roi if node.opset == 10 else None
        return _resized(node, x, resized_axes(node, x, None, scale, None), "asymmetric", "simple")
    axes = resized_axes(node, x, roi, scales, sizes)
    transformation = node.get("coordinate_transformation_mode", "half_pixel")
    return _resized(node, x, axes, transformation, node.get("nearest_mode", "round_prefer_floor"))


@importer("Upsample")
def _(node: Operator, x: Any, scales: Any = None) -> Any:
    if node.opset < 9:
        scales = node.get("scales")
        if scales is None:
            scales = 1, 1, node.get("height_scale", 1), node.get("width_scale", 1)
    return _resized(node, x, resized_axes(node, x, None, scales, None), "asymmetric", "floor")


def _resized(
    node: Operator, x: Any, axes: list[ResizedAxis], transformation: str, nearest: str
) -> Any:
    mode = node.get("mode", "nearest")
    changed = [(place, axis) for place, axis in enumerate(axes) if not axis.stays]
    if mode == "nearest":
        for place, axis in changed:
            cells = _nearest(axis, _centers(axis, transformation, np.float32), nearest)
            x = ops.getitem(x, (*(slice(None),) * place, cells))
            x = _extrapolated(node, x, place, axis, transformation)
        return x
    if mode not in ("linear", "bilinear", "trilinear", "cubic"):
        raise refused(node, f"mode is {mode!r}, expected nearest, linear or cubic")
    if x.dtype.kind != "f":
        raise refused(node, f"x holds {x.dtype}, expected floats for mode {mode!r}")
    if _is_usual(node, axes, transformation):
        rows, columns = axes[2:]
        factors = tuple(0.0 if at.scale == at.new / at.old else at.scale for at in axes[2:])
        way = "bicubic" if mode == "cubic" else "bilinear"
        return ops.resample(
            x,
            (rows.old, columns.old),
            (rows.new, columns.new),
            way,
            (factors[0], factors[1]),
            transformation == "align_corners",
        )
    kernel = _cubic(node.get("cubic_coeff_a", -0.75)) if mode == "cubic" else _triangle
    for place, axis in changed:
        center = _centers(axis, transformation, np.float64)
        cells, weights = _taps(node, axis, center, kernel, 2 if mode == "cubic" else 1)
        x = _weighted(x, place, cells, weights.astype(x.dtype))
        x = _extrapolated(node, x, place, axis, transformation)
    return x


def _is_usual(node: Operator, axes: list[ResizedAxis], transformation: str) -> bool:
    """Return whether our op for images computes the same."""
    if len(axes) != 4 or not (axes[0].stays and axes[1].stays):
        return False
    if node.get("antialias", 0) or node.get("exclude_outside", 0):
        return False
    if node.get("mode") == "cubic" and node.get("cubic_coeff_a", -0.75) != -0.75:
        return False
    if transformation == "align_corners":
        return all(at.scale * at.old == at.new for at in axes)
    at_pixels = transformation == "pytorch_half_pixel" and min(at.new for at in axes[2:]) > 1
    return at_pixels or transformation == "half_pixel"


# --- sizes ---------------------------------------------------------------------------------------


def resized_axes(node: Operator, x: Any, roi: Any, scales: Any, sizes: Any) -> list[ResizedAxis]:
    """Return the axes of `x` with their new lengths."""
    chosen = axes_of(node, node.get("axes", range(x.ndim)), x.ndim)
    given = [None if v is None or np.size(v) == 0 else _listed(v) for v in (scales, sizes)]
    if (given[0] is None) == (given[1] is None):
        raise refused(node, "expected either scales or sizes")
    values = given[0] or given[1] or []
    if len(values) != len(chosen) or not all(0 < value < math.inf for value in values):
        raise refused(node, f"scales or sizes are {values}, expected {len(chosen)} numbers > 0")
    regions = [(0.0, 1.0)] * len(chosen)
    if node.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        ends = [] if roi is None else _listed(roi)
        if len(ends) != 2 * len(chosen):
            raise refused(node, f"roi is {ends}, expected {2 * len(chosen)} numbers")
        regions = list(zip(ends[: len(chosen)], ends[len(chosen) :], strict=True))
    old = [int(x.shape[axis]) for axis in chosen]
    axes = [ResizedAxis(n, n, 1.0) for n in x.shape]
    for axis, n, size, region in zip(
        chosen, old, _new(node, old, given[0], given[1]), regions, strict=True
    ):
        axes[axis] = ResizedAxis(n, *size, region)
        if not n or not size[0]:
            raise refused(node, f"an axis of {n} cannot become one of {size[0]}")
    return axes


def _new(
    node: Operator, old: list[int], scales: list[float] | None, sizes: list[float] | None
) -> list[tuple[int, float]]:
    """Return the new length of each axis, and its scale."""
    if scales is not None:  # the product is rounded to float32 first, as in onnxruntime
        products = np.asarray(old, np.float32) * np.asarray(scales, np.float32)
        return list(zip(np.floor(products).astype(int).tolist(), scales, strict=True))
    assert sizes is not None
    ratios = [size / n if n else 0.0 for n, size in zip(old, sizes, strict=True)]
    policy = node.get("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return [(int(size), ratio) for size, ratio in zip(sizes, ratios, strict=True)]
    if policy not in ("not_larger", "not_smaller"):
        raise refused(
            node,
            f"keep_aspect_ratio_policy is {policy!r}, expected stretch, not_larger or not_smaller",
        )
    ratio = min(ratios) if policy == "not_larger" else max(ratios)
    return [(math.floor(ratio * n + 0.5), ratio) for n in old]


def _listed(values: Any) -> list[float]:
    return [float(value) for value in np.ravel(plain(values)).tolist()]


# --- centers, cells and weights ------------------------------------------------------------------


def _centers(axis: ResizedAxis, transformation: str, dtype: type[Any]) -> Values:
    """Return where each new cell is centered on the old axis.

    With scales, the standard computes with a new length of scale·old, before rounding down.
    """
    i, n = np.arange(axis.new, dtype=dtype), axis.old
    scale = dtype(axis.scale)
    length = axis.scale * n
    if transformation == "half_pixel":
        return np.asarray((i + dtype(0.5)) / scale - dtype(0.5))
    if transformation == "pytorch_half_pixel":
        return np.asarray((i + dtype(0.5)) / scale - dtype(0.5) if axis.new > 1 else i)
    if transformation == "asymmetric":
        return np.asarray(i / scale)
    if transformation == "align_corners":
        return np.asarray(i * dtype((n - 1) / (length - 1) if length != 1 else 0.0))
    if transformation == "half_pixel_symmetric":
        offset = dtype(n / 2 * (1 - axis.new / length))
        return np.asarray(offset + (i + dtype(0.5)) / scale - dtype(0.5))
    if transformation == "tf_crop_and_resize":
        first, last = (end * (n - 1) for end in axis.region)
        if length == 1:
            return np.full_like(i, (first + last) / 2)
        return np.asarray(dtype(first) + i * dtype((last - first) / (length - 1)))
    raise ValueError(f"coordinate_transformation_mode is {transformation!r}, which is unknown")


def _nearest(axis: ResizedAxis, center: Values, rounding: str) -> NDArray[np.intp]:
    """Return the cell nearest to each center."""
    if rounding == "simple":  # of Resize before opset 11
        rounding = "ceil" if axis.scale < 1 else "floor"
    if rounding not in _ROUNDINGS:
        raise ValueError(f"nearest_mode is {rounding!r}, expected one of {[*_ROUNDINGS]}")
    return np.clip(_ROUNDINGS[rounding](center), 0, axis.old - 1).astype(np.intp)


_ROUNDINGS: dict[str, Callable[[Values], Values]] = {
    "round_prefer_floor": lambda center: np.ceil(center - 0.5 - _rounding_errors(center)),
    "round_prefer_ceil": lambda center: np.floor(center + 0.5 + _rounding_errors(center)),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _rounding_errors(center: Values) -> Values:
    """Return how far off a center can be that is halfway between cells."""
    return np.asarray(4 * np.spacing(np.maximum(np.abs(center), 1)))


def _triangle(distance: Values) -> Values:
    return np.maximum(1.0 - np.abs(distance), 0.0)


def _cubic(a: float) -> Callable[[Values], Values]:
    """Return Keys' kernel, with the slope `a` at 1."""

    def kernel(distance: Values) -> Values:
        d = np.abs(distance)
        near = ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0
        far = ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a
        return np.where(d <= 1, near, np.where(d < 2, far, 0.0))

    return kernel


def _taps(
    node: Operator,
    axis: ResizedAxis,
    center: Values,
    kernel: Callable[[Values], Values],
    support: int,
) -> tuple[NDArray[np.intp], Values]:
    """Return the cells (new, k) that each new cell is a weighted sum of, and the weights."""
    width = min(axis.scale, 1.0) if node.get("antialias", 0) else 1.0
    before = math.floor(-support / width) + 1
    left = np.ceil(center) - 1.0
    cells = left[:, np.newaxis] + np.arange(before, 2 - before)
    weights = kernel(width * (cells - center[:, np.newaxis]))
    if node.get("exclude_outside", 0):
        weights = np.where((cells >= 0) & (cells < axis.old), weights, 0.0)
    total = weights.sum(1, keepdims=True)
    weights = weights / np.where(total == 0, 1.0, total)
    return np.clip(cells, 0, axis.old - 1).astype(np.intp), weights


def _weighted(x: Any, place: int, cells: NDArray[np.intp], weights: Values) -> Any:
    """Return sums of `x` at cells along an axis, with weights."""
    ahead, shape = (slice(None),) * place, (-1, *[1] * (x.ndim - 1 - place))
    y = None
    for column, weight in zip(cells.T, weights.T, strict=True):
        term = ops.getitem(x, (*ahead, column)) * weight.reshape(shape)
        y = term if y is None else y + term
    return y


def _extrapolated(
    node: Operator, y: Any, place: int, axis: ResizedAxis, transformation: str
) -> Any:
    """Return `y` with a constant in cells centered beyond the old axis, if it is asked for."""
    if transformation != "tf_crop_and_resize":
        return y
    center = _centers(axis, transformation, np.float64)
    beyond = ((center < 0) | (center > axis.old - 1)).reshape(-1, *[1] * (y.ndim - 1 - place))
    if not beyond.any():
        return y
    return ops.where(beyond, np.asarray(node.get("extrapolation_value", 0.0), y.dtype), y)
