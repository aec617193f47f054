"""What a node takes, estimated before it is computed: small files can ask for huge arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from tinygrad_cnn.core.variable import array_of
from tinygrad_cnn.onnx.bounds import PER_ELEMENT
from tinygrad_cnn.onnx.errors import OnnxError
from tinygrad_cnn.onnx.operator import SIZES, Operator

__all__ = ["check_size", "cost", "decides"]

_FEW = 16  # values that may be a shape


def cost(node: Operator, arrays: Sequence[Any]) -> tuple[int, int, bool]:
    """Return what computing a node takes at most, before it is computed.

    Returns
    -------
    elements : int
        Of the largest array, results and temporary ones.
    work : int
        In products of two numbers.
    is_known : bool
        Whether this is an estimate of the operator, not the product of all sizes.
    """
    sizes = SIZES.get(node.op_type)
    arrays = [None if array is None else array_of(array) for array in arrays]
    if sizes is not None and sizes.elements is not None:
        with suppress(ArithmeticError, LookupError, AttributeError, TypeError, ValueError):
            found = sizes.elements(node, *arrays)
            elements, work = found if isinstance(found, tuple) else (found, 0)
            return int(elements), int(work) + PER_ELEMENT * int(elements), True
    count = 1
    for array in arrays:
        if isinstance(array, np.ndarray):
            count *= max(array.size, 1)
            if array.dtype.kind in "iu" and array.size <= _FEW:
                count *= math.prod(max(abs(n), 1) for n in array.ravel().tolist())
    for value in node.attributes.values():
        for number in value if isinstance(value, list) else [value]:
            count *= max(abs(number), 1) if isinstance(number, int) else 1
    return count, PER_ELEMENT * count, False


def check_size(node: Operator, arguments: Sequence[Any], limit: int) -> None:
    """Raise OnnxError if a node needs an array of more than `limit` elements."""
    elements, _, is_known = cost(node, arguments)
    if is_known and elements > limit:
        raise OnnxError(f"{node}: needs about {elements:,} elements, the limit is {limit:,}: see "
                        "OnnxModule.largest")  # fmt: skip


def decides(op_type: str, place: int, dtype: np.dtype[Any]) -> bool:
    """Return whether the value of an input may decide a shape, not only its own shape."""
    sizes = SIZES.get(op_type)
    if sizes is not None and sizes.sized_by is not None:
        return place in sizes.sized_by
    return dtype.kind != "f" or "::" in op_type
