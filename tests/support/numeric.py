"""Formulas evaluated on arrays, with the signs as their names say: sums, products, windows, moves.

A call of an op gives the signs what a formula leaves unsaid: over which axis Σ runs, how windows
lie. Formulas in words are a table of their own, each with the plain NumPy that the words describe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import special

from tinygrad_cnn.check.formula import SIGNS as ELEMENTWISE
from tinygrad_cnn.check.formula import Elementwise, evaluate, parse
from tinygrad_cnn.engine.convolution import reference

Array = np.ndarray[Any, Any]


class Numeric(Elementwise):
    """Reads names as arrays; `axes` are what Σ, mean, max and min run over, keeping them."""

    def __init__(self, values: Mapping[str, Any], axes: Any, windows: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.axes = axes
        self.windows = windows

    def apply(self, sign: str, *operands: Any) -> Any:
        if sign in REDUCING and len(operands) == 1:
            return REDUCING[sign](*operands, axis=self.axes, keepdims=True)
        if sign in SIGNS:
            return SIGNS[sign](*operands)
        if sign == "softmax":
            return special.softmax(*operands, axis=self.windows["axis"])
        if sign == "∗":
            x, w = operands
            return correlate(x, w, self.windows)
        if sign == "∗ᵀ":
            u, w = operands
            return correlate_back(u, w, self.windows)
        return super().apply(sign, *operands)


SIGNS: dict[str, Callable[..., Any]] = {
    **ELEMENTWISE, "matrix product": np.matmul, "transposed": lambda a: np.swapaxes(a, -1, -2),
    "repeated": lambda g: g, "σ": special.expit,
}  # fmt: skip
REDUCING: dict[str, Callable[..., Any]] = {
    "Σ": np.sum, "mean": np.mean, "max": np.max, "min": np.min,
}  # fmt: skip


def value(formula: str, values: Mapping[str, Any], axes: Any, windows: Mapping[str, Any]) -> Any:
    """Return the value of a formula in signs, its names read from `values`."""
    return evaluate(parse(formula, {"e", *values}), Numeric(values, axes, windows))


def correlate(x: Array, w: Array, windows: Mapping[str, Any]) -> Array:
    """Return x ∗ w."""
    return reference.conv2d(x, w, **options_of(windows))


def correlate_back(u: Array, w: Array, windows: Mapping[str, Any]) -> Array:
    """Return u ∗ᵀ w: what a convolution with w of images of the shape ``image`` sends back."""
    return reference.conv2d_input_gradient(u, w, windows["image"], **options_of(windows))


def over_windows(u: Array, x: Array, windows: Mapping[str, Any]) -> Array:
    """Return Σ over windows of u·x: what a convolution of x sends back to its kernels."""
    return reference.conv2d_weight_gradient(u, x, windows["kernel"], **options_of(windows))


def options_of(windows: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a convolution among those of a call."""
    return {k: windows[k] for k in ("stride", "padding", "dilation", "groups") if k in windows}


def adjoint(linear: Callable[[Array], Array], u: Array, shape: tuple[int, ...]) -> Array:
    """Return the gradient of Σ u·linear(x) with respect to x of a shape, an entry at a time."""
    gradient = np.zeros(shape)
    for at in np.ndindex(shape):
        unit = np.zeros(shape)
        unit[at] = 1.0
        gradient[at] = np.sum(u * linear(unit))
    return gradient
