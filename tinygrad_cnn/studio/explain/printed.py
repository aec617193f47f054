"""Equations in numbers that hold in the digits they are printed with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tinygrad_cnn.drawing.text import number

__all__ = ["Equation", "added", "joined"]

RESULTS = (4, 5, 3, 2, 1)
"""Significant digits of a result: others than 4 where rounding in the network shows in the fourth,
or the value lies next to where rounding changes."""

LARGEST = 9
"""Significant digits of an operand at most: so many tell any two float32 apart."""


@dataclass(frozen=True)
class Equation:
    """A value as it comes from numbers.

    Attributes
    ----------
    numbers : sequence of float
        The operands.
    write : callable
        Takes the numbers as text and returns the expression.
    compute : callable
        Takes numbers and returns the value.
    """

    numbers: Sequence[float]
    write: Callable[[Sequence[str]], str]
    compute: Callable[[Sequence[float]], float]

    def text(self, value: float) -> str:
        """Return the expression, "=" and the value: who computes what is printed gets the result.

        The operands have as many digits as that takes.

        Examples
        --------
        >>> product = Equation([2 / 3, 1.23456], " · ".join, math.prod)
        >>> product.text(2 / 3 * 1.23456)
        '0.666667 · 1.23456 = 0.823'
        """
        shown: list[str] = []
        for result in RESULTS:
            for digits in range(4, LARGEST + 1):
                shown = [number(x, digits) for x in self.numbers]
                made = self.compute([_read(text) for text in shown]) + 0.0  # no −0
                printed = number(made, result)
                if printed == number(value + 0.0, result) and _is_clear(made, printed, result):
                    return f"{self.write(shown)} = {printed}"
        made = self.compute([_read(text) for text in shown]) + 0.0  # rounding in the network shows
        return f"{self.write(shown)} = {number(made, RESULTS[0])}"

    def off(self, value: float) -> float:
        """Return how far the value is from what the numbers make, in shares of their influence.

        Small where only rounding is between the two.
        """
        made = self.compute(self.numbers)
        influence = abs(value)
        for k, x in enumerate(self.numbers):
            moved = [*self.numbers[:k], x * 1.001, *self.numbers[k + 1 :]]
            change = self.compute(moved) - made
            influence += 1000 * abs(change) if math.isfinite(change) else 0.0
        return abs(made - value) / influence if influence else abs(made - value)


def added(numbers: Sequence[float], notes: Sequence[str] = ()) -> Equation:
    """Return a sum; `notes` stand behind the last of the numbers, one for each."""
    behind = [""] * (len(numbers) - len(notes)) + [*notes]

    def write(shown: Sequence[str]) -> str:
        return joined([f"{text}{note}" for text, note in zip(shown, behind, strict=True)])

    return Equation(numbers, write, math.fsum)


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
    """Return whether a result lies clear of where rounding changes, whichever way ties go."""
    if made == 0.0:
        return True
    unit = 10.0 ** (math.floor(math.log10(abs(made))) + 1 - digits)
    return abs(made - _read(printed)) < 0.499 * unit
