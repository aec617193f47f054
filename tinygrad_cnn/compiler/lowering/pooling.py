"""Lowerings of max and average pooling."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_cnn.compiler.lowering.tape import Writer, images_last, lowers
from tinygrad_cnn.compiler.lowering.views import real_dtype
from tinygrad_cnn.compiler.program import ForwardCall, RuleCall, StepValue
from tinygrad_cnn.engine.fast import pooling as kernels
from tinygrad_cnn.engine.threads import BYTE
from tinygrad_cnn.engine.windows import Windows
from tinygrad_cnn.ops.pooling import pooling_windows


def _windows(writer: Writer, call: ForwardCall, *values: StepValue) -> Windows | None:
    """Return the windows of a pooling; None if the kernels do not suit its values."""
    x, options = call.arguments["x"], call.named("static")
    if real_dtype(x, *values) is None:
        return None
    if any(writer.order(v) != images_last(4) for v in (x, *values)):
        return None
    known = {"dilation": 1} | {k: v for k, v in options.items() if k != "count_include_pad"}
    return pooling_windows(call.op.name, x.shape, **known)


def _write(
    writer: Writer, kernel: Any, at: Windows, whole: StepValue, small: StepValue, places: Any,
    more: tuple[int, ...] = (), backwards: bool = False,
) -> None:  # fmt: skip
    """Write the row of a kernel, of images and what is pooled from them."""
    length = whole.shape[0] * whole.shape[1]
    values = length * at.columns.size * (1 if backwards else at.rows.stride)
    rows = at.rows.size if backwards else at.rows.windows
    each = kernels.rows_of_piece(rows, values)
    work = BYTE * whole.dtype.itemsize * (math.prod(whole.shape) + math.prod(small.shape))
    writer.row(
        kernel, whole.dtype, *places, 1, length, *kernels.geometry(at), *more, each,
        pieces=-(-rows // each), work=work,
    )  # fmt: skip


@lowers("maxpool")
def _(writer: Writer, call: ForwardCall) -> bool:
    x, y, won = call.arguments["x"], call.result, call.kept.get("winner")
    if won is not None and won.dtype != np.uint8:
        return False
    at = _windows(writer, call, y)
    if at is None:
        return False
    marks = int(won is not None)
    places = writer.at(x), writer.at(y), writer.at(x if won is None else won), marks
    _write(writer, kernels.window_maxima, at, x, y, places)
    return True


@lowers("maxpool", "x")
def _(writer: Writer, rule: RuleCall) -> bool:
    (dx,), g, won = rule.parts, rule.gradient, rule.call.named("winner")
    if dx is None or won.dtype != np.uint8:
        return False
    at = _windows(writer, rule.call, g, dx)
    if at is None:
        return False
    places = writer.at(g), writer.at(won), writer.at(dx)
    _write(writer, kernels.window_maxima_gradient, at, dx, g, places, backwards=True)
    return True


@lowers("avgpool")
def _(writer: Writer, call: ForwardCall) -> bool:
    x, y = call.arguments["x"], call.result
    at = _windows(writer, call, y)
    if at is None:
        return False
    counted = kernels.counted(at, call.arguments["count_include_pad"])
    _write(writer, kernels.window_means, at, x, y, (writer.at(x), writer.at(y)), counted)
    return True


@lowers("avgpool", "x")
def _(writer: Writer, rule: RuleCall) -> bool:
    (dx,), g = rule.parts, rule.gradient
    at = None if dx is None else _windows(writer, rule.call, g, dx)
    if dx is None or at is None:
        return False
    counted = kernels.counted(at, rule.call.arguments["count_include_pad"])
    places = writer.at(g), writer.at(dx)
    _write(writer, kernels.window_means_gradient, at, dx, g, places, counted, backwards=True)
    return True
