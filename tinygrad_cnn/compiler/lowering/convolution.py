"""Lowerings of convolution, its two gradients and its transpose."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tinygrad_cnn.compiler.lowering.tape import Writer, images_last, lowers
from tinygrad_cnn.compiler.program import ForwardCall, RuleCall, StepValue
from tinygrad_cnn.engine.arrays import Shape, inverse
from tinygrad_cnn.engine.fast.convolution_choice import fast_convolution
from tinygrad_cnn.engine.fast.convolution_rows import (
    FastConvolution,
    Strides,
    sum_channels,
)
from tinygrad_cnn.engine.planes import Order
from tinygrad_cnn.engine.windows import windows


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


def _declare(op: str, of: str, direction: Callable[..., bool], operands: tuple[str, ...]) -> None:
    """Declare that a call, or the rule for `of`, is a direction of a convolution."""

    @lowers(op, of)
    def _(writer: Writer, instruction: ForwardCall | RuleCall) -> bool:
        read: Callable[[str], Any] = instruction.named
        result = instruction.named("result" if of else "y")
        if isinstance(instruction, ForwardCall):  # the named ones may be copies made after it
            read = instruction.arguments.__getitem__
        values = [read(name) if name else None for name in operands]
        static = instruction.named("static")
        return result is not None and direction(writer, *values, result, static)


for _op, _of, _direction, _operands in (
    ("conv2d", "", _forward, ("x", "w", "bias")),
    ("conv2d", "x", _input_gradient, ("g", "w", "")),
    ("conv2d", "w", _weight_gradient, ("g", "x")),
    ("conv2d_input_gradient", "", _input_gradient, ("u", "w", "")),
    ("conv2d_weight_gradient", "", _weight_gradient, ("u", "x")),
    ("conv_transpose2d", "", _input_gradient, ("x", "w", "bias")),
    ("conv_transpose2d", "x", _forward, ("g", "w", "")),
    ("conv_transpose2d", "w", _weight_gradient, ("x", "g")),
):
    _declare(_op, _of, _direction, _operands)


def _convolution(
    writer: Writer, x: Any, y: Any, w: Any, bias: Any, static: dict[str, Any]
) -> FastConvolution | None:
    """Return the convolution of x to y; None to leave it to NumPy."""
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
    return tuple([math.prod([shape[k] for k in order[place + 1 :]]) for place in inverse(order)])
