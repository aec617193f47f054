"""The functions that formulas may name: a new one is an entry here."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any, NamedTuple

import numpy as np


class FormulaFunction(NamedTuple):
    """A function of the notation.

    Attributes
    ----------
    value : callable or None
        Of arrays, elementwise; None for a function along axes.
    latex : str
        Its command; "" if LaTeX has none.
    """

    value: Callable[..., Any] | None = None
    latex: str = ""


def _density(x: Any) -> Any:
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _each(function: Callable[[float], float]) -> Callable[..., Any]:
    return np.vectorize(function, otypes=[float])


FUNCTIONS = {
    "ln": FormulaFunction(np.log, r"\ln"),
    "exp": FormulaFunction(np.exp, r"\exp"),
    "sin": FormulaFunction(np.sin, r"\sin"),
    "cos": FormulaFunction(np.cos, r"\cos"),
    "tan": FormulaFunction(np.tan, r"\tan"),
    "arctan": FormulaFunction(np.arctan, r"\arctan"),
    "arctan2": FormulaFunction(np.arctan2),
    "sinh": FormulaFunction(np.sinh, r"\sinh"),
    "cosh": FormulaFunction(np.cosh, r"\cosh"),
    "tanh": FormulaFunction(np.tanh, r"\tanh"),
    "max": FormulaFunction(lambda *values: reduce(np.maximum, values), r"\max"),
    "min": FormulaFunction(lambda *values: reduce(np.minimum, values), r"\min"),
    "sign": FormulaFunction(np.sign),
    "round": FormulaFunction(np.round),
    "√": FormulaFunction(np.sqrt),
    "erf": FormulaFunction(_each(math.erf)),
    "erfc": FormulaFunction(_each(math.erfc)),
    "σ": FormulaFunction(lambda x: 1.0 / (1.0 + np.exp(-x))),
    "Φ": FormulaFunction(_each(lambda x: math.erfc(-x / math.sqrt(2)) / 2)),
    "φ": FormulaFunction(_density),
    "log": FormulaFunction(latex=r"\log"),
    "mean": FormulaFunction(),
    "softmax": FormulaFunction(),
}
