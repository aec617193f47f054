"""What a reader with a pocket calculator makes of an equation in numbers."""

from __future__ import annotations

import math
import re
from decimal import Decimal, localcontext
from typing import Any

__all__ = ["check_softmax", "check_sum", "half_unit", "read", "recomputed"]

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


def check_sum(shown: Any, value: float, allowed: float) -> None:
    """Check a printed sum with exact decimal arithmetic: each product, each sum, the total.

    The total is that of the printed numbers and, up to `allowed`, the value.
    """
    total = Decimal(0)
    with localcontext(prec=400):
        for term in shown.terms:
            kernel = term.kernel or [["1"] * len(row) for row in term.patch]
            flat = [
                read(x) * read(w)
                for rows in zip(term.patch, kernel, strict=True)
                for x, w in zip(*rows, strict=True)
                if x is not None
            ]
            assert abs(sum(flat) - read(term.sum)) < Decimal(repr(half_unit(term.sum)))
            total += read(term.sum)
        total += sum(read(text) for text in (shown.rest, shown.bias) if text is not None)
        assert abs(total - read(shown.total)) < Decimal(repr(half_unit(shown.total)))
    assert abs(float(read(shown.total)) - value) <= half_unit(shown.total) + allowed


def check_softmax(shown: Any, logits: list[float], temperature: float) -> None:
    """Check each power against the printed logits, and sum and shares against the powers."""
    zs, powers = [read(text) for text in shown.logits], [float(read(text)) for text in shown.powers]
    largest, heat = read(shown.largest), read(shown.temperature)
    assert (largest, heat) == (max(zs), Decimal(temperature))
    for z, text, power in zip(zs, shown.powers, powers, strict=True):
        made = math.exp(float((z - largest) / heat))
        assert abs(made - power) <= half_unit(text) * (1 + 1e-9)
    assert abs(sum(powers) - float(read(shown.total))) <= half_unit(shown.total) * (1 + 1e-9)
    exact = [math.exp((z - max(logits)) / temperature) for z in logits]
    for share, power, right in zip(shown.shares, powers, exact, strict=True):
        ratio = power / float(read(shown.total))
        if share.startswith(">"):
            assert ratio > 0.9995
        else:
            written = float(share.removesuffix(" %"))
            assert abs(100 * ratio - written) <= 0.05 + 1e-9
            assert abs(100 * right / sum(exact) - written) <= 0.05 + 1e-9


def recomputed(expression: str) -> float:
    """Return the value of an expression, from the digits that are printed."""
    text = re.sub(r" \([\d,]+ more\)|, [\d,]+ smaller ones", "", expression)
    for sign, meaning in (("−", "-"), ("·", "*"), ("√", "sqrt"), ("e^", "e"), ("×", "*")):
        text = text.replace(sign, meaning)
    value = eval(text, {"__builtins__": {}}, NAMES)
    assert isinstance(value, float | int), text
    return float(value)
