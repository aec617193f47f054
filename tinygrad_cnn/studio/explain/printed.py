"""Equations with numbers, rounded so that they hold exactly as printed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tinygrad_cnn.support.text import number

__all__ = ["PrintedEquation", "added", "joined"]

RESULTS = (4, 5, 3, 2, 1)
"""Significant digits of a result. Fewer or more than 4 are used where the network's rounding shows
in the fourth digit, or the value is next to a rounding boundary."""

LARGEST = 9
"""Maximum significant digits of an operand: enough to distinguish any two float32 numbers."""


@dataclass(frozen=True)
class PrintedEquation:
    """A value and the numbers that it is computed from.

    Attributes
    ----------
    numbers : sequence of float
        The operands.
    write : callable
        Formats the numbers, given as text, into the expression.
    compute : callable
        Computes the value from the numbers.
    """

    numbers: Sequence[float]
    write: Callable[[Sequence[str]], str]
    compute: Callable[[Sequence[float]], float]

    def text(self, value: float, most: int = LARGEST) -> str:
        """Return the expression, "=" and the value; the printed expression evaluates to it.

        The operands have as many digits as this requires, and at most `most`.

        Examples
        --------
        >>> product = PrintedEquation([2 / 3, 1.23456], " · ".join, math.prod)
        >>> product.text(2 / 3 * 1.23456)
        '0.666667 · 1.23456 = 0.823'
        """
        shown: list[str] = []
        for result in RESULTS:
            for digits in range(4, most + 1):
                shown = [number(x, digits) for x in self.numbers]
                made = self.compute([_read(text) for text in shown]) + 0.0  # no −0
                printed = number(made, result)
                if printed == number(value + 0.0, result) and _is_clear(made, printed, result):
                    return f"{self.write(shown)} = {printed}"
        made = self.compute([_read(text) for text in shown]) + 0.0  # the network's rounding shows
        return f"{self.write(shown)} = {number(made, RESULTS[0])}"

    def off(self, value: float) -> float:
        """Return how far off the value is, relative to the numbers' influence.

        It is small if they differ only by rounding.
        """
        made = self.compute(self.numbers)
        influence = abs(value)
        for k, x in enumerate(self.numbers):
            moved = [*self.numbers[:k], x * 1.001, *self.numbers[k + 1 :]]
            change = self.compute(moved) - made
            influence += 1000 * abs(change) if math.isfinite(change) else 0.0
        return abs(made - value) / influence if influence else abs(made - value)


def added(numbers: Sequence[float], notes: Sequence[str] = ()) -> PrintedEquation:
    """Return a sum; `notes` follow the last of the numbers, one each."""
    behind = [""] * (len(numbers) - len(notes)) + [*notes]

    def write(shown: Sequence[str]) -> str:
        return joined([f"{text}{note}" for text, note in zip(shown, behind, strict=True)])

    return PrintedEquation(numbers, write, math.fsum)


def joined(numbers: Sequence[str]) -> str:
    """Return a sum of numbers as text.

    Examples
    --------
    >>> joined(["1.5", "−2", "3"])
    '1.5 − 2 + 3'
    """
    return " + ".join(numbers).replace("+ −", "− ")


def _read(text: str) -> float:
    return float(text.replace("−", "-"))


def _is_clear(made: float, printed: str, digits: int) -> bool:
    """Return whether a result is clear of a rounding boundary, however ties are rounded."""
    if made == 0.0:
        return True
    unit = 10.0 ** (math.floor(math.log10(abs(made))) + 1 - digits)
    return abs(made - _read(printed)) < 0.499 * unit
