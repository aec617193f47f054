"""Comparisons, logic and selection. A comparison has no gradient: its result is an array."""

from __future__ import annotations

from functools import partial

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.core.variable import Array
from tinygrad_cnn.onnx.importers.arithmetic import aligned
from tinygrad_cnn.onnx.importers.values import is_floating, plain, whole
from tinygrad_cnn.onnx.operator import Operator, importer

__all__: list[str] = []


def _compared(function: np.ufunc, node: Operator, a: Array, b: Array) -> Array:
    return whole(function, a, aligned(node, a, b)).astype(bool)


_COMPARISONS: dict[str, np.ufunc] = {
    "And": np.logical_and,
    "Equal": np.equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Or": np.logical_or,
    "Xor": np.logical_xor,
}
for _name, _function in _COMPARISONS.items():
    importer(_name)(partial(_compared, _function))


@importer("Not")
def _(node: Operator, x: Array) -> Array:
    return whole(np.logical_not, x)


@importer("IsNaN")
def _(node: Operator, x: Array) -> Array:
    return whole(np.isnan, x)


@importer("IsInf")
def _(node: Operator, x: Array) -> Array:
    signs = [s for s, side in ((1, "positive"), (-1, "negative")) if node.get(f"detect_{side}", 1)]
    return np.asarray(np.isin(np.sign(plain(x)), signs) & np.isinf(plain(x)))


@importer("Where")
def _(node: Operator, condition: Array, a: Array, b: Array) -> Array:
    if is_floating(a):
        return ops.where(plain(condition), a, b)
    return np.where(plain(condition), plain(a), plain(b))
