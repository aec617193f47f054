"""Activation functions, elementwise, and the softmax family."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.importers.values import plain
from tinygrad_cnn.onnx.operator import Operator, importer


@importer("Relu")
def _(node: Operator, x: Any) -> Any:
    return ops.relu(x)


@importer("LeakyRelu")
def _(node: Operator, x: Any) -> Any:
    return ops.leaky_relu(x, node.get("alpha", 0.01))


@importer("PRelu")
def _(node: Operator, x: Any, slope: Any) -> Any:
    if node.opset < 7 and slope.shape:  # one of each channel
        slope = ops.reshape(slope, (-1, *(1,) * (len(x.shape) - 2)))
    return ops.where(x > 0, x, slope * x)


@importer("ThresholdedRelu")
def _(node: Operator, x: Any) -> Any:
    return _where(x > node.get("alpha", 1.0), x, 0)


@importer("Elu")
def _(node: Operator, x: Any) -> Any:
    return ops.elu(x, node.get("alpha", 1.0))


@importer("Celu")
def _(node: Operator, x: Any) -> Any:
    return ops.celu(x, node.get("alpha", 1.0))


@importer("Selu")
def _(node: Operator, x: Any) -> Any:
    alpha, gamma = node.get("alpha", 1.67326319217681884765625), node.get("gamma", 1.05070102214813)
    return gamma * ops.elu(x, alpha)


@importer("Gelu")
def _(node: Operator, x: Any) -> Any:
    return ops.gelu(x, node.get("approximate", "none"))


@importer("Mish")
def _(node: Operator, x: Any) -> Any:
    return ops.mish(x)


@importer("Swish")
def _swish(node: Operator, x: Any) -> Any:
    alpha = node.get("alpha", 1.0)
    return ops.silu(x) if alpha == 1 else x * ops.sigmoid(alpha * x)


@importer("SwiGLU")
def _(node: Operator, gate: Any, x: Any) -> Any:
    return _swish(node, gate) * x


@importer("Sigmoid")
def _(node: Operator, x: Any) -> Any:
    return ops.sigmoid(x)


@importer("HardSigmoid")
def _(node: Operator, x: Any) -> Any:
    return ops.clip(node.get("alpha", 0.2) * x + node.get("beta", 0.5), 0.0, 1.0)


@importer("HardSwish")
def _(node: Operator, x: Any) -> Any:
    return ops.hardswish(x)


@importer("Tanh")
def _(node: Operator, x: Any) -> Any:
    return ops.tanh(x)


@importer("Softplus")
def _(node: Operator, x: Any) -> Any:
    return ops.softplus(x)


@importer("Softsign")
def _(node: Operator, x: Any) -> Any:
    return ops.softsign(x)


@importer("Shrink")
def _(node: Operator, x: Any) -> Any:
    limit, bias = node.get("lambd", 0.5), x.dtype.type(node.get("bias", 0.0))
    return _where(x > limit, x - bias, _where(x < -limit, x + bias, 0))


@importer("Softmax")
def _(node: Operator, x: Any) -> Any:
    return _along(node, x, ops.softmax)


@importer("LogSoftmax")
def _(node: Operator, x: Any) -> Any:
    return _along(node, x, ops.log_softmax)


@importer("Hardmax")
def _(node: Operator, x: Any) -> Any:
    return _along(node, x, _hardmax)


def _hardmax(x: Any, axis: int) -> Any:
    """Return 1 at the first of the largest values, else 0."""
    values = plain(x)
    y = np.zeros_like(values)
    np.put_along_axis(y, values.argmax(axis, keepdims=True), 1, axis)
    return y


def _along(node: Operator, x: Any, function: Any) -> Any:
    """Return a function along an axis; before opset 13, along it and all that follow, as one."""
    if 0 in x.shape:  # no values, of which there is no largest one
        return x
    if node.opset >= 13:
        return function(x, axis=node.get("axis", -1))
    axis = node.get("axis", 1)
    axis += x.ndim * (axis < 0)
    if axis == x.ndim - 1:
        return function(x, axis=axis)
    shape = tuple(x.shape)
    return function(x.reshape((math.prod(shape[:axis]), -1)), axis=-1).reshape(shape)


def _where(condition: Any, a: Any, b: Any) -> Any:
    """Return `a` where the condition holds, else `b`, in the dtype of `a`."""
    b = np.asarray(b, a.dtype) if isinstance(b, int) else b
    return ops.where(condition, a, b)
