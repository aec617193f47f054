"""Formulas as SymPy's expressions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy as sp

from tinygrad_cnn.check.formula import evaluate, parse

RELATIONS = {"=": sp.Eq, "≥": sp.Ge, "≤": sp.Le, "<": sp.Lt, ">": sp.Gt}


class Symbolic:
    """Reads names as the expressions they stand for; e is Euler's number."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = {"e": sp.E, **values}

    def number(self, text: str) -> Any:
        return sp.Rational(text)

    def name(self, name: str) -> Any:
        return self.values[name]

    def apply(self, sign: str, *operands: Any) -> Any:
        if sign in RELATIONS:
            return RELATIONS[sign](*operands)
        return getattr(self, NAMES[sign])(*operands)

    def negate(self, a: Any) -> Any:
        return -a

    def add(self, a: Any, b: Any) -> Any:
        return a + b

    def subtract(self, a: Any, b: Any) -> Any:
        return a - b

    def multiply(self, a: Any, b: Any) -> Any:
        return a * b

    def divide(self, a: Any, b: Any) -> Any:
        return a / b

    def power(self, a: Any, b: Any) -> Any:
        return a**b

    def half(self) -> Any:
        return sp.Rational(1, 2)

    def absolute(self, a: Any) -> Any:
        return sp.Abs(a)

    def both(self, *conditions: Any) -> Any:
        return sp.And(*conditions)

    def bracket(self, condition: Any) -> Any:
        return sp.Piecewise((1, condition), (0, True))

    def where(self, condition: Any, a: Any, b: Any) -> Any:
        return sp.Piecewise((a, condition), (b, True))

    def logarithm(self, a: Any) -> Any:
        return sp.log(a)

    def exponential(self, a: Any) -> Any:
        return sp.exp(a)

    def hyperbolic(self, a: Any) -> Any:
        return sp.tanh(a)

    def root(self, a: Any) -> Any:
        return sp.sqrt(a)

    def sign(self, a: Any) -> Any:
        return sp.sign(a)

    def logistic(self, a: Any) -> Any:
        return 1 / (1 + sp.exp(-a))

    def error_function(self, a: Any) -> Any:
        return sp.erf(a)

    def complementary(self, a: Any) -> Any:
        return 1 - sp.erf(a)

    def distribution(self, a: Any) -> Any:
        return (1 + sp.erf(a / sp.sqrt(2))) / 2

    def density(self, a: Any) -> Any:
        return sp.exp(-(a**2) / 2) / sp.sqrt(2 * sp.pi)

    def largest(self, *values: Any) -> Any:
        return sp.Max(*values)

    def smallest(self, *values: Any) -> Any:
        return sp.Min(*values)


NAMES = {
    "negate": "negate", "+": "add", "−": "subtract", "·": "multiply", "matrix product": "multiply",
    "/": "divide", "power": "power", "half": "half", "abs": "absolute", "and": "both",
    "bracket": "bracket", "where": "where", "ln": "logarithm", "exp": "exponential",
    "tanh": "hyperbolic", "√": "root", "sign": "sign", "σ": "logistic", "max": "largest",
    "min": "smallest", "erf": "error_function", "erfc": "complementary", "Φ": "distribution",
    "φ": "density",
}  # fmt: skip


def expression(formula: str, values: Mapping[str, Any]) -> Any:
    """Return a formula as an expression, its names replaced by `values`."""
    return evaluate(parse(formula, {"e", *values}), Symbolic(values))
