"""Elementwise arithmetic with broadcasting: floats by ops, integers by NumPy in their own dtype."""

from __future__ import annotations

from functools import partial, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.core.variable import Array, Variable
from tinygrad_cnn.onnx.importers.shape import joined, reshaped
from tinygrad_cnn.onnx.importers.values import (
    Computation,
    integers,
    is_floating,
    plain,
    refused,
    whole,
)
from tinygrad_cnn.onnx.operator import Operator, importer

__all__ = ["aligned"]


def aligned(node: Operator, a: Array, b: Array) -> Array:
    """Return `b` in a shape that broadcasts to `a`: before opset 7 its place is an attribute."""
    if node.opset >= 7 or not node.get("broadcast"):
        return b
    ndim = len(a.shape)
    axis = node.get("axis", ndim - len(b.shape)) % ndim
    shape = (*b.shape, *(1,) * (ndim - axis - len(b.shape)))
    return reshaped(b, shape)


# --- two operands --------------------------------------------------------------------------------


def _divided(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Return integers divided, rounded towards 0."""
    quotient = np.floor_divide(a, b)
    return np.asarray(quotient + ((np.remainder(a, b) != 0) & ((a < 0) != (b < 0))), a.dtype)


def _binary(
    of_floats: Computation, of_integers: Computation, node: Operator, a: Array, b: Array
) -> Array:
    b = aligned(node, a, b)
    return of_floats(a, b) if is_floating(a) else whole(of_integers, a, b)


_BINARY: dict[str, tuple[Computation, Computation]] = {
    "Add": (ops.add, np.add),
    "Sub": (ops.sub, np.subtract),
    "Mul": (ops.mul, np.multiply),
    "Div": (ops.div, _divided),
}
for _name, (_op, _function) in _BINARY.items():
    importer(_name)(partial(_binary, _op, _function))


@importer("Pow")
def _(node: Operator, a: Array, b: Array) -> Array:
    b = aligned(node, a, b)
    if is_floating(a):
        return ops.pow(a, b if b.dtype == a.dtype else ops.astype(b, a.dtype))
    if is_floating(b) or (b.size and b.min() < 0):
        return whole(lambda a, b: np.power(a.astype("f8"), b).astype(a.dtype), a, b)
    return whole(lambda a, b: np.power(a, b.astype(a.dtype)), a, b)


@importer("Mod")
def _(node: Operator, a: Array, b: Array) -> Array:
    if not is_floating(a):
        return whole(np.fmod if node.get("fmod") else np.mod, a, b)
    if not node.get("fmod"):
        return ops.mod(a, b)
    below = a < 0  # the sign of the result
    y = ops.mod(ops.where(below, ops.neg(a), a), ops.abs(b))
    return ops.where(below, ops.neg(y), y)


_BITWISE: dict[str, Computation] = {
    "BitwiseAnd": np.bitwise_and,
    "BitwiseOr": np.bitwise_or,
    "BitwiseXor": np.bitwise_xor,
}
for _name, _function in _BITWISE.items():
    importer(_name)(lambda node, a, b, *, function=_function: whole(function, a, b))


@importer("BitwiseNot")
def _(node: Operator, x: Array) -> Array:
    return whole(np.invert, x)


@importer("BitShift")
def _(node: Operator, a: Array, b: Array) -> Array:
    direction = node.get("direction")
    if direction not in ("LEFT", "RIGHT"):
        raise refused(node, f"direction is {direction!r}, expected LEFT or RIGHT")
    return whole(np.left_shift if direction == "LEFT" else np.right_shift, a, b)


# --- any number of operands ----------------------------------------------------------------------


def _fold(of_floats: Computation, of_integers: Computation, node: Operator, *x: Array) -> Array:
    if is_floating(x[0]):
        return reduce(of_floats, x)
    return reduce(partial(whole, of_integers), x)


_VARIADIC: dict[str, tuple[Computation, Computation]] = {
    "Sum": (ops.add, np.add),
    "Max": (ops.maximum, np.maximum),
    "Min": (ops.minimum, np.minimum),
}
for _name, (_op, _function) in _VARIADIC.items():
    importer(_name)(partial(_fold, _op, _function))


@importer("Mean")
def _(node: Operator, *x: Array) -> Array:
    return reduce(ops.add, x) if len(x) == 1 else ops.div(reduce(ops.add, x), float(len(x)))


@importer("Clip")
def _(node: Operator, x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    if node.opset < 11:
        low, high = (
            None if node.get(name) is None else np.asarray(node.get(name), x.dtype)
            for name in ("min", "max")
        )
    if low is None and high is None:
        return x
    if not is_floating(x):
        x = x if low is None else whole(np.maximum, x, low)
        return x if high is None else whole(np.minimum, x, high)
    computed = isinstance(low, Variable) or isinstance(high, Variable)
    below, above = (None if bound is None else float(plain(bound)) for bound in (low, high))
    if not computed and (below is None or above is None or below <= above):
        return ops.clip(x, below, above)
    x = x if low is None else ops.maximum(x, low)
    return x if high is None else ops.minimum(x, high)


# --- running sums and products -------------------------------------------------------------------


def _running(
    of_floats: Computation,
    of_integers: Computation,
    first: int,
    node: Operator,
    x: Array,
    axis: Array,
) -> Array:
    """Return running sums or products; without the entry itself if exclusive."""
    (a,) = integers(axis)
    before = (slice(None),) * (a % len(x.shape))
    floating = is_floating(x)
    x = x if floating else plain(x)
    backwards = (*before, slice(None, None, -1))
    x = x[backwards] if node.get("reverse") else x
    if node.get("exclusive"):
        start = np.full_like(plain(x)[(*before, slice(1))], first)
        x = joined([start, x[(*before, slice(-1))]], len(before))
    y = (
        of_floats(x, len(before))
        if floating
        else whole(lambda x: of_integers(x, a, dtype=x.dtype), x)
    )
    return y[backwards] if node.get("reverse") else y


def _products(x: Array, axis: int) -> Array:
    """Return the running products along an axis, in log₂ n steps."""
    before = (slice(None),) * axis
    step = 1
    while step < x.shape[axis]:
        start, rest = x[(*before, slice(step))], x[(*before, slice(step, None))]
        x = ops.concatenate([start, ops.mul(rest, x[(*before, slice(-step))])], axis)
        step *= 2
    return x


importer("CumSum")(partial(_running, ops.cumsum, np.cumsum, 0))
importer("CumProd")(partial(_running, _products, np.cumprod, 1))
