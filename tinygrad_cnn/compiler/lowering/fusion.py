"""Fusing a batch normalization with the rectifier that follows, for rows.

    y = batch_norm(x, w, bias);  z = relu(y)      →  z = batch_norm(x, w, bias) limited to [0, ∞)
    gy = g where y ≥ 0;  moments of gy;  dx       →  moments of g where y ≥ 0;  dx

Then y, gy and the mask of y ≥ 0 need no memory: the kernels of the derivatives compute y again from
x, which they read anyway.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygrad_cnn.compiler.lowering.tape import RECTIFIED
from tinygrad_cnn.compiler.program import (
    ForwardCall,
    RuleCall,
    SharedCall,
    StepInstruction,
    StepProgram,
    StepValue,
    values_in,
)


class NotFusedError(Exception):
    """A fused instruction that has no rows: the program is lowered without fusion."""


@dataclass(frozen=True, slots=True)
class RectifierLimits:
    """What a rectifier does: it limits values to [low, high]; its slope is 1 in [least, most]."""

    low: float
    high: float
    least: float
    most: float


@dataclass(eq=False, slots=True, kw_only=True)
class RectifiedCall(ForwardCall):
    """A call whose result is limited; ``call.result`` is that of the rectifier."""

    limits: RectifierLimits


def relu_limits(call: ForwardCall) -> RectifierLimits:
    """Return the limits of a `relu`."""
    is_closed = call.arguments["at_zero"] == 1.0
    return RectifierLimits(
        0.0, math.inf, 0.0 if is_closed else _next(0.0, math.inf, call), math.inf
    )


def hardtanh_limits(call: ForwardCall) -> RectifierLimits:
    """Return the limits of a `hardtanh`."""
    low, high = float(call.arguments["min_val"]), float(call.arguments["max_val"])
    return RectifierLimits(low, high, _next(low, math.inf, call), _next(high, -math.inf, call))


def clip_limits(call: ForwardCall) -> RectifierLimits:
    """Return the limits of a `clip`."""
    low, high = call.arguments["low"], call.arguments["high"]
    least = -math.inf if low is None else float(low)
    most = math.inf if high is None else float(high)
    return RectifierLimits(least, most, least, most)


RECTIFIERS: dict[str, tuple[str, Callable[[ForwardCall], RectifierLimits]]] = {
    "relu": ("slope", relu_limits),
    "hardtanh": ("between", hardtanh_limits),
    "clip": ("inside", clip_limits),
}
"""By op: the name of the mask that its rule reads, and the function that returns its limits."""


def _next(number: float, towards: float, call: ForwardCall) -> float:
    """Return the next number of the dtype of a call's result."""
    real = call.result.dtype.type
    return float(np.nextafter(real(number), real(towards)))


def is_fused(instruction: StepInstruction) -> bool:
    """Return whether only rows can compute an instruction."""
    return isinstance(getattr(instruction, "call", instruction), RectifiedCall)


def fused(program: StepProgram) -> StepProgram:
    """Return the program with calls such as `batch_norm` fused with the rectifiers after them."""
    readers: dict[StepValue, list[StepInstruction | None]] = {}
    for value in values_in(program.result):
        readers.setdefault(value, []).append(None)
    for instruction in program.instructions:
        for value in {*instruction.reads()}:
            readers.setdefault(value, []).append(instruction)
    changed: dict[int, StepInstruction | None] = {}  # by identity; None leaves it out
    for instruction in program.instructions:
        if isinstance(instruction, ForwardCall) and instruction.op.name in RECTIFIED:
            changed |= _fused(instruction, program, readers)
    kept = [changed.get(id(each), each) for each in program.instructions]
    return StepProgram(program.inputs, [each for each in kept if each is not None], program.result)


def _fused(
    call: ForwardCall, program: StepProgram, readers: dict[StepValue, Any]
) -> dict[int, StepInstruction | None]:
    """Return what takes the place of which instructions; empty if the call cannot be fused."""
    (after, *others) = readers.get(call.result, [None])
    if others or not isinstance(after, ForwardCall) or after.op.name not in RECTIFIERS:
        return {}
    name, limits = RECTIFIERS[after.op.name]
    mask = after.kept.get(name)
    if len(after.kept) > (mask is not None) or after.arguments["x"] is not call.result:
        return {}
    if mask is not None and mask.dtype != np.bool_:
        return {}
    of_call: list[SharedCall | RuleCall] = []
    of_after: list[SharedCall | RuleCall] = []
    for each in program.instructions:
        if isinstance(each, SharedCall | RuleCall):
            if each.call is call:
                of_call.append(each)
            elif each.call is after:
                of_after.append(each)
    through = [each.gradient for each in of_after]
    gradients = [part for each in of_after for part in each.results()]
    for value in (*gradients, *([] if mask is None else [mask])):
        expected = of_after if value is mask else of_call
        if any(reader not in expected for reader in readers.get(value, [])):
            return {}
    if len(of_after) > 1 or any(each.gradient not in gradients for each in of_call):
        return {}
    whole = RectifiedCall(
        call.op, call.arguments, after.result, call.shared, call.kept,
        scope=call.scope, line=call.line, limits=limits(after),
    )  # fmt: skip
    changed: dict[int, StepInstruction | None] = {id(call): whole, id(after): None}
    changed |= {id(each): None for each in of_after}
    shared: dict[SharedCall, SharedCall] = {}
    for each in of_call:
        if isinstance(each, SharedCall):
            made = changed[id(each)] = replace(each, call=whole, gradient=through[0])
            shared[each] = made
    for each in of_call:
        if isinstance(each, RuleCall):
            read = {key: shared.get(value, value) for key, value in each.shared.items()}
            changed[id(each)] = replace(each, call=whole, gradient=through[0], shared=read)
    return changed
