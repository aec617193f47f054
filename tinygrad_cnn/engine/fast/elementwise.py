"""Kernels of elementwise functions.

Most are made from a function of single values, such as ``a + b``. Operands are broadcast: the
result is seen as rows of `length` values, `inner` rows to a block, and each operand moves by a step
of its own from block to block, from row to row and from value to value. A step of 0 repeats.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tinygrad_cnn.engine.fast import exponential
from tinygrad_cnn.engine.fast.kernel import (
    Bytes,
    Conversion,
    Kernel,
    PieceIndex,
    Reals,
    Scalar,
    Whole,
    inlined,
    kernel,
)

SATURATED = 1000.0  # beyond ±1000, the sigmoid is 0 or 1


@kernel
def relu(
    x: Reals, y: Reals, count: Whole, step: Whole, piece: PieceIndex, real: Conversion
) -> None:
    """Compute max(x, 0); NaN stays NaN."""
    zero = real(0)
    for i in range(piece * step, min(count, piece * step + step)):
        y[i] = zero if x[i] < zero else x[i]


@kernel
def limited(
    x: Reals, y: Reals, inside: Bytes, marks: Whole, low: Scalar, high: Scalar, least: Scalar,
    most: Scalar, count: Whole, step: Whole, piece: PieceIndex,
) -> None:  # fmt: skip
    """Limit x to [low, high]; if `marks`, write whether it is in [least, most]: the slope."""
    for i in range(piece * step, min(count, piece * step + step)):
        value = low if x[i] < low else x[i]
        y[i] = high if value > high else value
    if marks:
        for i in range(piece * step, min(count, piece * step + step)):
            inside[i] = least <= x[i] <= most


@kernel
def bent(
    x: Reals, y: Reals, inside: Bytes, marks: Whole, slope: Scalar, least: Scalar, count: Whole,
    step: Whole, piece: PieceIndex, real: Conversion,
) -> None:  # fmt: skip
    """Compute x, times `slope` below 0; if `marks`, write whether it is at least `least`."""
    zero = real(0)
    for i in range(piece * step, min(count, piece * step + step)):
        y[i] = x[i] if x[i] >= zero else x[i] * slope
    if marks:
        for i in range(piece * step, min(count, piece * step + step)):
            inside[i] = x[i] >= least


@kernel
def selected(
    x: Reals, inside: Bytes, y: Reals, scale: Scalar, slope: Scalar, count: Whole, length: Whole,
    mask_row: Whole, each: Whole, piece: PieceIndex, real: Conversion,
) -> None:  # fmt: skip
    """Compute scale·x where `inside` holds and slope·x elsewhere; with a slope of 0, 0.

    `mask_row` is the step of `inside` from row to row.
    """
    zero = real(0)
    first = piece * each
    for r in range(first, min(-(-count // length), first + each)):
        start, mask = r * length, r * mask_row
        size = min(length, count - start)
        if slope == zero:
            for i in range(size):
                y[start + i] = x[start + i] * scale if inside[mask + i] else zero
        else:
            for i in range(size):
                y[start + i] = x[start + i] * (scale if inside[mask + i] else slope)


def _unary(formula: Callable[[Any], Any]) -> Kernel:
    """Return the kernel of a function of one value."""
    value = inlined(formula)

    def run(x: Reals, y: Reals, count: Whole, step: Whole, piece: PieceIndex) -> None:
        for i in range(piece * step, min(count, piece * step + step)):
            y[i] = value(x[i])

    return _named(run, formula)


def _binary(formula: Callable[[Any, Any], Any]) -> Kernel:
    """Return the kernel of a function of two values, which are broadcast."""
    value = inlined(formula)

    def run(
        a: Reals, b: Reals, y: Reals, count: Whole, inner: Whole, length: Whole, a_block: Whole,
        a_row: Whole, a_step: Whole, b_block: Whole, b_row: Whole, b_step: Whole, each: Whole,
        piece: PieceIndex,
    ) -> None:  # fmt: skip
        first = piece * each
        for r in range(first, min(-(-count // length), first + each)):
            start = r * length
            size = min(length, count - start)
            of_a = r // inner * a_block + r % inner * a_row
            of_b = r // inner * b_block + r % inner * b_row
            if a_step == 1 and b_step == 1:
                for i in range(size):
                    y[start + i] = value(a[of_a + i], b[of_b + i])
            elif a_step == 1 and b_step == 0:
                single = b[of_b]
                for i in range(size):
                    y[start + i] = value(a[of_a + i], single)
            elif a_step == 0 and b_step == 1:
                single = a[of_a]
                for i in range(size):
                    y[start + i] = value(single, b[of_b + i])
            else:
                for i in range(size):
                    y[start + i] = value(a[of_a + i * a_step], b[of_b + i * b_step])

    return _named(run, formula)


def _named(run: Callable[..., None], formula: Callable[..., Any]) -> Kernel:
    run.__name__ = run.__qualname__ = formula.__name__.strip("_")
    return kernel(run)


@_unary
def exp(x: Any) -> Any:
    """Compute eˣ."""
    return exponential.exp(x)


@_unary
def sqrt(x: Any) -> Any:
    """Compute √x."""
    return math.sqrt(x)


@_unary
def sigmoid(x: Any) -> Any:
    """Compute 1 / (1 + e⁻ˣ)."""
    return exponential.sigmoid(x)


@_unary
def tanh(x: Any) -> Any:
    """Compute the hyperbolic tangent."""
    return exponential.tanh(x)


@_unary
def silu(x: Any) -> Any:
    """Compute x·σ(x)."""
    return exponential.times_sigmoid(max(x, type(x)(-SATURATED)), x)  # −∞·0 would be NaN


@_binary
def add(a: Any, b: Any) -> Any:
    """Compute a + b."""
    return a + b


@_binary
def sub(a: Any, b: Any) -> Any:
    """Compute a − b."""
    return a - b


@_binary
def mul(a: Any, b: Any) -> Any:
    """Compute a·b."""
    return a * b


@_binary
def div(a: Any, b: Any) -> Any:
    """Compute a / b."""
    return a / b


@_binary
def sigmoid_gradient(g: Any, y: Any) -> Any:
    """Compute g·y·(1 − y)."""
    return g * (y * (type(y)(1) - y))


@_binary
def tanh_gradient(g: Any, y: Any) -> Any:
    """Compute g·(1 − y²)."""
    return g * (type(y)(1) - y * y)


@_binary
def silu_gradient(g: Any, x: Any) -> Any:
    """Compute g·σ(x)·(1 + x·(1 − σ(x)))."""
    one, most = type(x)(1), type(x)(SATURATED)
    bounded = min(max(x, -most), most)
    return g * exponential.times_sigmoid(one + bounded * (one - exponential.sigmoid(x)), x)


@kernel
def multiply_add(
    a: Reals, b: Reals, c: Reals, y: Reals, count: Whole, inner: Whole, length: Whole,
    b_block: Whole, b_row: Whole, b_step: Whole, c_block: Whole, c_row: Whole, c_step: Whole,
    each: Whole, piece: PieceIndex,
) -> None:  # fmt: skip
    """Compute a·b + c, where b and c are broadcast."""
    first = piece * each
    for r in range(first, min(-(-count // length), first + each)):
        start = r * length
        size = min(length, count - start)
        of_b = r // inner * b_block + r % inner * b_row
        of_c = r // inner * c_block + r % inner * c_row
        if b_step == 0 and c_step == 0:
            factor, term = b[of_b], c[of_c]
            for i in range(start, start + size):
                y[i] = a[i] * factor + term
        elif b_step == 1 and c_step == 1:
            for i in range(size):
                y[start + i] = a[start + i] * b[of_b + i] + c[of_c + i]
        else:
            for i in range(size):
                y[start + i] = a[start + i] * b[of_b + i * b_step] + c[of_c + i * c_step]


@kernel
def added(a: Reals, b: Reals, y: Reals, count: Whole, step: Whole, piece: PieceIndex) -> None:
    """Compute a + b."""
    for i in range(piece * step, min(count, piece * step + step)):
        y[i] = a[i] + b[i]


@kernel
def accumulated(
    g: Reals, y: Reals, count: Whole, step: Whole, earlier: Scalar, piece: PieceIndex
) -> None:
    """Compute y + g, or g if `earlier` is 0: then y may be anything."""
    if earlier == 0:
        for i in range(piece * step, min(count, piece * step + step)):
            y[i] = g[i]
    else:
        for i in range(piece * step, min(count, piece * step + step)):
            y[i] += g[i]
