"""Selection by a mask.

``np.where`` takes 15 to 30 times as long on a random mask as one pass over the values, because it
branches. Integer operations on the bits of floating values select without branches and are exact,
also for infinities and NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.engine import chunks, memory
from tinygrad_cnn.engine.arrays import Array

_BITS: dict[str, Any] = {"e": np.dtype("i2"), "f": np.dtype("i4"), "d": np.dtype("i8")}

FEW = 1 << 11  # values for which ``np.where`` is faster


def select(x: Array, mask: Array, out: Array | None = None) -> Array:
    """Return `x` where the mask holds and 0 elsewhere, even where `x` is infinite or NaN.

    A floating product with the mask would give NaN there; one of the bits with 0 or 1 is exact.
    """
    integer = _BITS.get(x.dtype.char)
    if integer is None:
        chosen = np.where(mask, x, x.dtype.type(0))
        if out is None:
            return chosen
        out[...] = chosen
        return out
    bits = x.view(integer)
    if out is None:
        if x.size <= chunks.SIZE or mask.shape != x.shape:
            return (bits * mask).view(x.dtype)  # type: ignore[no-any-return]  # an array
        out = memory.empty_like(mask, dtype=x.dtype)  # `x` may be repeated, without an order
    chunks.run(_product, out.view(integer), bits, mask, work=9)
    return out


def where(condition: Array, a: Array, b: Array) -> Array:
    """Return `a` where the condition holds and `b` elsewhere, like ``np.where``."""
    if a.dtype == b.dtype and a.dtype.char in _BITS:
        if _is_zero(b):
            return select(a, condition)
        if _is_zero(a):
            return select(b, ~condition)
        if condition.size > FEW:
            return _either(condition, a, b)
    return np.where(condition, a, b)


def fill(out: Array, mask: Array, a: float, b: float) -> None:
    """Fill `out`, float32 or float64, with a number where the mask holds and another elsewhere."""
    bits = out.view(_BITS[out.dtype.char])
    ours, theirs = np.array([a, b], out.dtype).view(bits.dtype)
    np.multiply(mask, ours ^ theirs, out=bits)
    np.bitwise_xor(bits, theirs, out=bits)


@chunks.chunked(work=24)
def _either(condition: Array, a: Array, b: Array) -> Array:
    """Return the bits of `b`, with those changed that differ from `a` where the condition holds."""
    integer = _BITS[a.dtype.char]
    ours, theirs = a.view(integer), b.view(integer)
    bits = (ours ^ theirs) * condition
    bits ^= theirs
    return np.asarray(bits).view(a.dtype)


def _product(out: Array, bits: Array, mask: Array) -> None:
    np.multiply(bits, mask, out=out)


def _is_zero(x: Array) -> bool:
    """Return whether `x` is the scalar 0.0 (not −0.0)."""
    return x.ndim == 0 and not x and not np.signbit(x)
