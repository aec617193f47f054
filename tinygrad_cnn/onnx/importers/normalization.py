"""Normalization: of batches, layers, groups of channels, single channels and vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.core.variable import Variable, array_of
from tinygrad_cnn.nn.layers.normalization import by_running_statistics
from tinygrad_cnn.onnx.importers.geometry import axes_of
from tinygrad_cnn.onnx.importers.values import refused
from tinygrad_cnn.onnx.operator import Operator, importer
from tinygrad_cnn.ops.batch_normalization import batch_statistics, saved_statistics


@importer("BatchNormalization")
def _(node: Operator, x: Any, scale: Any, bias: Any, mean: Any, var: Any) -> Any:
    eps = node.get("epsilon", 1e-5)
    if node.opset < 9 and not node.get("spatial", 1):
        raise refused(node, "spatial=0 (statistics of each pixel) is not supported")
    if _uses_batch(node):
        return _of_batch(node, x, scale, bias, mean, var, eps)
    if node.training and isinstance(mean, Variable) and isinstance(var, Variable):
        return _followed(node, x, scale, bias, mean, var, eps)
    if x.dtype == scale.dtype == bias.dtype == mean.dtype == var.dtype:
        return by_running_statistics(x, mean, var, scale, bias, eps)
    factor = scale / ops.sqrt(var + eps)
    return _affine(x, factor, bias - mean * factor)


def _followed(
    node: Operator, x: Any, scale: Any, bias: Any, mean: Variable, var: Variable, eps: float
) -> Any:
    """Return `x` normalized by its own statistics, which the running ones follow.

    As in `nn.BatchNorm2d`, the running variance follows the unbiased one.
    """
    y = ops.batch_norm(x, scale, bias, eps)
    followed = batch_statistics(saved_statistics(y), array_of(x))
    for running, batch in zip((mean, var), followed, strict=False):
        step = (1 - node.get("momentum", 0.9)) * (batch - running._array)
        running._array += step.astype(running.dtype)
        running._mark_changed()
    return y


def _uses_batch(node: Operator) -> bool:
    """Return whether the file asks for the statistics of the batch, in all modes of the model."""
    if node.opset >= 14:
        return bool(node.get("training_mode", 0))
    return node.outputs > 1 if node.opset >= 7 else not node.get("is_test", 0)


def _of_batch(
    node: Operator, x: Any, scale: Any, bias: Any, mean: Any, var: Any, eps: float
) -> Any:
    """Return `x` normalized by its own statistics, and the running ones after it."""
    axes, keep = (0, *range(2, x.ndim)), node.get("momentum", 0.9)
    center, spread = ops.mean(x, axes), ops.var(x, axes)
    factor = scale / ops.sqrt(spread + eps)
    y = _affine(x, factor, bias - center * factor)
    running = [keep * a + (1 - keep) * b for a, b in ((mean, center), (var, spread))]
    return (y, *running, center, spread) if node.opset < 14 else (y, *running)


def _affine(x: Any, factor: Any, offset: Any) -> Any:
    """Return x·factor + offset, with one of each for a channel, in the dtype of `x`."""
    shape = (-1, *[1] * (x.ndim - 2))
    factor, offset = (ops.astype(v, x.dtype).reshape(shape) for v in (factor, offset))
    return ops.multiply_add(x, factor, offset)


@importer("InstanceNormalization")
def _(node: Operator, x: Any, scale: Any, bias: Any) -> Any:
    return ops.group_norm(x, x.shape[1], scale, bias, node.get("epsilon", 1e-5))


@importer("GroupNormalization")
def _(node: Operator, x: Any, scale: Any, bias: Any) -> Any:
    groups = node.get("num_groups", 0)
    if groups < 1 or x.shape[1] % groups:
        raise refused(node, f"num_groups is {groups}, x has shape {x.shape}")
    if node.opset < 21:  # one factor for each group
        scale, bias = (ops.repeat(v, x.shape[1] // groups) for v in (scale, bias))
    return ops.group_norm(x, groups, scale, bias, node.get("epsilon", 1e-5))


@importer("LayerNormalization")
def _(node: Operator, x: Any, scale: Any, bias: Any = None) -> Any:
    (first,) = axes_of(node, node.get("axis", -1), x.ndim)
    eps, shape = node.get("epsilon", 1e-5), tuple(x.shape[first:])
    fits = scale.shape == shape and (bias is None or bias.shape == shape)
    if fits:
        y = ops.layer_norm(x, shape, scale, bias, eps)
    else:
        y = ops.layer_norm(x, shape, eps=eps) * scale
        y = y if bias is None else y + bias
    if node.outputs < 2:
        return y
    axes = tuple(range(first, x.ndim))
    spread = ops.var(x, axes, keepdims=True)
    return y, ops.mean(x, axes, True), 1.0 / ops.sqrt(spread + eps)


@importer("RMSNormalization")
def _(node: Operator, x: Any, scale: Any) -> Any:
    (first,) = axes_of(node, node.get("axis", -1), x.ndim)
    squares = ops.mean(ops.square(x), tuple(range(first, x.ndim)), True)
    return x / ops.sqrt(squares + node.get("epsilon", 1e-5)) * scale


@importer("LRN")
def _(node: Operator, x: Any) -> Any:
    size = node.get("size", 1)
    options = size, node.get("alpha", 1e-4), node.get("beta", 0.75), node.get("bias", 1.0)
    if size % 2:
        return ops.local_response_norm(x, *options)
    # ours has one channel more before each channel, the standard after it
    return ops.flip(ops.local_response_norm(ops.flip(x, 1), *options), 1)


@importer("MeanVarianceNormalization")
def _(node: Operator, x: Any) -> Any:
    axes = tuple(axes_of(node, node.get("axes", (0, 2, 3)), x.ndim))
    centered = x - ops.mean(x, axes, True)
    return centered / (ops.sqrt(ops.mean(ops.square(centered), axes, True)) + 1e-9)


@importer("LpNormalization")
def _(node: Operator, x: Any) -> Any:
    (axis,) = axes_of(node, node.get("axis", -1), x.ndim)
    tiny = float(np.finfo(x.dtype).tiny)  # vectors of 0 stay 0
    return ops.normalize(x, node.get("p", 2), axis, tiny)
