"""What a reader with a pocket calculator makes of an equation in numbers."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any

__all__ = ["half_unit", "read", "recomputed"]

NAMES: dict[str, Any] = {
    "e": math.exp, "sqrt": math.sqrt, "max": max, "tanh": math.tanh, "ln": math.log,
    "Φ": lambda z: math.erfc(-z / math.sqrt(2)) / 2,
    "leaky_relu": lambda z, negative_slope: z if z >= 0 else negative_slope * z,
}  # fmt: skip


def read(text: str) -> Decimal:
    """Return a printed number, such as "−1.5e−7" or "3.4·10⁻⁵"."""
    text = text.strip().translate(str.maketrans("−⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "--0123456789"))
    return Decimal(text.replace("·10", "e"))


def half_unit(text: str) -> float:
    """Return half a unit of the last digit that is printed."""
    exponent = read(text).as_tuple().exponent
    assert isinstance(exponent, int)
    return 0.5 * 10.0**exponent


def recomputed(expression: str) -> float:
    """Return the value of an expression, from the digits that are printed."""
    text = re.sub(r" \([\d,]+ more\)|, [\d,]+ smaller ones", "", expression)
    for sign, meaning in (("−", "-"), ("·", "*"), ("√", "sqrt"), ("e^", "e"), ("×", "*")):
        text = text.replace(sign, meaning)
    value = eval(text, {"__builtins__": {}}, NAMES)
    assert isinstance(value, float | int), text
    return float(value)
