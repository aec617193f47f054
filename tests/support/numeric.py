"""Formulas evaluated on arrays, with the signs as their names say: sums, products, windows, moves.

A call of an op gives the signs what a formula leaves unsaid: over which axis Σ runs, how windows
lie. Formulas in words are a table of their own, each with the plain NumPy that the words describe.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np
from scipy import special

from support import naive
from support.formulas import evaluate, parse

Array = np.ndarray[Any, Any]


class Numeric:
    """Reads names as arrays; `axes` are what Σ, mean, max and min run over, keeping them."""

    def __init__(self, values: Mapping[str, Any], axes: Any, windows: Mapping[str, Any]) -> None:
        self.values = {"e": math.e, **values}
        self.axes = axes
        self.windows = windows

    def number(self, text: str) -> float:
        return float(text)

    def name(self, name: str) -> Any:
        return self.values[name]

    def apply(self, sign: str, *operands: Any) -> Any:
        if sign in SIGNS:
            return SIGNS[sign](*operands)
        if sign in LARGEST and len(operands) > 1:
            return reduce(LARGEST[sign], operands)
        if sign in REDUCING:
            return REDUCING[sign](*operands, axis=self.axes, keepdims=True)
        if sign == "softmax":
            return special.softmax(*operands, axis=self.windows["axis"])
        if sign == "∗":
            x, w = operands
            return correlate(x, w, self.windows)
        if sign == "∗ᵀ":
            u, w = operands
            return correlate_back(u, w, self.windows)
        raise KeyError(sign)


SIGNS: dict[str, Callable[..., Any]] = {
    "negate": np.negative, "+": np.add, "−": np.subtract, "·": np.multiply, "/": np.divide,
    "matrix product": np.matmul, "transposed": lambda a: np.swapaxes(a, -1, -2),
    "power": np.power, "half": lambda: 0.5, "abs": np.abs, "floor": np.floor,
    "repeated": lambda g: g,
    "and": lambda *conditions: np.logical_and.reduce(np.broadcast_arrays(*conditions)),
    "bracket": lambda condition: np.where(condition, 1.0, 0.0), "where": np.where,
    "=": np.equal, "≥": np.greater_equal, "≤": np.less_equal, "<": np.less, ">": np.greater,
    "ln": np.log, "exp": np.exp, "tanh": np.tanh, "√": np.sqrt, "sign": np.sign,
    "σ": special.expit,
}  # fmt: skip
REDUCING: dict[str, Callable[..., Any]] = {
    "Σ": np.sum, "mean": np.mean, "max": np.max, "min": np.min,
}  # fmt: skip

LARGEST: dict[str, Callable[..., Any]] = {"max": np.maximum, "min": np.minimum}


def value(formula: str, values: Mapping[str, Any], axes: Any, windows: Mapping[str, Any]) -> Any:
    """Return the value of a formula in signs, its names read from `values`."""
    return evaluate(parse(formula, {"e", *values}), Numeric(values, axes, windows))


def correlate(x: Array, w: Array, windows: Mapping[str, Any]) -> Array:
    """Return x ∗ w."""
    options = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    return naive.conv2d(x, w, **{k: windows.get(k, v) for k, v in options.items()})


def correlate_back(u: Array, w: Array, windows: Mapping[str, Any]) -> Array:
    """Return u ∗ᵀ w: what a convolution with w of images of the shape ``image`` sends back."""
    return adjoint(lambda x: correlate(x, w, windows), u, windows["image"])


def over_windows(u: Array, x: Array, windows: Mapping[str, Any]) -> Array:
    """Return Σ over windows of u·x: what a convolution of x sends back to its kernels."""
    return adjoint(lambda w: correlate(x, w, windows), u, windows["kernel"])


def adjoint(linear: Callable[[Array], Array], u: Array, shape: tuple[int, ...]) -> Array:
    """Return the gradient of Σ u·linear(x) with respect to x of a shape, an entry at a time."""
    gradient = np.zeros(shape)
    for at in np.ndindex(shape):
        unit = np.zeros(shape)
        unit[at] = 1.0
        gradient[at] = np.sum(u * linear(unit))
    return gradient
