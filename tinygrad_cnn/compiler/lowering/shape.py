"""Lowerings of ops that move values: reshaping, indexing, joining, padding; and sums over axes."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_cnn.compiler.lowering.tape import Writer, lowers
from tinygrad_cnn.compiler.lowering.views import (
    View,
    real_dtype,
    reshaped,
    view,
    write_copy,
)
from tinygrad_cnn.compiler.program import (
    ConstantValue,
    ForwardCall,
    RuleCall,
    StepValue,
    values_in,
)
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.engine.fast.moving import filled, rows_added, rows_taken
from tinygrad_cnn.engine.fast.reduction import WIDTH, sums, sums_of_rows
from tinygrad_cnn.engine.fast.row_writer import rows_of_piece
from tinygrad_cnn.engine.threads import BYTE
from tinygrad_cnn.ops.shape import axes_of

# --- views ---------------------------------------------------------------------------------------


def _write_reshaped(writer: Writer, source: StepValue, result: StepValue) -> bool:
    """Write the copy of a value to another shape: both are viewed with the axes of both."""
    shape = _refined(source.shape, result.shape)
    return shape is not None and write_copy(
        writer, source, result, lambda x: reshaped(x, shape), lambda y: reshaped(y, shape)
    )


def _refined(first: Shape, second: Shape) -> Shape | None:
    """Return the shape whose axes the axes of both are made of; None if there is none."""
    left, right = [n for n in first if n != 1], [n for n in second if n != 1]
    shape = []
    while left and right:
        n = min(left[-1], right[-1])
        if not n or left[-1] % n or right[-1] % n:
            return None
        shape.append(n)
        for axes in (left, right):
            axes[-1] //= n
            if axes[-1] == 1:
                axes.pop()
    return tuple(shape[::-1]) if not left and not right else None


@lowers("reshape")
def _(writer: Writer, call: ForwardCall) -> bool:
    return _write_reshaped(writer, call.arguments["x"], call.result)


@lowers("reshape", "x")
def _(writer: Writer, rule: RuleCall) -> bool:
    (result,) = rule.parts
    return result is not None and _write_reshaped(writer, rule.gradient, result)


@lowers("transpose")
def _(writer: Writer, call: ForwardCall) -> bool:
    axes = call.arguments["axes"]
    return write_copy(writer, call.arguments["x"], call.result, lambda x: x.transpose(axes))


@lowers("transpose", "x")
def _(writer: Writer, rule: RuleCall) -> bool:
    (result,), axes = rule.parts, rule.call.arguments["axes"]
    return result is not None and write_copy(
        writer, rule.gradient, result, into=lambda y: y.transpose(axes)
    )


@lowers("broadcast_to")
def _(writer: Writer, call: ForwardCall) -> bool:
    shape = call.result.shape
    return write_copy(writer, call.arguments["x"], call.result, lambda x: np.broadcast_to(x, shape))


@lowers("flip")
def _(writer: Writer, call: ForwardCall) -> bool:
    axis = call.arguments["axis"]
    return write_copy(writer, call.arguments["x"], call.result, lambda x: np.flip(x, axis))


@lowers("flip", "x")
def _(writer: Writer, rule: RuleCall) -> bool:
    (result,), axis = rule.parts, rule.call.arguments["axis"]
    return result is not None and write_copy(
        writer, rule.gradient, result, lambda g: np.flip(g, axis)
    )


# --- indexing ------------------------------------------------------------------------------------


@lowers("getitem")
def _(writer: Writer, call: ForwardCall) -> bool:
    x, index = call.arguments["x"], call.arguments["index"]
    if _is_basic(index):
        return write_copy(writer, x, call.result, lambda v: v[_as_view(index)])
    found = _rows(writer, x, call.result, index)
    if found is None:
        return False
    lead, before, after, length, places = found
    each = rows_of_piece(length)
    writer.row(
        rows_taken, x.dtype, writer.at(x), writer.at(call.result), writer.source(places),
        lead, before, after, length, each, pieces=-(-lead * after // each),
        work=2 * BYTE * x.dtype.itemsize * lead * after * length,
    )  # fmt: skip
    return True


@lowers("getitem", "x")
def _(writer: Writer, rule: RuleCall) -> bool:
    (result,), index = rule.parts, rule.call.arguments["index"]
    if result is None:
        return False
    if _is_basic(index):
        return write_padded(writer, rule.gradient, result, lambda y: y[_as_view(index)])
    found = _rows(writer, result, rule.gradient, index)
    if found is None:
        return False
    lead, before, after, length, places = found
    width = min(length, WIDTH) or 1
    writer.row(
        rows_added, result.dtype, writer.at(rule.gradient), writer.at(result),
        writer.source(places), lead, before, after, length, width,
        pieces=lead * -(-length // width),
        work=2 * BYTE * result.dtype.itemsize * lead * after * length,
    )  # fmt: skip
    return True


def _is_basic(index: Any) -> bool:
    """Return whether an index is made of ints, slices of ints, None and ellipses."""
    parts = index if isinstance(index, tuple) else (index,)
    if any(True for _ in values_in(index)):
        return False
    return all(
        part is None
        or part is Ellipsis
        or isinstance(part, slice)
        or (isinstance(part, int | np.integer) and not isinstance(part, bool))
        for part in parts
    )


def _as_view(index: Any) -> Any:
    """Return a basic index that selects a view, also of a single value."""
    parts = index if isinstance(index, tuple) else (index,)
    return parts if Ellipsis in parts else (*parts, ...)


def _rows(writer: Writer, x: StepValue, taken: StepValue, index: Any) -> Any:
    """Return the geometry and the numbers of rows taken along one axis of x; None if it is not.

    Beside the array, the index has whole axes only.
    """
    if real_dtype(x, taken) is None or len(x.shape) != len(taken.shape):
        return None
    parts = index if isinstance(index, tuple) else (index,)
    axis, numbers = 0, None
    for k, part in enumerate(parts):
        array = part.array if isinstance(part, ConstantValue) else part
        if isinstance(array, np.ndarray) and array.ndim == 1 and array.dtype.kind in "iu":
            if numbers is not None:
                return None
            axis, numbers = k, array
        elif not (isinstance(part, slice) and part == slice(None)):
            return None
    order = writer.order(x)
    if numbers is None or order != writer.order(taken):
        return None
    before, at = x.shape[axis], order.index(axis)
    places = np.where(numbers < 0, numbers + before, numbers).astype(np.int64)
    if places.size and not 0 <= places.min() <= places.max() < before:
        return None  # NumPy raises the error
    lead = math.prod([x.shape[k] for k in order[:at]])
    length = math.prod([x.shape[k] for k in order[at + 1 :]])
    return lead, before, len(places), length, places


def write_padded(
    writer: Writer,
    source: StepValue,
    result: StepValue,
    into: Callable[[View], View],
    value: float = 0.0,
) -> bool:
    """Write the rows that fill a value with a number, and copy another into a part of it."""
    dtype = real_dtype(source, result)
    if dtype is None:
        return False
    count = math.prod(result.shape)
    whole = view(writer, result)
    if into(whole).size < count:
        places, work = (writer.at(result), writer.number(value)), BYTE * dtype.itemsize * count
        writer.flat_row(filled, dtype, count, *places, work=work)
    return write_copy(writer, source, result, into=into)


# --- joining and padding -------------------------------------------------------------------------


@lowers("concatenate")
def _(writer: Writer, call: ForwardCall) -> bool:
    return _write_joined(writer, call, call.arguments["arrays"], call.result, False)


@lowers("concatenate", "arrays")
def _(writer: Writer, rule: RuleCall) -> bool:
    return _write_joined(writer, rule.call, rule.parts, rule.gradient, True)


def _write_joined(
    writer: Writer, call: ForwardCall, parts: list[Any], whole: StepValue, splits: bool
) -> bool:
    """Write the copies of parts into a whole, or back."""
    axis, start = call.arguments["axis"], 0
    if axis is None or real_dtype(whole, *[p for p in parts if p is not None]) is None:
        return False
    for part, given in zip(parts, call.arguments["arrays"], strict=True):
        stop = start + given.shape[axis]
        cut = functools.partial(_cut, axis % len(whole.shape), start, stop)
        start = stop
        if part is None:
            continue
        if splits:
            written = write_copy(writer, whole, part, part=cut)
        else:
            written = write_copy(writer, part, whole, into=cut)
        if not written:
            return False
    return True


def _cut(axis: int, start: int, stop: int, x: View) -> View:
    """Return a slice along an axis."""
    return x[(slice(None),) * axis + (slice(start, stop),)]


@lowers("pad")
def _(writer: Writer, call: ForwardCall) -> bool:
    x = call.arguments["x"]
    if call.arguments["mode"] != "constant":
        return False
    inner = _inside(call.arguments["pad_width"], x.shape)
    return write_padded(writer, x, call.result, lambda y: y[inner], float(call.arguments["value"]))


@lowers("pad", "x")
def _(writer: Writer, rule: RuleCall) -> bool:
    (result,) = rule.parts
    if result is None or rule.call.arguments["mode"] != "constant":
        return False
    inner = _inside(rule.call.arguments["pad_width"], result.shape)
    return write_copy(writer, rule.gradient, result, part=lambda g: g[inner])


def _inside(pad_width: Any, shape: Shape) -> tuple[slice, ...]:
    """Return where an array of this shape is in its padded one."""
    pairs = np.broadcast_to(pad_width, (len(shape), 2)).tolist()
    return tuple([slice(a, a + n) for (a, _), n in zip(pairs, shape, strict=True)])


# --- sums over axes ------------------------------------------------------------------------------


@lowers("sum")
def _(writer: Writer, call: ForwardCall) -> bool:
    x, axis = call.arguments["x"], call.arguments["axis"]
    return write_sum(writer, x, call.result, axes_of("sum", x.shape, axis))


@lowers("mean")
def _(writer: Writer, call: ForwardCall) -> bool:
    x, axis = call.arguments["x"], call.arguments["axis"]
    axes = axes_of("mean", x.shape, axis)
    return write_sum(writer, x, call.result, axes, 1.0 / math.prod([x.shape[k] for k in axes]))


@lowers("sum", "x")
def _(writer: Writer, rule: RuleCall) -> bool:
    return _write_spread(writer, rule, 1.0)


@lowers("mean", "x")
def _(writer: Writer, rule: RuleCall) -> bool:
    shape = rule.call.named("x_shape")
    axes = axes_of("mean", shape, rule.call.arguments["axis"])
    return _write_spread(writer, rule, 1.0 / math.prod([shape[k] for k in axes]))


def _write_spread(writer: Writer, rule: RuleCall, scale: float) -> bool:
    """Write the gradient of a reduction: g repeated, times `scale`."""
    (result,) = rule.parts
    if result is None:
        return False
    shape = result.shape
    axes = axes_of("sum", shape, rule.call.arguments["axis"])
    kept = tuple([1 if k in axes else n for k, n in enumerate(shape)])
    return write_copy(
        writer, rule.gradient, result,
        lambda g: np.broadcast_to(reshaped(g, kept), shape), scale=scale,
    )  # fmt: skip


@lowers("sum_to")
def _(writer: Writer, call: ForwardCall) -> bool:
    return write_sum_to(writer, call.arguments["x"], call.result)


def write_sum_to(writer: Writer, x: StepValue, result: StepValue) -> bool:
    """Write the sum over the axes that a result was broadcast along."""
    lead = len(x.shape) - len(result.shape)
    target = (1,) * lead + result.shape
    axes = [k for k, n in enumerate(x.shape) if k < lead or target[k] != n]
    return write_sum(writer, x, result, tuple(axes))


def write_sum(
    writer: Writer, x: StepValue, result: StepValue, axes: tuple[int, ...], scale: float = 1.0
) -> bool:
    """Write the sum of a value over axes, times `scale`."""
    dtype = real_dtype(x, result)
    order = writer.order(x)
    y = reshaped(view(writer, result), [1 if k in axes else n for k, n in enumerate(x.shape)])
    kept = [k for k in order if k not in axes and x.shape[k] > 1]
    if dtype is None or kept != sorted(kept, key=lambda k: -y.strides[k]):
        return False
    runs: list[tuple[int, bool]] = []  # the length, and whether it is summed over
    for k in order:
        if x.shape[k] == 1:
            continue
        if runs and runs[-1][1] == (k in axes):
            runs[-1] = runs[-1][0] * x.shape[k], runs[-1][1]
        else:
            runs.append((x.shape[k], k in axes))
    summed = [k for k, (_, is_summed) in enumerate(runs) if is_summed]
    place = writer.at(x)
    if not summed:
        return write_copy(writer, x, result, lambda v: reshaped(v, result.shape), scale=scale)
    for k in summed:
        lead = math.prod([n for n, is_summed in runs[:k] if not is_summed])
        rest = math.prod([n for n, _ in runs[k + 1 :]])
        is_last = k == summed[-1]
        to = writer.at(result) if is_last else writer.temporary(lead * rest, dtype)
        factor = writer.number(scale if is_last else 1.0)
        _write_one_sum(writer, dtype, place, to, factor, (lead, runs[k][0], rest))
        place = to
    return True


def _write_one_sum(
    writer: Writer, dtype: Any, x: int, y: int, factor: int, sizes: tuple[int, int, int]
) -> None:
    """Write the sum over the second axis of three."""
    lead, reduced, rest = sizes
    work = BYTE * dtype.itemsize * lead * reduced * rest
    if rest == 1:
        each = rows_of_piece(reduced)
        pieces = -(-lead // each)
        writer.row(sums_of_rows, dtype, x, y, factor, lead, reduced, each, pieces=pieces, work=work)
        return
    width = max(1, min(rest, WIDTH))
    writer.row(
        sums, dtype, x, y, factor, lead, reduced, rest, width,
        pieces=lead * -(-rest // width), work=work, scratch=width,
    )  # fmt: skip
