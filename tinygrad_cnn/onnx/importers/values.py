"""What importers ask of values: Tensors, or arrays of numbers, bools and text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.variable import Array, Variable, array_of
from tinygrad_cnn.onnx.errors import OnnxError
from tinygrad_cnn.onnx.operator import Operator

__all__ = [
    "Computation",
    "axis_of",
    "integers",
    "is_floating",
    "plain",
    "refused",
    "whole",
]

Computation: TypeAlias = Callable[..., Any]
"""An op, or a function of NumPy."""


def is_floating(x: Array) -> bool:
    """Return whether ops of the package compute with `x`; NumPy does with all other values."""
    return isinstance(x, Variable) or x.dtype.char in "efd"


def plain(x: Array) -> NDArray[Any]:
    """Return the array of a Tensor or array."""
    return np.asarray(array_of(x))


def integers(x: Any) -> list[int]:
    """Return the integers of an attribute or input, in a list."""
    return [int(n) for n in plain(x).reshape(-1)]


def axis_of(node: Operator, axis: int, ndim: int) -> int:
    """Return `axis` as a number from 0; refuse one outside of `ndim` axes."""
    if not -ndim <= axis < ndim:
        raise refused(node, f"axis is {axis}, but the input has {ndim} axes")
    return axis % ndim


def refused(node: Operator, reason: str) -> OnnxError:
    """Return the error of a node that cannot be computed."""
    return OnnxError(f"{node}: {reason}")


def whole(function: Computation, *arrays: Array) -> NDArray[Any]:
    """Call a NumPy function with arrays, where integers overflow silently as in C."""
    with np.errstate(all="ignore"):
        return np.asarray(function(*map(plain, arrays)))
