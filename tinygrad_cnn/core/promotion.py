"""Type promotion: the dtype in which an op computes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.core.declaration import Declaration
from tinygrad_cnn.core.dtypes import float_dtype
from tinygrad_cnn.core.variable import Variable, holds_gradient
from tinygrad_cnn.support.arguments import native

_FLOAT32 = np.dtype("f4")


def is_of_one_dtype(values: list[Any]) -> bool:
    """Return whether `values` are arrays of one inexact dtype and need no conversion."""
    dtype = None
    for value in values:
        if type(value) is not np.ndarray:
            return False
        if value.dtype is not dtype:
            if dtype is not None:
                return False
            dtype = value.dtype
    return dtype is _FLOAT32 or (dtype is not None and dtype.char in "fdFD" and dtype.isnative)


def in_one_dtype(
    op: Declaration[Any], operands: list[Any], arrays: list[Any]
) -> tuple[list[Any], bool]:
    """Convert the operands of a call to arrays, of the dtype of a Tensor among them.

    `arrays` are the operands with Tensors unwrapped. An array of that dtype is not copied. The flag
    says to compute in float32 and round the result to float16.
    """
    dtype = _of_tensors(op, operands)
    beside = {a.dtype for a in arrays if isinstance(a, np.ndarray | np.generic)}
    beside = {dtype for dtype in beside if dtype.kind == "f"}
    number = beside.pop() if len(beside) == 1 else None  # the dtype of Python numbers
    converted: list[Any] = []
    for k, value in enumerate(arrays):
        if value is None and op.may_be_none(k):
            converted.append(None)
            continue
        if isinstance(value, list | tuple) and holds_gradient(value):
            raise TypeError(cut_off(op.name, op.label(k)))
        array = np.asarray(value, number if type(value) in (int, float) else None)
        if array.dtype.kind not in "fcbiu":
            held = type(value).__name__ if array.dtype == object else array.dtype
            raise TypeError(f"{op.name}: {op.label(k)} is {held}, expected numbers")
        if dtype is not None and array.dtype.kind != "c":
            array = array.astype(dtype, copy=False)
        converted.append(native(array))
    if dtype is not None and dtype != np.float16:
        return converted, False
    return _computable(op, converted)


def _of_tensors(op: Declaration[Any], operands: list[Any]) -> np.dtype[Any] | None:
    """Return the common native dtype of the floating Tensors; None without or if complex differ."""
    found = {v.dtype for v in operands if isinstance(v, Variable) and v.dtype.kind in "fc"}
    dtypes = {np.result_type(dtype) for dtype in found}  # ignores the byte order
    if len(dtypes) > 1 and all(dtype.kind == "f" for dtype in dtypes):
        named = [(op.label(k), v) for k, v in enumerate(operands) if isinstance(v, Variable)]
        came = ", ".join(f"{label} is {v.dtype}" for label, v in named)
        raise TypeError(f"{op.name}: {came}; convert one with astype()")
    return dtypes.pop() if len(dtypes) == 1 else None


def _computable(op: Declaration[Any], arrays: list[Any]) -> tuple[list[Any], bool]:
    """Return `arrays` in a dtype that is safe for this op, and whether to round to float16.

    Integers take the dtype of floating arrays in the call. Alone they take the dtype that the op
    declares, so that they do not overflow. In float16 a sum of squares overflows at 256.
    """
    dtypes = {array.dtype for array in arrays if array is not None}
    if len(dtypes) == 1 and next(iter(dtypes)).char in "fdFD":
        return arrays, False
    floating = [dtype for dtype in dtypes if dtype.kind in "fc"]
    half = False
    if floating:
        common = np.result_type(*floating)
        half = common == np.float16 and op.integers != "kept"
        target = np.dtype(np.float32) if half else common.type(0).real.dtype
    elif op.integers == "kept":
        return arrays, False
    elif op.integers == "widened":
        target = np.result_type(*dtypes, np.int64)
    else:
        target = float_dtype.get()
    arrays = [
        array if array is None or array.dtype.kind == "c" else array.astype(target, copy=False)
        for array in arrays
    ]
    return arrays, half


def rounded(y: Any) -> Any:
    """Round a floating result to float16; return others unchanged."""
    array = np.asarray(y)
    return array.astype(np.float16) if array.dtype.kind == "f" else y


def cut_off(name: str, label: str) -> str:
    """Return the message for a list of Tensors where an array is expected."""
    return (
        f"{name}: {label} is a list of Tensors that require a gradient, and an array "
        "would drop their graph; join them with stack()"
    )
