"""Pooling along any number of spatial axes, and its inverse.

The largest value under a window is the largest of its rows' largest, and a mean that of its rows'
means: windows with more than two axes are pooled two axes at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.importers.geometry import SpatialAxis, borders, numbers, spatial
from tinygrad_cnn.onnx.importers.values import plain, refused
from tinygrad_cnn.onnx.operator import Operator, importer


@importer("MaxPool")
def _(node: Operator, x: Any) -> Any:
    axes = spatial(node, x)
    y = _pooled(x, axes, _largest)
    return y if node.outputs < 2 else (y, _places(x, axes, node.get("storage_order", 0)))


@importer("AveragePool")
def _(node: Operator, x: Any) -> Any:
    axes, border_counts = spatial(node, x), bool(node.get("count_include_pad", 0))
    if all(at.dilation == 1 for at in axes):

        def average(x: Any, rows: SpatialAxis, columns: SpatialAxis) -> Any:
            kernel, steps, border, _ = _options(rows, columns)
            return ops.avgpool(x, kernel, steps, border, rows.ceil, border_counts, True)

        return _pooled(x, axes, average)
    cells, last = _windows(x, axes)
    count = np.ones((), x.dtype)
    for at in axes:
        low, high = at.before, at.before + at.size
        if border_counts:
            low, high = 0, high + at.after
        inside = (low <= at.cells()) & (at.cells() < high)
        count = np.multiply.outer(count, inside.sum(1)).astype(x.dtype)
    return ops.sum(cells, last) / count


@importer("LpPool")
def _(node: Operator, x: Any) -> Any:
    cells, last = _windows(x, spatial(node, x))
    return ops.norm(cells, node.get("p", 2), last)


@importer("GlobalAveragePool")
def _(node: Operator, x: Any) -> Any:
    return ops.mean(x, tuple(range(2, x.ndim)), True)


@importer("GlobalMaxPool")
def _(node: Operator, x: Any) -> Any:
    return ops.max(x, tuple(range(2, x.ndim)), True)


@importer("GlobalLpPool")
def _(node: Operator, x: Any) -> Any:
    return ops.norm(x, node.get("p", 2), tuple(range(2, x.ndim)), True)


@importer("MaxUnpool")
def _(node: Operator, x: Any, places: Any, output_shape: Any = None) -> Any:
    rank = x.ndim - 2
    kernel, steps = numbers(node, "kernel_shape", rank), numbers(node, "strides", rank, 1)
    pads = numbers(node, "pads", 2 * rank, 0)
    ends = zip(x.shape[2:], kernel, steps, pads[:rank], pads[rank:], strict=True)
    shape = (*x.shape[:2], *((n - 1) * s + k - a - b for n, k, s, a, b in ends))
    size = math.prod(shape)
    places = np.asarray(places)
    if places.shape != x.shape or places.min(initial=0) < 0 or places.max(initial=0) >= size:
        raise refused(node, f"the indices do not fit x and a result of {shape}")
    y = ops.put(x.reshape(-1), places.reshape(-1), (size,)).reshape(shape)
    if output_shape is None:
        return y
    wanted = np.asarray(output_shape).tolist()
    if len(wanted) != y.ndim or any(n > m for n, m in zip(shape, wanted, strict=False)):
        raise refused(node, f"output_shape is {wanted}, expected {shape} or more")
    return ops.pad(y, [(0, m - n) for n, m in zip(shape, wanted, strict=True)])


def _pooled(
    x: Any, axes: list[SpatialAxis], pool: Callable[[Any, SpatialAxis, SpatialAxis], Any]
) -> Any:
    """Return (N, C, ...) pooled along `axes`, two at a time."""
    n, channels, *sizes = x.shape
    if len(axes) == 1:
        y = pool(x.reshape((n, channels, 1, *sizes)), SpatialAxis(1, ceil=axes[0].ceil), axes[0])
        return y.reshape((n, channels, y.shape[-1]))
    if len(axes) == 2:
        return pool(x, *axes)
    outer = sizes[:-2]
    y = pool(x.reshape((n, channels * math.prod(outer), *sizes[-2:])), *axes[-2:])
    last = tuple(y.shape[2:])  # now one axis of windows of one cell
    merged = [*axes[:-2], SpatialAxis(math.prod(last), ceil=axes[0].ceil)]
    y = _pooled(y.reshape((n, channels, *outer, math.prod(last))), merged, pool)
    return y.reshape((*y.shape[:-1], *last))


def _largest(x: Any, rows: SpatialAxis, columns: SpatialAxis) -> Any:
    kernel, steps, border, cells = _options(rows, columns)
    return ops.maxpool(x, kernel, steps, border, cells, rows.ceil, True)


def _options(rows: SpatialAxis, columns: SpatialAxis) -> Any:
    """Return kernel, strides, padding and dilations of images."""
    return (
        (rows.kernel, columns.kernel),
        (rows.stride, columns.stride),
        borders([rows, columns]),
        (rows.dilation, columns.dilation),
    )


def _windows(x: Any, axes: list[SpatialAxis], fill: float = 0.0) -> tuple[Any, tuple[int, ...]]:
    """Return the cells of all windows, (N, C, windows..., cells...), and the axes of the cells."""
    for place, at in enumerate(axes):
        x = ops.moveaxis(at.gather(x, 2 + place, fill), 3 + place, -1)
    return x, tuple(range(2 + len(axes), 2 + 2 * len(axes)))


def _places(x: Any, axes: list[SpatialAxis], by_columns: int) -> NDArray[np.int64]:
    """Return where the first largest value of each window stands, counted in all of `x`.

    Counted row by row; with `by_columns`, column by column within each image.
    """
    values = plain(x)
    n, channels, *sizes = values.shape
    lowest = -np.inf if values.dtype.kind == "f" else np.iinfo(values.dtype).min
    cells, last = _windows(values, axes, lowest)
    winners = cells.reshape((*cells.shape[: last[0]], -1)).argmax(-1)
    offsets = np.unravel_index(winners, [at.kernel for at in axes])
    steps = [math.prod(sizes[:i] if by_columns else sizes[i + 1 :]) for i in range(len(axes))]
    places = np.arange(n * channels).reshape(n, channels, *[1] * len(axes)) * math.prod(sizes)
    for i, (at, offset, step) in enumerate(zip(axes, offsets, steps, strict=True)):
        starts = np.arange(at.windows) * at.stride - at.before
        starts = starts.reshape(-1, *[1] * (len(axes) - 1 - i))
        places = places + (starts + offset * at.dilation) * step
    return places
