"""The cross-entropy of labels as rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_cnn.compiler.lowering.tape import Writer, lowers, tape_dtype
from tinygrad_cnn.compiler.program import ForwardCall, RuleCall, StepValue
from tinygrad_cnn.engine import softmax as engine
from tinygrad_cnn.engine.fast import softmax as kernels
from tinygrad_cnn.ops.targets import checked_target, class_axis, without


@lowers("cross_entropy")
def cross_entropy(writer: Writer, call: ForwardCall) -> bool:
    """Write the loss and the powers of the logits; only of labels, reduced to a number."""
    logits, powers, loss = call.arguments["logits"], call.shared.get("powers"), call.result
    if not _has_rows(writer, call):
        return False
    size = math.prod(logits.shape)
    place = writer.temporary(size, loss.dtype) if powers is None else writer.at(powers)
    cube, count = _cube(writer, call), _count(call)
    known, shares = _labels(writer, call)
    losses = writer.temporary(count, loss.dtype)
    step, width, pieces = kernels.pieces_of(*cube)
    writer.row(
        kernels.cross_entropy, loss.dtype, writer.at(logits), known, place, losses,
        *cube, step, width, pieces=pieces, work=math.prod(cube) * engine.WORK, scratch=3 * width,
    )  # fmt: skip
    writer.row(kernels.shared_sum, loss.dtype, losses, shares, writer.at(loss), count)
    return True


@lowers("cross_entropy", "logits")
def cross_entropy_logits(writer: Writer, rule: RuleCall) -> bool:
    """Write g·(softmax x − t) / n."""
    call, g, (dx,) = rule.call, rule.gradient, rule.parts
    if dx is None or dx.dtype != g.dtype or not _has_rows(writer, call):
        return False
    powers = call.shared["powers"]
    if not writer.are_alike(powers, dx):
        return False
    cube, count = _cube(writer, call), _count(call)
    known, shares = _labels(writer, call)
    gradients = writer.temporary(count, dx.dtype)
    step, width, pieces = kernels.pieces_of(*cube)
    writer.row(kernels.shared_out, dx.dtype, writer.at(g), shares, gradients, count)
    writer.row(
        kernels.cross_entropy_gradient, dx.dtype, gradients, known, writer.at(powers),
        writer.at(dx), *cube, step, width, 1, writer.number(1.0), pieces=pieces,
        work=math.prod(cube) * 4 * dx.dtype.itemsize, scratch=2 * width,
    )  # fmt: skip
    return True


def _has_rows(writer: Writer, call: ForwardCall) -> bool:
    """Return whether there are kernels for a call, with the labels in the order of the logits."""
    arguments, logits = call.arguments, call.arguments["logits"]
    target = arguments["target"]
    if arguments["reduction"] not in ("mean", "sum") or arguments["weight"] is not None:
        return False
    powers = call.shared.get("powers", logits)
    if arguments["label_smoothing"] or not writer.are_alike(logits, powers):
        return False
    if logits.dtype != call.result.dtype or logits.dtype.char not in "fd":
        return False
    at = _axis(call)
    if not isinstance(target, StepValue) or target.dtype.kind not in "iu":
        return False
    if tape_dtype(target) != np.int64:
        return False
    if target.shape != without(logits.shape, at) or not math.prod(logits.shape):
        return False
    order = tuple([axis - (axis > at) for axis in writer.order(logits) if axis != at])
    return writer.arrange(target, order)


def _axis(call: ForwardCall) -> int:
    return class_axis("cross_entropy", call.arguments["logits"].shape, call.arguments["axis"])


def _count(call: ForwardCall) -> int:
    return math.prod(call.arguments["target"].shape)


def _cube(writer: Writer, call: ForwardCall) -> tuple[int, int, int]:
    """Return the logits in memory as (outer, classes, inner)."""
    logits = call.arguments["logits"]
    order = writer.order(logits)
    place = order.index(_axis(call))
    lengths = [logits.shape[axis] for axis in order]
    return math.prod(lengths[:place]), lengths[place], math.prod(lengths[place + 1 :])


def _labels(writer: Writer, call: ForwardCall) -> tuple[int, int]:
    """Write the check of the labels; return the places of labels and shares of the examples."""
    arguments, count, at = call.arguments, _count(call), _axis(call)
    shape, dtype = arguments["logits"].shape, call.result.dtype
    is_mean, ignored = arguments["reduction"] == "mean", arguments["ignore_index"]

    def explain(target: Any) -> None:
        found = checked_target("cross_entropy", target, shape, at, None, ignored, dtype)
        found.count(arguments["reduction"])

    stop, code = writer.stop(explain, arguments["target"])
    known, shares = writer.temporary(count, "i8"), writer.temporary(count, dtype)
    labels, classes = writer.at(arguments["target"]), shape[at]
    writer.row(
        kernels.checked_labels, dtype, labels, known, shares, stop, count, classes, ignored,
        int(is_mean), code,
    )  # fmt: skip
    return known, shares
