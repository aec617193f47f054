"""Lowerings of convolution, its two gradients and its transpose."""

from __future__ import annotations

import math
from typing import Any

from tinygrad_cnn.compiler.lowering.tape import Writer, images_last, lowers
from tinygrad_cnn.compiler.program import ForwardCall, RuleCall, StepValue
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.engine.fast.convolution_choice import fast_convolution
from tinygrad_cnn.engine.fast.convolution_rows import (
    FastConvolution,
    Strides,
    sum_channels,
)
from tinygrad_cnn.engine.planes import Order
from tinygrad_cnn.engine.windows import windows


@lowers("conv2d")
def _(writer: Writer, call: ForwardCall) -> bool:
    x, w, bias, y = (*map(call.arguments.get, ("x", "w", "bias")), call.result)
    return _forward(writer, x, w, bias, y, call.named("static"))


@lowers("conv2d", "x")
def _(writer: Writer, rule: RuleCall) -> bool:
    w, static = rule.call.named("w"), rule.call.named("static")
    return _input_gradient(writer, rule.gradient, w, None, rule.parts[0], static)


@lowers("conv2d", "w")
def _(writer: Writer, rule: RuleCall) -> bool:
    x, static = rule.call.named("x"), rule.call.named("static")
    return _weight_gradient(writer, rule.gradient, x, rule.parts[0], static)


@lowers("conv2d_input_gradient")
def _(writer: Writer, call: ForwardCall) -> bool:
    u, w = call.named("u"), call.named("w")
    return _input_gradient(writer, u, w, None, call.result, call.named("static"))


@lowers("conv2d_weight_gradient")
def _(writer: Writer, call: ForwardCall) -> bool:
    u, x = call.named("u"), call.named("x")
    return _weight_gradient(writer, u, x, call.result, call.named("static"))


@lowers("conv_transpose2d")
def _(writer: Writer, call: ForwardCall) -> bool:
    x, w, bias = map(call.arguments.get, ("x", "w", "bias"))
    return _input_gradient(writer, x, w, bias, call.result, call.named("static"))


@lowers("conv_transpose2d", "x")
def _(writer: Writer, rule: RuleCall) -> bool:
    w, static = rule.call.named("w"), rule.call.named("static")
    return _forward(writer, rule.gradient, w, None, rule.parts[0], static)


@lowers("conv_transpose2d", "w")
def _(writer: Writer, rule: RuleCall) -> bool:
    x, static = rule.call.named("x"), rule.call.named("static")
    return _weight_gradient(writer, x, rule.gradient, rule.parts[0], static)


@lowers("conv2d", "bias")
@lowers("conv_transpose2d", "bias")
def _(writer: Writer, rule: RuleCall) -> bool:
    g, bias = rule.gradient, rule.parts[0]
    if bias is None or not _are_images(writer, g):
        return False
    n, c, h, w = g.shape
    sum_channels(writer, writer.at(g), writer.at(bias), h * w, c, n, g.dtype)
    return True


def _forward(writer: Writer, x: Any, w: Any, bias: Any, y: Any, static: dict[str, Any]) -> bool:
    """Lower y = w ∗ x + bias."""
    at = _convolution(writer, x, y, w, bias, static)
    if at is None:
        return False
    place = None if bias is None else writer.at(bias)
    at.forward(writer, writer.at(x), writer.at(w), _strides(writer, w), place, writer.at(y))
    return True


def _input_gradient(
    writer: Writer, g: Any, w: Any, bias: Any, x: Any, static: dict[str, Any]
) -> bool:
    """Lower x = w ∗ᵀ g + bias."""
    at = _convolution(writer, x, g, w, bias, static)
    if at is None:
        return False
    place = None if bias is None else writer.at(bias)
    at.input_gradient(writer, writer.at(g), writer.at(w), _strides(writer, w), place, writer.at(x))
    return True


def _weight_gradient(writer: Writer, g: Any, x: Any, w: Any, static: dict[str, Any]) -> bool:
    """Lower w = Σ g·x over windows."""
    at = _convolution(writer, x, g, w, None, static)
    if at is None:
        return False
    at.weight_gradient(writer, writer.at(g), writer.at(x), writer.at(w), _strides(writer, w))
    return True


def _convolution(
    writer: Writer, x: Any, y: Any, w: Any, bias: Any, static: dict[str, Any]
) -> FastConvolution | None:
    """Return the convolution of x to y; None if there are no kernels for it."""
    operands = [v for v in (x, y, w, bias) if v is not None]
    if any(not isinstance(v, StepValue) or v.dtype != y.dtype for v in operands):
        return None
    if y.dtype.char not in "fd" or not (_are_images(writer, x) and _are_images(writer, y)):
        return None
    stride, padding, dilation = (static[k] for k in ("stride", "padding", "dilation"))
    at = windows("conv2d", x.shape[2:], w.shape[2:], stride, padding, dilation)
    if at.count != y.shape[2:]:  # a transposed convolution whose output padding exceeds a stride
        return None
    n, channels, groups = x.shape[0], x.shape[1], static["groups"]
    return fast_convolution(n, channels, w.shape[0], at, groups, y.dtype)


def _are_images(writer: Writer, value: StepValue) -> bool:
    """Return whether a value is (H, W, C, N) in memory."""
    if len(value.shape) != 4:
        return False
    strides = [_contiguous(value.shape, o) for o in (writer.order(value), images_last(4))]
    return all(n == 1 or a == b for n, a, b in zip(value.shape, *strides, strict=True))


def _strides(writer: Writer, w: StepValue) -> Strides:
    """Return the strides of weights, in values."""
    return _contiguous(w.shape, writer.order(w))  # type: ignore[return-value]  # four of them


def _contiguous(shape: Shape, order: Order) -> Shape:
    """Return the strides of a contiguous array with its axes in an order."""
    places = [order.index(axis) for axis in range(len(shape))]
    return tuple([math.prod([shape[k] for k in order[place + 1 :]]) for place in places])
