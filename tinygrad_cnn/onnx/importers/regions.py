"""Regions of images at one size, as detectors of objects read them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.core.variable import Array
from tinygrad_cnn.onnx.importers.values import plain, refused
from tinygrad_cnn.onnx.operator import Operator, importer

__all__: list[str] = []


@importer("RoiAlign")
def _(node: Operator, x: Array, regions: Array, images: Array) -> Array:
    """Average interpolated points: R x Cᵀ, with a row of R for each row of the result."""
    mode = node.get("mode", "avg")
    if mode != "avg":
        raise refused(node, f"mode is {mode!r}: of the corners around a point, it takes one")
    default = "half_pixel" if node.opset >= 16 else "output_half_pixel"
    moved = node.get("coordinate_transformation_mode", default) == "half_pixel"
    sizes = node.get("output_height", 1), node.get("output_width", 1)
    corners = plain(regions) * node.get("spatial_scale", 1.0) - (0.5 if moved else 0.0)
    parts = []
    for (left, top, right, bottom), image in zip(corners.tolist(), plain(images), strict=True):
        rows, columns = (
            _weights(start, end if moved else max(end, start + 1.0), count, size, node)
            for start, end, count, size in zip(
                (top, left), (bottom, right), sizes, x.shape[2:], strict=True
            )
        )
        one = ops.matmul(rows.astype(x.dtype), ops.getitem(x, int(image)))
        parts.append(ops.matmul(one, columns.T.astype(x.dtype)))
    if not parts:
        return np.zeros((0, x.shape[1], *sizes), x.dtype)
    return ops.stack(parts)


def _weights(
    start: float, end: float, count: int, size: int, node: Operator
) -> NDArray[np.float64]:
    """Return the weights of an axis of pixels in the bins of a region, (count, size)."""
    width = (end - start) / count
    samples = node.get("sampling_ratio", 0) or max(math.ceil(width), 1)
    places = start + width * (np.arange(count * samples) + 0.5) / samples
    inside = (places >= -1) & (places <= size)
    places = np.clip(places, 0, size - 1)[:, np.newaxis]
    weights = np.maximum(1 - np.abs(places - np.arange(size)), 0) * inside[:, np.newaxis]
    return np.asarray(weights.reshape(count, samples, size).mean(1))
