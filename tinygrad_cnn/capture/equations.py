"""`fitted_size`: the expression in the lengths of axes that has given values in all runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations, islice
from math import gcd, prod
from typing import TypeAlias

from tinygrad_cnn.capture.program import Operand, Size

__all__ = ["fitted_size"]

VaryingAxis: TypeAlias = tuple[tuple[Operand, int], tuple[int, ...]]  # with its length in each run

DIVISORS = (1, 2, 3, 4, 5, 6, 7, 8, 16, 32)
COMPARED = 64  # lengths at which two expressions that agree in all runs are compared


def fitted_size(
    inputs: Sequence[VaryingAxis],
    own: Sequence[VaryingAxis],
    every: Sequence[VaryingAxis],
    numbers: Sequence[int],
) -> Size | None:
    """Return a `Size` with these values in the runs; None without one, or if two would differ.

    A length of an input comes before all else, as it is what models crop and resize to: where the
    runs cannot tell the lengths of two values apart, it is the right one at other sizes, too.

    Parameters
    ----------
    inputs, own, every : sequence of axes
        Of the inputs, of the arguments of the call at hand, and of all values before it.
    numbers : sequence of int
        One of each run.
    """
    values = tuple(numbers)
    axes = [*inputs, *own, *every]
    for axis, lengths in axes:
        if lengths == values:
            return Size((axis,), values=values)
    for some in (own, every):
        found = next(_multiples(some, values), None)
        if found is not None:
            return found
    of_inputs = [(axis, fits) for axis in inputs if (fits := list(_rounded(axis, values)))]
    if len(of_inputs) > 1:
        return None  # lengths that do not depend on each other
    rest = ((axis, fits) for axis in [*own, *every] if (fits := list(_rounded(axis, values))))
    for (_, lengths), fits in (*of_inputs, *islice(rest, 1)):
        return fits[0] if _agree(lengths, fits) else None
    return None


def _multiples(axes: Sequence[VaryingAxis], values: tuple[int, ...]) -> Iterator[Size]:
    """Yield a constant ratio times the product of up to three lengths."""
    for count in (1, 2, 3):
        for chosen in combinations(axes, count):
            products = [prod(column) for column in zip(*(p for _, p in chosen), strict=True)]
            if 0 in products:
                continue
            pairs = list(zip(values, products, strict=True))
            n, p = pairs[0]
            if all(n * other == number * p for number, other in pairs):
                sign = -1 if n < 0 else 1
                factors = tuple(axis for axis, _ in chosen)
                yield Size(factors, Fraction(abs(n), p), values=values, multiple=sign)


def _rounded(axis: VaryingAxis, values: tuple[int, ...]) -> Iterator[Size]:
    """Yield a length divided by a number and rounded, times a number, and one added."""
    for divisor in DIVISORS:
        for shift in range(divisor):
            parts = [(n + shift) // divisor for n in axis[1]]
            for multiple in dict.fromkeys((1, -1, divisor, -divisor)):
                offset = values[0] - multiple * parts[0]
                if all(v == multiple * n + offset for v, n in zip(values, parts, strict=True)):
                    yield Size((axis[0],), Fraction(1, divisor), offset, values, multiple, shift)


def _agree(lengths: tuple[int, ...], sizes: Sequence[Size]) -> bool:
    """Return whether expressions in one length agree at others, apart like those of the runs."""
    step = gcd(*(n - lengths[0] for n in lengths))
    tried = [n for k in range(-COMPARED, COMPARED) if (n := lengths[0] + k * step) >= 0]
    return all(size.at(n) == sizes[0].at(n) for n in tried for size in sizes[1:])
