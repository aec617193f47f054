"""Lowerings of elementwise ops."""

from __future__ import annotations

import math

import numpy as np

from tinygrad_cnn.compiler.lowering.fusion import RECTIFIERS, relu_limits
from tinygrad_cnn.compiler.lowering.tape import Writer, lowers
from tinygrad_cnn.compiler.lowering.views import (
    merged,
    real_dtype,
    view,
    write_broadcast,
    write_copy,
)
from tinygrad_cnn.compiler.program import ForwardCall, LeafValue, RuleCall, StepValue
from tinygrad_cnn.engine.fast import elementwise as kernels
from tinygrad_cnn.engine.fast.kernel import Kernel
from tinygrad_cnn.engine.fast.row_writer import PIECE, rows_of_piece
from tinygrad_cnn.engine.threads import BYTE, FUNCTION

# --- arithmetic ----------------------------------------------------------------------------------


def _declare_forward(op: str, kernel: Kernel, operands: tuple[str, ...], fixed: int = 0) -> None:
    """Declare that a call is one row of an elementwise kernel."""

    @lowers(op)
    def _(writer: Writer, call: ForwardCall) -> bool:
        given = [call.arguments[name] for name in operands]
        return write_broadcast(writer, kernel, call.result, given, fixed)


def _declare_unary(op: str, kernel: Kernel) -> None:
    """Declare that a call is one row of a kernel of one operand."""

    @lowers(op)
    def _(writer: Writer, call: ForwardCall) -> bool:
        x, y = call.arguments["x"], call.result
        dtype = real_dtype(x, y)
        if dtype is None or writer.order(x) != writer.order(y):
            return False
        count = math.prod(x.shape)
        writer.flat_row(kernel, dtype, count, writer.at(x), writer.at(y), work=FUNCTION * count)
        return True


def _declare_rule(op: str, of: str, kernel: Kernel, operands: tuple[str, ...]) -> None:
    """Declare that a rule is one row of an elementwise kernel; "g" is the gradient."""

    @lowers(op, of)
    def _(writer: Writer, rule: RuleCall) -> bool:
        *given, result = [rule.named(name) for name in (*operands, "result")]
        return result is not None and write_broadcast(writer, kernel, result, given)


def _declare_scaled(op: str, of: str, scale: float) -> None:
    """Declare that a rule is the gradient, times a number."""

    @lowers(op, of)
    def _(writer: Writer, rule: RuleCall) -> bool:
        (result,) = rule.parts
        return result is not None and write_copy(writer, rule.gradient, result, scale=scale)


@lowers("astype")
def _(writer: Writer, call: ForwardCall) -> bool:
    """Let a value of the same dtype be the memory of its source."""
    x, y = call.arguments["x"], call.result
    if isinstance(x, LeafValue) or not writer.are_alike(x, y):
        return False
    writer.alias(y, x)
    return True


for _op, _kernel in (
    ("add", kernels.add), ("sub", kernels.sub), ("mul", kernels.mul), ("div", kernels.div),
):  # fmt: skip
    _declare_forward(_op, _kernel, ("a", "b"))
_declare_forward("multiply_add", kernels.multiply_add, ("a", "b", "c"), fixed=1)
for _op, _of, _scale in (
    ("add", "a", 1.0), ("add", "b", 1.0), ("sub", "a", 1.0), ("sub", "b", -1.0),
    ("multiply_add", "c", 1.0), ("neg", "x", -1.0),
):  # fmt: skip
    _declare_scaled(_op, _of, _scale)
for _op, _of, _other, _kernel in (
    ("mul", "a", "b", kernels.mul), ("mul", "b", "a", kernels.mul), ("div", "a", "b", kernels.div),
    ("multiply_add", "a", "b", kernels.mul), ("multiply_add", "b", "a", kernels.mul),
    ("sigmoid", "x", "y", kernels.sigmoid_gradient), ("tanh", "x", "y", kernels.tanh_gradient),
    ("silu", "x", "x", kernels.silu_gradient), ("exp", "x", "y", kernels.mul),
):  # fmt: skip
    _declare_rule(_op, _of, _kernel, ("g", _other))
for _op, _kernel in (
    ("sigmoid", kernels.sigmoid), ("tanh", kernels.tanh), ("silu", kernels.silu),
    ("exp", kernels.exp), ("sqrt", kernels.sqrt),
):  # fmt: skip
    _declare_unary(_op, _kernel)


@lowers("neg")
def _(writer: Writer, call: ForwardCall) -> bool:
    return write_copy(writer, call.arguments["x"], call.result, scale=-1.0)


# --- rectifiers ----------------------------------------------------------------------------------


def _write_marked(
    writer: Writer, call: ForwardCall, mask: str, kernel: Kernel, numbers: tuple[float, ...]
) -> bool:
    """Write a row of a function with slopes of 1 and another; its mask, if rules need it."""
    x, inside = call.arguments["x"], call.kept.get(mask)
    dtype = real_dtype(x, call.result)
    if dtype is None or (inside is not None and inside.dtype != np.bool_):
        return False
    if writer.order(x) != writer.order(call.result):
        return False
    count = math.prod(x.shape)
    places = writer.at(x), writer.at(call.result), writer.at(inside or x)
    writer.flat_row(
        kernel, dtype, count, *places, int(inside is not None), *map(writer.number, numbers),
        work=BYTE * (2 * dtype.itemsize + 1) * count,
    )  # fmt: skip
    return True


def _declare_limited(op: str) -> None:
    """Declare that a call limits its argument, with the mask of where its slope is 1."""
    mask, limits_of = RECTIFIERS[op]

    @lowers(op)
    def _(writer: Writer, call: ForwardCall) -> bool:
        limits = limits_of(call)
        numbers = (limits.low, limits.high, limits.least, limits.most)
        return _write_marked(writer, call, mask, kernels.limited, numbers)


for _op in RECTIFIERS:
    _declare_limited(_op)


@lowers("leaky_relu")
def _(writer: Writer, call: ForwardCall) -> bool:
    least = relu_limits(call).least
    slope = float(call.arguments["negative_slope"])
    return _write_marked(writer, call, "slopes", kernels.bent, (slope, least))


def _write_selected(
    writer: Writer, x: StepValue, mask: StepValue, result: StepValue, scale: float, slope: float
) -> bool:
    """Write scale·x where a mask holds and slope·x elsewhere."""
    dtype = real_dtype(x, result)
    if dtype is None or mask.dtype != np.bool_ or len(mask.shape) > len(x.shape):
        return False
    v, y = view(writer, x), view(writer, result)
    if v.strides != y.strides:
        return False
    lengths, (_, steps) = merged([v, np.broadcast_to(view(writer, mask), x.shape)], writer.order(x))
    count = math.prod(x.shape)
    if len(lengths) < 2 and (steps == [1] or count < 2):
        length = mask_row = PIECE
    elif len(lengths) == 2 and steps[1] == 1:
        length, mask_row = lengths[1], steps[0]
    else:
        return False
    rows, each = -(-count // max(1, length)), rows_of_piece(length)
    writer.row(
        kernels.selected, dtype, writer.at(x), writer.at(mask), writer.at(result),
        writer.number(scale), writer.number(slope), count, max(1, length), mask_row, each,
        pieces=-(-rows // each), work=BYTE * (2 * dtype.itemsize + 1) * count,
    )  # fmt: skip
    return True


def _declare_masked(op: str, mask: str, slope: str = "") -> None:
    """Declare the rule g where the mask holds, elsewhere 0 or an argument times g."""

    @lowers(op, "x")
    def _(writer: Writer, rule: RuleCall) -> bool:
        (result,) = rule.parts
        other = float(rule.call.arguments[slope]) if slope else 0.0
        inside = rule.call.named(mask)
        return result is not None and _write_selected(
            writer, rule.gradient, inside, result, 1.0, other
        )


for _op in RECTIFIERS:
    _declare_masked(_op, RECTIFIERS[_op][0])
_declare_masked("leaky_relu", "slopes", "negative_slope")


@lowers("dropout")
def _(writer: Writer, call: ForwardCall) -> bool:
    return _write_dropped(writer, call, call.arguments["x"], call.result)


@lowers("dropout", "x")
def _(writer: Writer, rule: RuleCall) -> bool:
    (result,) = rule.parts
    return result is not None and _write_dropped(writer, rule.call, rule.gradient, result)


def _write_dropped(writer: Writer, call: ForwardCall, x: StepValue, result: StepValue) -> bool:
    mask, p = call.arguments["mask"], call.arguments["p"]
    if not isinstance(mask, StepValue) or p >= 1.0:
        return False
    return _write_selected(writer, x, mask, result, 1.0 / (1.0 - p), 0.0)
