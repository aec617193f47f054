"""Exponential functions inside kernels, which LLVM vectorizes: exp, log, tanh and sigmoid.

A library function is called for one value at a time. These are polynomials, at most 2.5 units in
the last place from the exact value (exp and log: 1), and right for NaN, infinities, overflow and
denormal results:

    exp x     = 2ⁿ·(1 + r + r²/2 + …),  n = round(x / ln 2),  r = x − n·ln 2
    log x     = n·ln 2 + 2·artanh s,    x = 2ⁿ·(1 + f),       s = f / (2 + f)
    tanh x    = d / (d + 2),            d = e²ˣ − 1
    sigmoid x = 1 / (1 + e⁻ˣ)

eˣ is a product of two factors. A number times a sigmoid is multiplied by one after the other, so
that it is exact where the sigmoid alone is denormal.

Sums are not reordered here, whatever the kernel allows: ln 2 is subtracted in two parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic, overload

from tinygrad_cnn.engine.fast.numba_private import WITHIN

__all__ = ["exp", "log", "log1p", "sigmoid", "tanh", "times_sigmoid"]

_FLAGS: dict[str, Any] = {"fastmath": {"contract"}, "error_model": "numpy", **WITHIN}
_inlined: Callable[[Any], Any] = numba.njit(inline="always", **_FLAGS)
_WHOLES = {types.float32: types.int32, types.float64: types.int64}


@intrinsic  # type: ignore[untyped-decorator]
def _bits(_context: Any, x: Any) -> Any:
    """Return the bits of a real as a whole number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return _WHOLES[x](x), generate


@intrinsic  # type: ignore[untyped-decorator]
def _of_bits(_context: Any, _n: Any, like: Any) -> Any:
    """Return the real of the type of `like` that has these bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return like(_WHOLES[like], like), generate


def _functions(real: Any, whole: Any) -> dict[str, Any]:
    """Return the functions of one dtype."""
    info, is_single = np.finfo(real), real is np.float32
    digits, bias = whole(info.nmant), whole(info.maxexp - 1)
    zero, one, two, half, ln2 = real(0), real(1), real(2), real(0.5), math.log(2)
    per_ln2 = real(1 / ln2)
    high = real(355 / 512) if is_single else real(round(ln2 * 2**32) / 2**32)  # few digits, so
    low = real(ln2 - float(high)) if is_single else real(-4.2009150726810846e-11)
    magic = real(1.5 * 2**info.nmant)  # added to a number, it leaves its whole part in the bits
    magic_bits = whole(magic.view(whole))
    lowest, highest = real(-104 if is_single else -746), real(89 if is_single else 710)
    deepest = real(120 if is_single else 760)  # e to its minus, times 1000, is 0
    largest = real(10 if is_single else 20)  # from here on, tanh is 1
    powers = tuple([real(1 / math.factorial(k)) for k in range(8 if is_single else 14, 1, -1)])
    odd = tuple([real(2 / k) for k in range(11 if is_single else 25, 2, -2)])
    tiny, scale = real(info.tiny), real(2.0**info.nmant)
    mantissa = whole((1 << info.nmant) - 1)
    root_bits = whole(real(math.sqrt(0.5)).view(whole))
    infinity, nan = real(np.inf), real(np.nan)

    @_inlined
    def power_of_two(n: Any) -> Any:
        return _of_bits((n + bias) << digits, one)

    @_inlined
    def parts(x: Any) -> Any:
        """Return n, and e^r − 1."""
        shifted = x * per_ln2 + magic
        n = shifted - magic
        r = (x - n * high) - n * low
        p = zero
        for factor in powers:
            p = p * r + factor
        return _bits(shifted) - magic_bits, r + r * r * p

    @_inlined
    def factors(x: Any) -> Any:
        """Return two factors of eˣ, which may be too large or small for a real."""
        n, p = parts(x)
        first = n >> whole(1)
        return (p + one) * power_of_two(first), power_of_two(n - first)

    @_inlined
    def exp(x: Any) -> Any:
        bounded = x if x > lowest else lowest
        first, second = factors(bounded if bounded < highest else highest)
        y = first * second
        return y if x == x else x

    @_inlined
    def tanh(x: Any) -> Any:
        size = abs(x)
        n, p = parts(two * (size if size < largest else largest))
        power = power_of_two(n)
        d = p * power + (power - one)
        y = d / (d + two)
        y = y if x >= zero else -y
        return y if size > zero else x  # −0 and NaN

    @_inlined
    def sigmoid(x: Any) -> Any:
        size = abs(x)
        first, second = factors(-(size if size < deepest else deepest))
        y = first * second
        y = (one if x >= zero else y) / (one + y)
        return y if x == x else x

    @_inlined
    def times_sigmoid(a: Any, x: Any) -> Any:
        size = abs(x)
        first, second = factors(-(size if size < deepest else deepest))
        y = a * (first if x < zero else one) / (one + first * second)
        y *= second if x < zero else one
        return y if x == x else x

    @_inlined
    def log(x: Any) -> Any:
        is_tiny = x < tiny
        bits = _bits(x * scale if is_tiny else x)
        shifted = bits - root_bits
        n = shifted >> digits
        f = _of_bits((shifted & mantissa) + root_bits, one) - one
        s = f / (two + f)
        squared = s * s
        p = zero
        for factor in odd:
            p = p * squared + factor
        times = real(n - (digits if is_tiny else whole(0)))
        square = half * f * f
        y = times * high + (f - (square - (s * (square + squared * p) + times * low)))
        y = y if x < infinity else x
        y = y if x > zero else (-infinity if x == zero else nan)
        return y if x == x else x

    @_inlined
    def log1p(x: Any) -> Any:
        shifted = x + one
        added = shifted - one  # as far as the sum has it
        y = log(shifted) * (x / (added if added != zero else one))
        y = y if added != zero else x
        return y if shifted < infinity else shifted

    return {"exp": exp, "tanh": tanh, "sigmoid": sigmoid, "log": log, "log1p": log1p,
            "times_sigmoid": times_sigmoid}  # fmt: skip


_FUNCTIONS = {
    types.float32: _functions(np.float32, np.int32),
    types.float64: _functions(np.float64, np.int64),
}


def exp(x: Any) -> Any:
    """Return eˣ inside a kernel."""
    raise RuntimeError("exp: called outside a kernel")


def log(x: Any) -> Any:
    """Return the natural logarithm inside a kernel; NaN below 0."""
    raise RuntimeError("log: called outside a kernel")


def log1p(x: Any) -> Any:
    """Return log(1 + x) inside a kernel, exact for small x as well."""
    raise RuntimeError("log1p: called outside a kernel")


def tanh(x: Any) -> Any:
    """Return the hyperbolic tangent inside a kernel."""
    raise RuntimeError("tanh: called outside a kernel")


def sigmoid(x: Any) -> Any:
    """Return 1 / (1 + e⁻ˣ) inside a kernel."""
    raise RuntimeError("sigmoid: called outside a kernel")


def times_sigmoid(a: Any, x: Any) -> Any:
    """Return a / (1 + e⁻ˣ) inside a kernel, for a not above 1000."""
    raise RuntimeError("times_sigmoid: called outside a kernel")


def _by_dtype(function: Any) -> None:
    """Let kernels call the function of the dtype of the argument."""

    def choose(x: Any) -> Any:
        return _FUNCTIONS[x][function.__name__].py_func

    overload(function, jit_options=_FLAGS)(choose)


for _function in (exp, log, log1p, tanh, sigmoid):
    _by_dtype(_function)


@overload(times_sigmoid, jit_options=_FLAGS)  # type: ignore[untyped-decorator]
def _(a: Any, x: Any) -> Any:
    return _FUNCTIONS[x]["times_sigmoid"].py_func
