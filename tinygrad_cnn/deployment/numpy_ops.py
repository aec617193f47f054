"""Ops as short NumPy functions, whose source is written into NumPy programs.

Those on windows are in `numpy_windows`.

Each function takes the arguments of its op, in the same order. An ``if`` that the options of a
program decide is left out of that program, and so are parameters that are then without use: general
functions here are short ones there. An op whose forward is plain NumPy needs no function here.
"""

# Only NumPy, the math module and other functions of these two files can be used: see
# `source.resolved`.

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_cnn.deployment.source import numpy_source

__all__: list[str] = []

# --- elementwise -------------------------------------------------------------------------------


@numpy_source("add")
def add(a: Any, b: Any) -> Any:
    return a + b


@numpy_source("sub")
def sub(a: Any, b: Any) -> Any:
    return a - b


@numpy_source("div")
def div(a: Any, b: Any) -> Any:
    return a / b


@numpy_source("pow")
def power(a: Any, b: Any) -> Any:
    return a**b


@numpy_source("mod")
def mod(a: Any, b: Any) -> Any:
    return np.mod(a, b)


@numpy_source("floor_divide")
def floor_divide(a: Any, b: Any) -> Any:
    return np.floor_divide(a, b)


@numpy_source("neg")
def neg(x: Any) -> Any:
    return -x


@numpy_source("multiply_add")
def multiply_add(x: Any, scale: Any, shift: Any) -> Any:
    return x * scale + shift


@numpy_source("where")
def where(condition: Any, a: Any, b: Any) -> Any:
    return np.where(condition, a, b)


@numpy_source("maximum")
def maximum(a: Any, b: Any) -> Any:
    return np.maximum(a, b)


@numpy_source("minimum")
def minimum(a: Any, b: Any) -> Any:
    return np.minimum(a, b)


@numpy_source("clip")
def clip(x: Any, low: Any = None, high: Any = None) -> Any:
    return np.clip(x, low, high)


@numpy_source("hardtanh")
def hardtanh(x: Any, low: Any, high: Any) -> Any:
    return np.clip(x, low, high)


@numpy_source("abs")
def absolute(x: Any) -> Any:
    return np.abs(x)


@numpy_source("astype")
def astype(x: Any, dtype: Any) -> Any:
    return x.astype(dtype)


@numpy_source("exp")
def exp(x: Any) -> Any:
    return np.exp(x)


@numpy_source("log")
def log(x: Any) -> Any:
    return np.log(x)


@numpy_source("log1p")
def log1p(x: Any) -> Any:
    return np.log1p(x)


@numpy_source("expm1")
def expm1(x: Any) -> Any:
    return np.expm1(x)


@numpy_source("sqrt")
def sqrt(x: Any) -> Any:
    return np.sqrt(x)


@numpy_source("square")
def square(x: Any) -> Any:
    return np.square(x)


@numpy_source("tanh")
def tanh(x: Any) -> Any:
    return np.tanh(x)


@numpy_source("erf")
def erf(x: Any) -> Any:
    return np.vectorize(math.erf, otypes=[x.dtype])(x)


@numpy_source("erfc")
def erfc(x: Any) -> Any:
    return np.vectorize(math.erfc, otypes=[x.dtype])(x)


@numpy_source("relu")
def relu(x: Any, at_zero: float = 1.0) -> Any:
    return np.maximum(x, 0)


@numpy_source("leaky_relu")
def leaky_relu(x: Any, negative_slope: Any = 0.01, at_zero: float = 1.0) -> Any:
    return np.where(x > 0, x, negative_slope * x)


@numpy_source("sigmoid")
def sigmoid(x: Any) -> Any:
    return 0.5 * np.tanh(0.5 * x) + 0.5


@numpy_source("softplus")
def softplus(x: Any) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


@numpy_source("silu")
def silu(x: Any) -> Any:
    return x * sigmoid(x)


@numpy_source("mish")
def mish(x: Any) -> Any:
    return x * np.tanh(softplus(x))


@numpy_source("elu")
def elu(x: Any, alpha: Any = 1.0) -> Any:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


@numpy_source("gelu")
def gelu(x: Any, approximate: str = "none") -> Any:
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + erf(x * math.sqrt(0.5)))


# --- shapes ------------------------------------------------------------------------------------


@numpy_source("reshape")
def reshape(x: Any, shape: Any) -> Any:
    return x.reshape(shape)


@numpy_source("transpose")
def transpose(x: Any, axes: Any = None) -> Any:
    return x.transpose(axes)


@numpy_source("broadcast_to")
def broadcast_to(x: Any, shape: Any) -> Any:
    return np.broadcast_to(x, shape)


@numpy_source("flip")
def flip(x: Any, axis: Any = None) -> Any:
    return np.flip(x, axis)


@numpy_source("getitem")
def getitem(x: Any, index: Any) -> Any:
    return x[index]


@numpy_source("put")
def put(x: Any, index: Any, shape: Any) -> Any:
    """Add x to zeros, at an index."""
    y = np.zeros(shape, x.dtype)
    np.add.at(y, index, x)
    return y


@numpy_source("concatenate")
def concatenate(arrays: Any, axis: Any = 0) -> Any:
    return np.concatenate(arrays, axis)


@numpy_source("stack")
def stack(arrays: Any, axis: Any = 0) -> Any:
    return np.stack(arrays, axis)


@numpy_source("pad")
def pad(x: Any, pad_width: Any, mode: Any = "constant", value: Any = 0.0) -> Any:
    if mode != "constant":
        return np.pad(x, pad_width, mode)
    if value == 0:
        return np.pad(x, pad_width)
    return np.pad(x, pad_width, constant_values=value)


# --- sums and products -------------------------------------------------------------------------


@numpy_source("sum")
def total(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    if keepdims:
        return x.sum(axis, keepdims=True)
    return x.sum(axis)


@numpy_source("sum_to")
def sum_to(x: Any, shape: Any) -> Any:
    """Sum along the axes that a broadcast from the shape repeats."""
    small = np.empty(shape).shape
    wide = (1,) * (x.ndim - len(small)) + small
    return x.sum(tuple(np.flatnonzero(np.equal(wide, 1))), keepdims=True).reshape(small)


@numpy_source("cumsum")
def cumsum(x: Any, axis: Any = None) -> Any:
    if x.dtype.kind != "f":
        return np.cumsum(x, axis)
    return np.cumsum(x, axis, np.float64).astype(x.dtype)


@numpy_source("logsumexp")
def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Return ln Σ eˣ without overflow."""
    peak = x.max(axis, keepdims=True)
    peak = np.where(np.isfinite(peak), peak, np.zeros_like(peak))
    with np.errstate(divide="ignore"):
        y = np.log(np.exp(x - peak).sum(axis, keepdims=True)) + peak
    if keepdims:
        return y
    return np.squeeze(y, axis)


@numpy_source("mse")
def mse(a: Any, b: Any, reduction: str = "mean") -> Any:
    if reduction == "none":
        return np.square(a - b)
    if reduction == "sum":
        return np.square(a - b).sum()
    return np.square(a - b).mean()


@numpy_source("squared_error")
def squared_error(a: Any, b: Any, reduction: str = "sum") -> Any:
    return mse(a, b, reduction) / 2


@numpy_source("mean")
def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    if keepdims:
        return x.mean(axis, keepdims=True)
    return x.mean(axis)


@numpy_source("max")
def largest(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    if keepdims:
        return x.max(axis, keepdims=True)
    return x.max(axis)


@numpy_source("min")
def smallest(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    if keepdims:
        return x.min(axis, keepdims=True)
    return x.min(axis)


@numpy_source("matmul")
def matmul(a: Any, b: Any) -> Any:
    return a @ b


@numpy_source("linear")
def linear(x: Any, w: Any, bias: Any = None) -> Any:
    if bias is None:
        return x @ w.T
    return x @ w.T + bias


@numpy_source("softmax")
def softmax(x: Any, axis: Any = -1, temperature: Any = 1.0) -> Any:
    if temperature != 1:
        x = x / temperature
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


@numpy_source("log_softmax")
def log_softmax(x: Any, axis: Any = -1, temperature: Any = 1.0) -> Any:
    if temperature != 1:
        x = x / temperature
    x = x - x.max(axis, keepdims=True)
    return x - np.log(np.exp(x).sum(axis, keepdims=True))


@numpy_source("layer_norm")
def layer_norm(
    x: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: Any = 1e-5
) -> Any:
    axes = tuple(range(-np.size(normalized_shape), 0))
    x = x - x.mean(axes, keepdims=True)
    x = x / np.sqrt(np.square(x).mean(axes, keepdims=True) + eps)
    if weight is not None:
        x = x * weight
    if bias is not None:
        x = x + bias
    return x


@numpy_source("group_norm")
def group_norm(x: Any, groups: Any, weight: Any = None, bias: Any = None, eps: Any = 1e-5) -> Any:
    g = x.reshape(len(x), groups, math.prod(x.shape[1:]) // groups)
    g = g - g.mean(2, keepdims=True)
    y = (g / np.sqrt(np.square(g).mean(2, keepdims=True) + eps)).reshape(x.shape)
    if weight is not None:
        y = y * weight.reshape(-1, *[1] * (x.ndim - 2))
    if bias is not None:
        y = y + bias.reshape(-1, *[1] * (x.ndim - 2))
    return y


# --- functions made of ops that read values ------------------------------------------------------


@numpy_source("norm")
def norm(x: Any, ord: Any = 2, axis: Any = None, keepdims: bool = False) -> Any:
    """Return (Σ |x|ᵖ)^(1/p), without intermediate overflow."""
    x = np.abs(x)
    largest = x.max(axis, keepdims=True, initial=0)
    unit = np.where(largest > 0, largest, np.ones_like(largest))
    y = largest
    if ord != np.inf:
        y = unit * ((x / unit) ** ord).sum(axis, keepdims=True) ** (1 / ord)
    return y if keepdims else np.squeeze(y, axis)


@numpy_source("argmax")
def argmax(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    if keepdims:
        return np.argmax(x, axis, keepdims=True)
    return np.argmax(x, axis)


@numpy_source("argmin")
def argmin(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    if keepdims:
        return np.argmin(x, axis, keepdims=True)
    return np.argmin(x, axis)


@numpy_source("argsort")
def argsort(x: Any, axis: Any = -1, descending: bool = False) -> Any:
    if descending:
        x = -x
    return np.argsort(x, axis, kind="stable")


@numpy_source("sort")
def sort(x: Any, axis: Any = -1, descending: bool = False) -> Any:
    if descending:
        return np.flip(np.sort(x, axis), axis)
    return np.sort(x, axis)


@numpy_source("any")
def some(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return np.any(x, axis, keepdims=keepdims)


@numpy_source("all")
def every(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return np.all(x, axis, keepdims=keepdims)


@numpy_source("count_nonzero")
def count_nonzero(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return np.count_nonzero(x, axis, keepdims=keepdims)
