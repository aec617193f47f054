"""Elementwise functions of large arrays: multithreaded, with results from the buffer pool."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.engine import threads
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.buffer_pool import LARGE, empty_like

PIECE = 1 << 23  # bytes, read and written, of one piece
FRESH = 1 << 20  # bytes; for smaller results fresh memory is as fast

_BITS: dict[str, Any] = {"e": np.dtype("i2"), "f": np.dtype("i4"), "d": np.dtype("i8")}


def relu(x: Array) -> Array:
    """Return max(0, x) of a floating array."""
    if x.nbytes < LARGE or x.dtype.kind != "f":
        return np.asarray(np.maximum(x, 0))
    zero, most = x.dtype.type(0), x.dtype.type(np.inf)  # np.clip takes half the time of np.maximum
    return _mapped(lambda part, out: np.clip(part, zero, most, out=out), empty_like(x), x)


def multiply(a: Any, b: Any) -> Any:
    """Return a·b."""
    if not isinstance(a, np.ndarray) or a.nbytes < LARGE or np.shape(b) != a.shape:
        return a * b
    out = empty_like(a, dtype=np.result_type(a, b))
    return _mapped(lambda x, y, out: np.multiply(x, y, out=out), out, a, b)


def select(x: Array, mask: Array, out: Array | None = None) -> Array:
    """Return `x` where the mask holds and 0 elsewhere, even where `x` is infinite or NaN.

    A floating product with the mask would give NaN there. An integer product of the bits with 0 or
    1 is exact and as fast; ``np.where`` takes ten times as long on a random mask.
    """
    dtype = x.dtype
    integer = _BITS.get(dtype.char)
    if integer is None:
        chosen = np.where(mask, x, dtype.type(0))
        if out is None:
            return chosen
        out[...] = chosen
        return out
    bits = x.view(integer)
    if out is not None:
        np.multiply(bits, mask, out=out.view(integer))
        return out
    if x.nbytes < FRESH or mask.shape != x.shape:
        return (bits * mask).view(dtype)  # type: ignore[no-any-return]
    out = empty_like(x)
    _mapped(lambda a, b, out: np.multiply(a, b, out=out), out.view(integer), bits, mask)
    return out


def where(condition: Array, a: Array, b: Array) -> Array:
    """Return `a` where the condition holds and `b` elsewhere; fast if one of them is 0."""
    if a.dtype == b.dtype:
        if _is_zero(b):
            return select(a, condition)
        if _is_zero(a):
            return select(b, ~condition)
    return np.where(condition, a, b)


def not_negative(x: Array) -> Array:
    """Return the mask x ≥ 0."""
    if x.nbytes < LARGE or x.dtype.kind == "c":
        return np.asarray(x.real >= 0)
    zero = x.dtype.type(0)
    out = empty_like(x, dtype=np.bool_)
    return _mapped(lambda part, out: np.greater_equal(part, zero, out=out), out, x)


def _is_zero(x: Array) -> bool:
    """Return whether `x` is the scalar 0.0 (not −0.0)."""
    return x.ndim == 0 and x.dtype.char in _BITS and not x and not np.signbit(x)


def _mapped(function: Any, out: Array, *arrays: Array) -> Array:
    """Write function(*arrays) to `out`, in pieces along the slowest axis in memory."""
    moved = out.nbytes + sum(array.nbytes for array in arrays)
    pieces = moved // PIECE
    if pieces < 2:
        function(*arrays, out=out)
        return out
    axis = max(range(out.ndim), key=lambda k: (abs(out.strides[k]), out.shape[k]))
    step = -(-out.shape[axis] // pieces)

    def piece(i: int) -> None:
        part = (*(slice(None),) * axis, slice(i * step, (i + 1) * step))
        function(*[array[part] for array in arrays], out=out[part])

    threads.run(piece, -(-out.shape[axis] // step), moved)
    return out
