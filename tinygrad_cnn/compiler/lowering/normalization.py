"""Lowerings of batch normalization and its running statistics."""

from __future__ import annotations

import math
from typing import Any

from tinygrad_cnn.compiler.lowering.fusion import RectifiedCall, RectifierLimits
from tinygrad_cnn.compiler.lowering.tape import Writer, lowers, lowers_effect
from tinygrad_cnn.compiler.lowering.views import real_dtype, view, write_copy
from tinygrad_cnn.compiler.program import (
    Effect,
    ForwardCall,
    LeafValue,
    RuleCall,
    SharedCall,
    StepValue,
)
from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.engine.fast import normalization as kernels
from tinygrad_cnn.engine.threads import BYTE
from tinygrad_cnn.nn.layers.normalization import _BatchNorm

UNLIMITED = RectifierLimits(-math.inf, math.inf, -math.inf, math.inf)


class _Grid:
    """How the kernels see x: (pixels, channels, run), and the pieces of its pixels."""

    def __init__(self, writer: Writer, x: StepValue) -> None:
        order, shape = writer.order(x), x.shape
        at = order.index(1)
        self.channels = shape[1]
        self.pixels = math.prod([shape[k] for k in order[:at]])
        self.run = math.prod([shape[k] for k in order[at + 1 :]])
        self.each = kernels.pixels_of_piece(self.pixels, self.channels * self.run)
        self.pieces = -(-self.pixels // self.each)
        self.sizes = self.pixels, self.channels, self.run
        self.bytes = math.prod(shape) * x.dtype.itemsize


def _steps(writer: Writer, few: StepValue) -> tuple[int, int]:
    """Return the steps in memory from row to row of statistics, and from channel to channel."""
    strides = view(writer, few).strides
    return strides[0], strides[2]


def _affine(writer: Writer, call: ForwardCall) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the places of the scale and the shift, and whether there are any."""
    w, bias, x = (call.arguments[name] for name in ("w", "bias", "x"))
    places = writer.at(x if w is None else w), writer.at(x if bias is None else bias)
    return places, (int(w is not None), int(bias is not None))


def _is_lowered(call: ForwardCall) -> bool:
    given = [call.arguments[name] for name in ("x", "w", "bias")]
    values = [value for value in given if value is not None]
    return call.arguments["ranks"] is None and real_dtype(*values) is not None


def _limits(writer: Writer, call: ForwardCall) -> tuple[int, int]:
    """Return the places of the limits of the result: of the rectifier that it is fused with."""
    limits = call.limits if isinstance(call, RectifiedCall) else UNLIMITED
    return writer.number(limits.low), writer.number(limits.high)


def _mask(writer: Writer, call: ForwardCall) -> tuple[int, int, int]:
    """Return whether gradients pass a rectifier, and the places of where its slope is 1."""
    is_masked = isinstance(call, RectifiedCall)
    limits = call.limits if isinstance(call, RectifiedCall) else UNLIMITED
    return int(is_masked), writer.number(limits.least), writer.number(limits.most)


@lowers("batch_norm", rectified=True)
def _(writer: Writer, call: ForwardCall) -> bool:
    x = call.arguments["x"]
    if not _is_lowered(call) or writer.order(call.result) != writer.order(x):
        return False
    grid, dtype, found = _Grid(writer, x), x.dtype, call.shared.get("statistics")
    steps = (1, 4) if found is None else _steps(writer, found)
    place = writer.temporary(4 * grid.channels, dtype) if found is None else writer.at(found)
    sums = writer.temporary(grid.pieces * grid.channels * 2, dtype)
    writer.row(
        kernels.channel_sums, dtype, writer.at(x), sums, *grid.sizes, grid.each,
        pieces=grid.pieces, work=BYTE * grid.bytes, scratch=grid.channels,
    )  # fmt: skip
    writer.row(
        kernels.channel_statistics, dtype, writer.at(x), sums, place, grid.pieces, *grid.sizes,
        *steps, writer.number(float(call.arguments["eps"])),
    )  # fmt: skip
    affine, given = _affine(writer, call)
    writer.row(
        kernels.normalized_channels, dtype, writer.at(x), place, *affine, writer.at(call.result),
        *given, *_limits(writer, call), *grid.sizes, *steps, grid.each,
        pieces=grid.pieces, work=2 * BYTE * grid.bytes, scratch=3 * grid.channels,
    )  # fmt: skip
    return True


def _backward(writer: Writer, call: ForwardCall, gradient: StepValue) -> Any:
    """Return the places that the backward kernels read, and the options; None if they cannot."""
    x, found = call.arguments["x"], call.shared.get("statistics")
    if found is None or not _is_lowered(call) or real_dtype(gradient, x, found) is None:
        return None
    if writer.order(gradient) != writer.order(x):
        return None
    affine, given = _affine(writer, call)
    return (writer.at(gradient), writer.at(x), writer.at(found)), affine, given


@lowers("batch_norm", shared="moments")
def _(writer: Writer, shared: SharedCall) -> bool:
    call, (result,) = shared.call, shared.parts
    read = _backward(writer, call, shared.gradient)
    if read is None:
        return False
    places, affine, given = read
    x, found = call.arguments["x"], call.shared["statistics"]
    grid, dtype = _Grid(writer, x), x.dtype
    sums = writer.temporary(grid.pieces * grid.channels * 2, dtype)
    writer.row(
        kernels.gradient_sums, dtype, *places, *affine, sums, *given, *_mask(writer, call),
        *grid.sizes, *_steps(writer, found), grid.each,
        pieces=grid.pieces, work=2 * BYTE * grid.bytes, scratch=4 * grid.channels,
    )  # fmt: skip
    writer.row(
        kernels.channel_moments, dtype, sums, writer.at(result), grid.pieces, grid.channels,
        *_steps(writer, result),
    )  # fmt: skip
    return True


@lowers("batch_norm", "x")
def _(writer: Writer, rule: RuleCall) -> bool:
    call, (result,), (moments,) = rule.call, rule.parts, rule.shared["moments"].parts
    read = _backward(writer, call, rule.gradient)
    x = call.arguments["x"]
    if read is None or result is None or writer.order(result) != writer.order(x):
        return False
    places, (w, bias), given = read
    grid, dtype = _Grid(writer, x), x.dtype
    writer.row(
        kernels.normalization_gradient, dtype, *places, writer.at(moments), w, bias,
        writer.at(result), *given, *_mask(writer, call), *grid.sizes,
        *_steps(writer, call.shared["statistics"]), *_steps(writer, moments), grid.each,
        pieces=grid.pieces, work=3 * BYTE * grid.bytes, scratch=6 * grid.channels,
    )  # fmt: skip
    return True


def _declare_row(of: str, row: int) -> None:
    """Declare a rule whose result is a row of the moments."""

    @lowers("batch_norm", of)
    def _(writer: Writer, rule: RuleCall) -> bool:
        (result,), (moments,) = rule.parts, rule.shared["moments"].parts
        return result is not None and write_copy(
            writer, moments, result, lambda m: m[row].reshape(-1, copy=False)
        )


_declare_row("w", 1)
_declare_row("bias", 0)


# --- running statistics ---------------------------------------------------------------------------


@lowers_effect(_BatchNorm._follow_batch)
def follow_batch(writer: Writer, effect: Effect) -> bool:
    """Write the update of the running statistics, of statistics that the forward has saved."""
    norm, found, x = (effect.arguments.get(name) for name in ("self", "statistics", "x"))
    if not (isinstance(norm, _BatchNorm) and type(norm)._follow is _BatchNorm._follow):
        return False
    if not isinstance(found, StepValue) or not isinstance(x, StepValue) or norm.ranks is not None:
        return False
    mean, variance, tracked = norm.running_mean, norm.running_var, norm.num_batches_tracked
    if mean is None or variance is None or tracked is None or mean.dtype != found.dtype:
        return False
    channels = x.shape[1]
    count = math.prod(x.shape) // channels
    if count < 2 or found.dtype.char not in "fd":
        return False
    momentum = writer.number(lambda: _momentum(norm))
    rows, _, columns, *_ = view(writer, found).strides
    for running, row, scale in ((mean, 0, 1.0), (variance, 2, count / (count - 1))):
        writer.row(
            kernels.followed, found.dtype, writer.changes(_leaf(running)), writer.at(found),
            channels, row * rows, columns, writer.number(scale), momentum,
        )  # fmt: skip
    writer.row(kernels.counted, found.dtype, writer.changes(_leaf(tracked)))
    return True


def _leaf(tensor: Variable) -> LeafValue:
    array = tensor._array
    return LeafValue("running", array.shape, array.dtype, array.strides, tensor)


def _momentum(norm: Any) -> float:
    """Return the weight of this batch, read before it is counted."""
    tracked = norm.num_batches_tracked
    return float(norm.momentum if norm.momentum is not None else 1.0 / (tracked.item() + 1))
