"""Quantized values: to and from integers, and products of integers, exact in int32."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.core.variable import Array
from tinygrad_cnn.onnx.importers.shape import reshaped
from tinygrad_cnn.onnx.importers.values import axis_of, is_floating, plain, refused
from tinygrad_cnn.onnx.operator import IMPORTERS, Operator, importer
from tinygrad_cnn.onnx.tensors import dtype_of

__all__: list[str] = []


def _spread(node: Operator, part: Array, shape: tuple[int, ...]) -> Array:
    """Return a scale or zero point so that it broadcasts to `shape`."""
    if not part.shape or part.shape == (1,):
        return reshaped(part, ())
    axis = axis_of(node, node.get("axis", 1), len(shape))
    if len(part.shape) == 1:
        return reshaped(part, [-1 if a == axis else 1 for a in range(len(shape))])
    block = node.get("block_size", 0)
    if not block:
        raise refused(node, f"the scale has shape {part.shape}, but there is no block_size")
    repeat = ops.repeat if is_floating(part) else np.repeat
    return repeat(part, block, axis)[(*(slice(None),) * axis, slice(shape[axis]))]


def _saturated(x: NDArray[Any], zero: NDArray[Any]) -> NDArray[Any]:
    """Return `x` rounded to even, shifted by the zero point, and limited to its dtype."""
    limits = np.iinfo(zero.dtype)
    y: NDArray[Any] = np.clip(np.rint(x) + zero, limits.min, limits.max)
    return y.astype(zero.dtype)


@importer("QuantizeLinear")
def _(node: Operator, x: Array, scale: Array, zero: Array | None = None) -> Array:
    if zero is None:
        dtype = dtype_of(node.get("output_dtype") or 2, str(node))
        zero = np.zeros(scale.shape, dtype)
    if zero.dtype.kind not in "iu":
        raise refused(node, f"the zero point is of {zero.dtype}, expected integers")
    factor, shift = (plain(_spread(node, part, x.shape)) for part in (scale, zero))
    return _saturated(plain(x).astype(factor.dtype) / factor, shift)


@importer("DequantizeLinear")
def _(node: Operator, x: Array, scale: Array, zero: Array | None = None) -> Array:
    if x.dtype.kind not in "iu":
        raise refused(node, f"the input is of {x.dtype}, expected integers")
    values = plain(x).astype(np.int64)
    if zero is not None:
        values = values - plain(_spread(node, zero, x.shape))
    y = ops.mul(values.astype(scale.dtype), _spread(node, scale, x.shape))
    to = node.get("output_dtype", 0)
    return ops.astype(y, dtype_of(to, str(node))) if to else y


@importer("DynamicQuantizeLinear")
def _(node: Operator, x: Array) -> Array:
    values = plain(x)
    low, high = values.min(initial=0), values.max(initial=0)
    scale = (high - low) / np.float32(255) or np.float32(1)
    zero = np.clip(np.rint(-low / scale), 0, 255).astype(np.uint8)
    return _saturated(values / scale, zero), np.asarray(scale), np.asarray(zero)


# --- products ------------------------------------------------------------------------------------


def _shifted(x: Array, zero: Array | None, dtype: Any, shape: list[int] | None = None) -> Any:
    """Return integers without their zero point; one for each line has its place in `shape`."""
    values = plain(x).astype(dtype)
    if zero is None:
        return values
    shift = plain(zero).astype(dtype)
    return values - (shift.reshape(shape) if shape and shift.ndim == 1 else shift)


@importer("MatMulInteger")
def _(
    node: Operator, a: Array, b: Array, a_zero: Array | None = None, b_zero: Array | None = None
) -> Array:
    left, right = _shifted(a, a_zero, np.int32, [-1, 1]), _shifted(b, b_zero, np.int32)
    return np.asarray(np.matmul(left, right))


@importer("QLinearMatMul")
def _(
    node: Operator,
    a: Array,
    a_scale: Array,
    a_zero: Array,
    b: Array,
    b_scale: Array,
    b_zero: Array,
    scale: Array,
    zero: Array,
) -> Array:
    product = np.matmul(_shifted(a, a_zero, np.int32, [-1, 1]), _shifted(b, b_zero, np.int32))
    left = plain(a_scale).reshape(-1, 1) if a_scale.shape not in ((), (1,)) else plain(a_scale)
    return _saturated(product * (left * plain(b_scale) / plain(scale)), plain(zero))


def _convolved(
    node: Operator, x: Array, w: Array, x_zero: Array | None, w_zero: Array | None
) -> NDArray[Any]:
    """Return a convolution of integers, exact: sums of products of 8 bits fit into float64."""
    channels = [-1] + [1] * (len(w.shape) - 1)
    exact = np.float64
    y = IMPORTERS["Conv"](node, _shifted(x, x_zero, exact), _shifted(w, w_zero, exact, channels))
    return plain(y)


@importer("ConvInteger")
def _(
    node: Operator, x: Array, w: Array, x_zero: Array | None = None, w_zero: Array | None = None
) -> Array:
    return _convolved(node, x, w, x_zero, w_zero).astype(np.int32)


@importer("QLinearConv")
def _(
    node: Operator,
    x: Array,
    x_scale: Array,
    x_zero: Array,
    w: Array,
    w_scale: Array,
    w_zero: Array,
    scale: Array,
    zero: Array,
    bias: Array | None = None,
) -> Array:
    y = _convolved(node, x, w, x_zero, w_zero)
    channels = (-1, *(1,) * (y.ndim - 2))
    y = y if bias is None else y + plain(bias).reshape(channels)
    factor = plain(x_scale) * plain(w_scale).reshape(channels) / plain(scale)
    return _saturated(y * factor, plain(zero))
