"""Elementary functions, elementwise: of floats by ops, of integers by NumPy in their own dtype."""

from __future__ import annotations

from functools import partial

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.core.variable import Array
from tinygrad_cnn.onnx.importers.values import Computation, is_floating, plain, whole
from tinygrad_cnn.onnx.operator import Operator, importer

__all__: list[str] = []


def _unary(of_floats: Computation, of_integers: Computation, node: Operator, x: Array) -> Array:
    return of_floats(x) if is_floating(x) else whole(of_integers, x)


_NUMBERS: dict[str, tuple[Computation, Computation]] = {
    "Abs": (ops.abs, np.abs),
    "Neg": (ops.neg, np.negative),
    "Sign": (ops.sign, np.sign),
}
for _name, (_op, _function) in _NUMBERS.items():
    importer(_name)(partial(_unary, _op, _function))

_FLOATS: dict[str, Computation] = {
    "Ceil": ops.ceil,
    "Cos": ops.cos,
    "Cosh": ops.cosh,
    "Atan": ops.arctan,
    "Erf": ops.erf,
    "Exp": ops.exp,
    "Floor": ops.floor,
    "Log": ops.log,
    "Round": ops.round,
    "Sin": ops.sin,
    "Sinh": ops.sinh,
    "Sqrt": ops.sqrt,
    "Tan": ops.tan,
}
for _name, _op in _FLOATS.items():
    importer(_name)(lambda node, x, *, of_floats=_op: of_floats(x))


@importer("Reciprocal")
def _(node: Operator, x: Array) -> Array:
    return ops.div(1.0, x)


# --- inverse functions, made of ops --------------------------------------------------------------


@importer("Asin")
def _(node: Operator, x: Array) -> Array:
    return ops.arctan2(x, ops.sqrt((1.0 - x) * (1.0 + x)))


@importer("Acos")
def _(node: Operator, x: Array) -> Array:
    return ops.arctan2(ops.sqrt((1.0 - x) * (1.0 + x)), x)


@importer("Asinh")
def _(node: Operator, x: Array) -> Array:
    below = x < 0  # x + √(x² + 1) loses its digits there
    a = ops.where(below, -x, x)
    y = ops.log1p(a + a * (a / (1.0 + ops.hypot(a, 1.0))))
    return ops.where(below, -y, y)


@importer("Acosh")
def _(node: Operator, x: Array) -> Array:
    above = x - 1.0
    return ops.log1p(above + ops.sqrt(above) * ops.sqrt(x + 1.0))


@importer("Atanh")
def _(node: Operator, x: Array) -> Array:
    return 0.5 * (ops.log1p(x) - ops.log1p(-x))


# --- determinant ---------------------------------------------------------------------------------


@importer("Det")
def _(node: Operator, x: Array) -> Array:
    """Gaussian elimination: the product of the pivots, each the largest of its column."""
    y: Array = np.ones(x.shape[:-2], x.dtype)
    while n := x.shape[-1]:
        rows = np.broadcast_to(np.arange(n), x.shape[:-1]).copy()
        pivot = np.argmax(np.abs(plain(x)[..., 0]), -1)[..., np.newaxis]
        np.put_along_axis(rows, pivot, 0, -1)
        rows[..., :1] = pivot
        x = ops.take_along_axis(x, rows[..., np.newaxis], -2)
        y = y * x[..., 0, 0] * np.where(pivot[..., 0] == 0, 1.0, -1.0).astype(x.dtype)
        singular = plain(x)[..., :1, :1] == 0  # then the column is 0
        divisor = ops.where(singular, 1.0, x[..., :1, :1])
        x = x[..., 1:, 1:] - x[..., 1:, :1] * (x[..., :1, 1:] / divisor)
    return y
