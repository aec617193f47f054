"""Ops as short NumPy functions, whose source is written into NumPy programs.

Each function takes the arguments of its op, in the same order. An ``if`` that the options of a
program decide is left out of that program, and so are parameters that are then without use: general
functions here are short ones there. An op whose forward is plain NumPy needs no function here.
"""

# Only NumPy, the math module and other functions of this file can be used: see `source.parts`.

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

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
    g = x.reshape(len(x), groups, -1)
    g = g - g.mean(2, keepdims=True)
    y = (g / np.sqrt(np.square(g).mean(2, keepdims=True) + eps)).reshape(x.shape)
    if weight is not None:
        y = y * weight.reshape(-1, *[1] * (x.ndim - 2))
    if bias is not None:
        y = y + bias.reshape(-1, *[1] * (x.ndim - 2))
    return y


# --- windows -----------------------------------------------------------------------------------


@numpy_source("conv2d")
def conv2d(
    x: Any,
    w: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Return y[n, f, h, w] = Σ x[n, c, h + i, w + j] · w[f, c, i, j] over c, i and j."""
    if padding == "same":
        padding = same_padding(x, w.shape[2:], stride, dilation)
    if padding == "valid":
        padding = 0
    if isinstance(padding, int):
        x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    else:
        x = bordered(x, padding)
    if dilation != 1:
        w = dilated(w, dilation)
    if groups != 1:
        x = x.reshape(len(x), groups, -1, *x.shape[2:])
        w = w.reshape(groups, -1, *w.shape[1:])
    windows = sliding_window_view(x, w.shape[-2:], (-2, -1))  # (N, C, H', W', kh, kw)
    if stride != 1:
        sh, sw = np.broadcast_to(stride, 2)
        windows = windows[..., ::sh, ::sw, :, :]
    if groups == 1:
        y = np.einsum("nchwij,fcij->nfhw", windows, w, optimize=True)
    if groups != 1:
        offsets = np.ndindex(*w.shape[-2:])
        y = sum(np.einsum("ngchw,gfc->ngfhw", windows[..., i, j], w[..., i, j]) for i, j in offsets)
        y = y.reshape(len(x), -1, *y.shape[3:])
    if bias is None:
        return y
    return y + bias[:, None, None]


@numpy_source("conv_transpose2d")
def conv_transpose2d(
    x: Any,
    w: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """Add x[n, c, h, w] · w[c, f, i, j] to y[n, f, h · stride + i, w · stride + j]."""
    if dilation != 1:
        w = dilated(w, dilation)
    N, C, H, W = x.shape
    x = x.reshape(N, groups, -1, H, W)
    w = w.reshape(groups, C // groups, *w.shape[1:])
    (sh, sw), (kh, kw) = np.broadcast_to(stride, 2), w.shape[3:]
    oh, ow = ((H, W) - np.ones(2, int)) * (sh, sw) + (kh, kw) + output_padding
    y = np.zeros((N, groups, w.shape[2], oh, ow), x.dtype)
    for i, j in np.ndindex(kh, kw):
        cells = y[..., i : i + (H - 1) * sh + 1 : sh, j : j + (W - 1) * sw + 1 : sw]
        cells += np.einsum("ngchw,gcf->ngfhw", x, w[..., i, j], optimize=True)
    y = y.reshape(N, -1, oh, ow)
    if padding != 0:
        (top, bottom), (left, right) = np.broadcast_to(np.transpose(padding), (2, 2)).T
        y = y[:, :, top : oh - bottom, left : ow - right]
    if bias is None:
        return y
    return y + bias[:, None, None]


@numpy_source("maxpool")
def maxpool(
    x: Any,
    size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    wide_padding: bool = False,
) -> Any:
    kh, kw = sh, sw = np.broadcast_to(size, 2)
    if stride is not None:
        sh, sw = np.broadcast_to(stride, 2)
    if dilation != 1:
        dh, dw = np.broadcast_to(dilation, 2)
        kh, kw = (kh - 1) * dh + 1, (kw - 1) * dw + 1
    if padding == "valid":
        padding = 0
    if padding == "same":
        padding = same_padding(x, (kh, kw), (sh, sw), 1)
    if padding != 0:
        x = bordered(x, padding, -np.inf)
    if ceil_mode:
        x = extended(x, padding, (kh, kw), (sh, sw), -np.inf)
    windows = sliding_window_view(x, (kh, kw), (2, 3))[:, :, ::sh, ::sw]
    if dilation != 1:
        windows = windows[..., ::dh, ::dw]
    return windows.max((4, 5))


@numpy_source("avgpool")
def avgpool(
    x: Any,
    size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    wide_padding: bool = False,
) -> Any:
    kh, kw = sh, sw = np.broadcast_to(size, 2)
    if stride is not None:
        sh, sw = np.broadcast_to(stride, 2)
    if padding == "valid":
        padding = 0
    if padding == "same":
        padding = same_padding(x, size, (sh, sw), 1)
    if ceil_mode or not count_include_pad:
        counted = bordered(np.ones((1, 1, *x.shape[2:]), x.dtype), padding, count_include_pad)
    if padding != 0:
        x = bordered(x, padding)
    if ceil_mode:
        x = extended(x, padding, (kh, kw), (sh, sw))
        counted = extended(counted, padding, (kh, kw), (sh, sw))
    windows = sliding_window_view(x, (kh, kw), (2, 3))[:, :, ::sh, ::sw]
    if ceil_mode or not count_include_pad:
        counted = sliding_window_view(counted, (kh, kw), (2, 3))[:, :, ::sh, ::sw]
        return windows.sum((4, 5)) / counted.sum((4, 5))
    return windows.mean((4, 5))


def extended(x: Any, padding: Any, size: Any, stride: Any, value: float = 0.0) -> Any:
    """Pad the end of height and width for a last window, if it starts before the border."""
    n, after = np.array(x.shape[2:]), np.broadcast_to(np.transpose(padding), (2, 2))[1]
    more = np.subtract(size, n) % stride
    more = np.where(n + more - size < n - after, more, 0)
    return np.pad(x, [(0, 0), (0, 0), (0, more[0]), (0, more[1])], constant_values=value)


def bordered(x: Any, padding: Any, value: float = 0.0) -> Any:
    """Pad height and width by a number, (rows, columns), or pairs (before, after)."""
    pairs = np.broadcast_to(np.transpose(padding), (2, 2)).T
    return np.pad(x, [(0, 0), (0, 0), *pairs], constant_values=value)


def same_padding(x: Any, size: Any, stride: Any, dilation: Any) -> Any:
    """Return the borders that give ⌈size / stride⌉ windows."""
    k, s, d = (np.broadcast_to(each, 2) for each in (size, stride, dilation))
    n = np.array(x.shape[-2:])
    border = np.maximum((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
    return np.stack([border // 2, border - border // 2], 1).tolist()


def dilated(w: Any, dilation: Any) -> Any:
    """Return the kernels with zeros between their entries."""
    dh, dw = np.broadcast_to(dilation, 2)
    kh, kw = w.shape[2:]
    wide = np.zeros((*w.shape[:2], (kh - 1) * dh + 1, (kw - 1) * dw + 1), w.dtype)
    wide[:, :, ::dh, ::dw] = w
    return wide
