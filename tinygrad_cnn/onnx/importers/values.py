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
    "dtype_of",
    "integers",
    "is_floating",
    "plain",
    "refused",
    "whole",
]

Computation: TypeAlias = Callable[..., Any]
"""An op, or a function of NumPy."""

_DTYPES: dict[int, Any] = {
    1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64,
    8: object, 9: bool, 11: np.float64, 12: np.uint32, 13: np.uint64,
    10: np.float32, 16: np.float32,  # both kinds of float16 are computed in float32
}  # fmt: skip


def is_floating(x: Array) -> bool:
    """Return whether ops of the package compute with `x`; NumPy does with all other values."""
    return isinstance(x, Variable) or x.dtype.char in "efd"


def plain(x: Array) -> NDArray[Any]:
    """Return the array of a Tensor or array."""
    return np.asarray(array_of(x))


def integers(x: Any) -> list[int]:
    """Return the integers of an attribute or input, in a list."""
    return [int(n) for n in np.asarray(array_of(x)).reshape(-1)]


def axis_of(node: Operator, axis: int, ndim: int) -> int:
    """Return `axis` as a number from 0; refuse one outside of `ndim` axes."""
    if not -ndim <= axis < ndim:
        raise refused(node, f"axis is {axis}, but the input has {ndim} axes")
    return axis % ndim


def dtype_of(node: Operator, number: int) -> np.dtype[Any]:
    """Return the dtype of a number of the standard's data types."""
    if number not in _DTYPES:
        raise refused(
            node,
            f"data type {number}, expected floats of 16 to 64 bits, integers of 8 to 64 bits, "
            "bools or text",
        )
    dtype: np.dtype[Any] = np.dtype(_DTYPES[number])
    return dtype


def refused(node: Operator, reason: str) -> OnnxError:
    """Return the error of a node that cannot be computed."""
    return OnnxError(f"{node.op_type} {node.name!r}: {reason}")


def whole(function: Computation, *arrays: Array) -> NDArray[Any]:
    """Call a NumPy function with arrays, where integers overflow silently as in C."""
    with np.errstate(all="ignore"):
        return np.asarray(function(*map(plain, arrays)))
