"""Convolution and its transpose, along any number of spatial axes.

Ours are for images and signals. With more axes, the windows along the first ones become channels:
one convolution of images sums over them too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.importers.geometry import SpatialAxis, borders, numbers, spatial
from tinygrad_cnn.onnx.importers.values import refused
from tinygrad_cnn.onnx.operator import Operator, importer


@importer("Conv")
def _(node: Operator, x: Any, w: Any, bias: Any = None) -> Any:
    return _convolved(x, w, bias, spatial(node, x, w.shape[2:]), node.get("group", 1))


def _convolved(x: Any, w: Any, bias: Any, axes: list[SpatialAxis], groups: int) -> Any:
    """Return the convolution along `axes` of (N, C, ...) with (OC, C / groups, ...)."""
    first, *rest = axes
    if len(axes) <= 2:
        return _few_axes(x, w, bias, axes, groups)
    # (N, C, D, ...) → (N, C, OD, KD, ...) → (N·OD, C·KD, ...)
    windows = ops.moveaxis(first.gather(x, 2), 2, 1)
    n, count, channels, depth, *sizes = windows.shape
    images = windows.reshape((n * count, channels * depth, *sizes))
    kernels = w.reshape((w.shape[0], w.shape[1] * w.shape[2], *w.shape[3:]))
    y = _convolved(images, kernels, bias, rest, groups)
    return ops.moveaxis(y.reshape((n, count, *y.shape[1:])), 1, 2)


def _few_axes(x: Any, w: Any, bias: Any, axes: list[SpatialAxis], groups: int) -> Any:
    if len(axes) == 1:
        (at,) = axes
        return ops.conv1d(x, w, bias, at.stride, at.border, at.dilation, groups)
    rows, columns = axes
    return ops.conv2d(
        x,
        w,
        bias,
        (rows.stride, columns.stride),
        borders(axes),
        (rows.dilation, columns.dilation),
        groups,
    )


@importer("CausalConvWithState")
def _(node: Operator, x: Any, w: Any, bias: Any = None, past: Any = None) -> Any:
    """Convolve each channel of signals with what came before, 0 or the end of an earlier part."""
    channels, before = x.shape[1], w.shape[2] - 1
    if past is None:
        past = np.zeros((x.shape[0], channels, before), x.dtype)
    x = ops.concatenate([past, x], 2)
    y = ops.conv1d(x, w, bias, groups=channels)
    y = y if node.get("activation", "none") == "none" else ops.silu(y)
    return y, ops.getitem(x, (..., slice(x.shape[2] - before, None)))


@importer("ConvTranspose")
def _(node: Operator, x: Any, w: Any, bias: Any = None) -> Any:
    shape, kernel = tuple(x.shape[2:]), tuple(w.shape[2:])
    rank = len(shape)
    if len(kernel) != rank or not rank:
        raise refused(node, f"x has shape {x.shape} and w {w.shape}")
    numbers(node, "kernel_shape", rank, kernel)
    strides, dilations = numbers(node, "strides", rank, 1), numbers(node, "dilations", rank, 1)
    axes = [SpatialAxis(*at) for at in zip(shape, kernel, strides, dilations, strict=True)]
    return _transposed(x, w, bias, axes, _results(node, axes), node.get("group", 1))


def _results(node: Operator, axes: list[SpatialAxis]) -> list[tuple[int, int]]:
    """Return for each axis the cells cut off at its beginning, and the size of the result."""
    rank = len(axes)
    extra = numbers(node, "output_padding", rank, 0)
    auto = node.get("auto_pad", "NOTSET")
    full = [
        (at.size - 1) * at.stride + at.reach + more for at, more in zip(axes, extra, strict=True)
    ]
    sizes = node.get("output_shape")
    if sizes is None and auto in ("SAME_UPPER", "SAME_LOWER"):
        sizes = [at.size * at.stride for at in axes]
    if sizes is None:
        pads = numbers(node, "pads", 2 * rank, 0)
        pairs = zip(full, pads[:rank], pads[rank:], strict=True)
        return [(before, n - before - after) for n, before, after in pairs]
    # some files state the sizes of all axes, also of batch and channels
    totals = [max(n - m, 0) for n, m in zip(full, sizes[-rank:], strict=True)]
    befores = [t // 2 if auto == "SAME_UPPER" else t - t // 2 for t in totals]
    return list(zip(befores, map(int, sizes[-rank:]), strict=True))


def _transposed(
    x: Any, w: Any, bias: Any, axes: list[SpatialAxis], results: list[tuple[int, int]], groups: int
) -> Any:
    """Return the transposed convolution along `axes` of (N, C, ...) with (C, OC / groups, ...)."""
    if len(axes) == 1:
        image, kernel = ops.expand_dims(x, 2), ops.expand_dims(w, 2)
        y = _transposed(image, kernel, bias, [SpatialAxis(1), *axes], [(0, 1), *results], groups)
        return ops.squeeze(y, 2)
    if len(axes) == 2:
        return _transposed_images(x, w, bias, axes, results, groups)
    # (N, C, D, ...) → (N·D, C, ...), with kernels (C, OC / groups·KD, ...)
    n, channels, size, *sizes = x.shape
    images = ops.moveaxis(x, 2, 1).reshape((n * size, channels, *sizes))
    kernels = w.reshape((channels, w.shape[1] * w.shape[2], *w.shape[3:]))
    y = _transposed(images, kernels, None, axes[1:], results[1:], groups)
    # (N·D, OC·KD, ...) → (N, OC, D, KD, ...), added up where windows overlap
    at, out_channels = axes[0], w.shape[1] * groups
    y = ops.moveaxis(y.reshape((n, size, out_channels, at.kernel, *y.shape[2:])), 1, 2)
    length = (size - 1) * at.stride + at.reach
    cells = SpatialAxis(length, at.kernel, at.stride, at.dilation).cells()
    index = (slice(None), slice(None), cells)
    y = _cut(ops.put(y, index, (n, out_channels, length, *y.shape[4:])), 2, *results[0])
    return _shifted(y, bias)


def _transposed_images(
    x: Any, w: Any, bias: Any, axes: list[SpatialAxis], results: list[tuple[int, int]], groups: int
) -> Any:
    rows, columns = axes
    steps, cells = (rows.stride, columns.stride), (rows.dilation, columns.dilation)
    extra = [
        size - ((at.size - 1) * at.stride + at.reach - 2 * before)
        for at, (before, size) in zip(axes, results, strict=True)
    ]
    usual = all(
        before >= 0 and 0 <= more < max(at.stride, at.dilation)
        for at, (before, _), more in zip(axes, results, extra, strict=True)
    )
    if usual:
        border = results[0][0], results[1][0]
        return ops.conv_transpose2d(x, w, bias, steps, border, (extra[0], extra[1]), groups, cells)
    y = ops.conv_transpose2d(x, w, None, steps, 0, 0, groups, cells)
    for axis, result in enumerate(results, start=2):
        y = _cut(y, axis, *result)
    return _shifted(y, bias)


def _cut(y: Any, axis: int, before: int, size: int) -> Any:
    """Return the cells from `before` on along an axis; those beyond it are 0."""
    length = y.shape[axis]
    if size < 1:
        raise ValueError(f"the padding leaves {size} of {length} cells")
    y = ops.getitem(y, (*(slice(None),) * axis, slice(max(before, 0), max(before + size, 0))))
    border = [(0, 0)] * y.ndim
    border[axis] = max(-before, 0), max(before + size - length, 0)
    return ops.pad(y, border) if any(border[axis]) else y


def _shifted(y: Any, bias: Any) -> Any:
    return y if bias is None else y + bias.reshape((-1, *[1] * (y.ndim - 2)))
