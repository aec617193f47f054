"""Constants, dtypes, and values made from shapes: ranges, windows, identity matrices."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.core.variable import Array
from tinygrad_cnn.onnx.importers.values import (
    integers,
    is_floating,
    plain,
    refused,
    whole,
)
from tinygrad_cnn.onnx.operator import Operator, importer
from tinygrad_cnn.onnx.tensors import dtype_of, type_name

__all__: list[str] = []


@importer("ConstantOfShape")
def _(node: Operator, shape: Array) -> Array:
    value = np.asarray(node.get("value", np.zeros(1, np.float32)))
    return np.full(integers(shape), value.reshape(()))


@importer("Identity")
def _(node: Operator, x: Array) -> Array:
    return x


# --- dtypes --------------------------------------------------------------------------------------


def _cast(x: Array, dtype: np.dtype[Any]) -> Array:
    if is_floating(x) and dtype.kind == "f":
        return x if x.dtype == dtype else ops.astype(x, dtype)
    values = plain(x)
    if dtype.kind == "O":
        return np.array([_text(v) for v in values.reshape(-1)], object).reshape(values.shape)
    if values.dtype.kind == "O" and dtype.kind in "iub":
        numbers = [float(v) if dtype.kind == "b" else int(v) for v in values.reshape(-1)]
        return np.array(numbers, dtype).reshape(values.shape)
    return whole(lambda values: values.astype(dtype), values)


def _text(value: Any) -> str:
    """Return a number as text, with the digits that its dtype needs."""
    if isinstance(value, str | bytes):
        return value if isinstance(value, str) else value.decode()
    if isinstance(value, np.bool_):
        return str(int(value))
    if not isinstance(value, np.floating):
        return str(value)
    if not np.isfinite(value):
        return "NaN" if np.isnan(value) else "INF" if value > 0 else "-INF"
    return np.format_float_positional(value, trim="-") if value == np.floor(value) else str(value)


@importer("Cast")
def _(node: Operator, x: Array) -> Array:
    return _cast(x, dtype_of(node.get("to"), str(node)))


@importer("CastLike")
def _(node: Operator, x: Array, like: Array) -> Array:
    if like.dtype.isbuiltin != 1:  # a dtype of another package: of 8 bits and fewer
        raise refused(node, f"the data type {like.dtype} is not supported")
    return _cast(x, like.dtype)


@importer("BitCast")
def _(node: Operator, x: Array) -> Array:
    number = node.get("to")
    dtype = dtype_of(number, str(node))
    if dtype.itemsize != x.dtype.itemsize or number in (10, 16):
        raise refused(
            node,
            f"x holds {x.dtype}, `to` is {type_name(number)}; expected a type of the same width, "
            "other than FLOAT16 and BFLOAT16",
        )
    return np.array(plain(x), order="C").view(dtype)


# --- ranges and windows --------------------------------------------------------------------------


@importer("Range")
def _(node: Operator, start: Array, limit: Array, delta: Array) -> Array:
    first, last, step = (plain(x).reshape(()) for x in (start, limit, delta))
    if not step:
        raise refused(node, "delta is 0, expected another number")
    if not is_floating(start):
        return np.arange(*(n.item() for n in (first, last, step)), dtype=first.dtype)
    count = max(int(np.ceil((last - first) / step)), 0)
    steps = np.arange(count).astype(first.dtype)
    return ops.add(ops.reshape(start, ()), ops.mul(steps, ops.reshape(delta, ())))


@importer("EyeLike")
def _(node: Operator, x: Array) -> Array:
    to = node.get("dtype")
    rows, columns = x.shape
    eye: NDArray[Any] = np.eye(rows, columns, node.get("k", 0))
    return eye.astype(x.dtype if to is None else dtype_of(to, str(node)))


def _window(node: Operator, size: Array, weights: list[float]) -> Array:
    """Return Σ wₖ·cos(2πkn / N): a window whose Fourier series has few terms."""
    dtype = dtype_of(node.get("output_datatype", 1), str(node))
    (n,) = integers(size)
    period = n if node.get("periodic", 1) else n - 1
    angle = 2 * np.pi * np.arange(n) / max(period, 1)
    terms = [weight * np.cos(k * angle) for k, weight in enumerate(weights)]
    return np.sum(terms, axis=0).astype(dtype)


for _name, _weights in (
    ("HannWindow", [0.5, -0.5]),
    ("HammingWindow", [25 / 46, -21 / 46]),
    ("BlackmanWindow", [0.42, -0.5, 0.08]),
):
    importer(_name)(partial(_window, weights=_weights))
