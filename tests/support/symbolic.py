"""Formulas as SymPy's expressions."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import sympy as sp

from tinygrad_cnn.check.formula import evaluate, parse


def steps(name: str) -> Any:
    """Return a function that is constant between its steps."""
    return type(name, (sp.Function,), {"fdiff": lambda self, argindex=1: sp.Integer(0)})


SIGNS: dict[str, Callable[..., Any]] = {
    "negate": operator.neg, "+": operator.add, "−": operator.sub, "·": operator.mul,
    "matrix product": operator.mul, "/": operator.truediv, "power": operator.pow,
    "half": lambda: sp.Rational(1, 2), "abs": sp.Abs, "and": sp.And,
    "bracket": lambda condition: sp.Piecewise((1, condition), (0, True)),
    "where": lambda condition, a, b: sp.Piecewise((a, condition), (b, True)),
    "=": sp.Eq, "≥": sp.Ge, "≤": sp.Le, "<": sp.Lt, ">": sp.Gt,
    "ln": sp.log, "exp": sp.exp, "tanh": sp.tanh, "√": sp.sqrt, "sign": sp.sign,
    "sin": sp.sin, "cos": sp.cos, "tan": sp.tan, "arctan": sp.atan, "arctan2": sp.atan2,
    "sinh": sp.sinh, "cosh": sp.cosh,
    "floor": steps("floor"), "ceil": steps("ceil"), "round": steps("round"),
    "max": sp.Max, "min": sp.Min, "erf": sp.erf, "erfc": lambda a: 1 - sp.erf(a),
    "σ": lambda a: 1 / (1 + sp.exp(-a)), "Φ": lambda a: (1 + sp.erf(a / sp.sqrt(2))) / 2,
    "φ": lambda a: sp.exp(-(a**2) / 2) / sp.sqrt(2 * sp.pi),
}  # fmt: skip


class Symbolic:
    """The algebra of expressions; e is Euler's number."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = {"e": sp.E, **values}

    def number(self, text: str) -> Any:
        return sp.Rational(text)

    def name(self, name: str) -> Any:
        return self.values[name]

    def apply(self, sign: str, *operands: Any) -> Any:
        return SIGNS[sign](*operands)


def expression(formula: str, values: Mapping[str, Any]) -> Any:
    """Return a formula as an expression, its names replaced by `values`."""
    return evaluate(parse(formula, {"e", *values}), Symbolic(values))
