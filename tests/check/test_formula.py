"""Formulas: their notation, the precedence of its signs, errors, and the check against an op."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from check.test_check_op_causes import square_rule, squared

import tinygrad_cnn as tg
from tinygrad_cnn.check import FormulaError, OpCheckError, check_op
from tinygrad_cnn.check.formula import Elementwise, evaluate, parse
from tinygrad_cnn.check.strategies import arrays

pytestmark = pytest.mark.usefixtures("ops_of_its_own")

AGREES = "forward and rules agree with their formulas"

X, Y = np.array([-1.5, 0.5, 2.0]), np.array([3.0, 0.25, 1.0])
VALUES: dict[str, Any] = {"x": X, "y": Y, "x̂": X + 1.0, "σ²": 4.0, "x₀": 5.0, "low": 0.0}

READ: dict[str, Any] = {
    "−x + y": -X + Y,
    "x − y − 1": X - Y - 1,
    "x·y / 2": X * Y / 2,
    "x / 2y": X / (2 * Y),
    "x / 2·y": X / 2 * Y,
    "3x²": 3 * X**2,
    "½ x": X / 2,
    "−x²": -(X**2),
    "e⁻ˣ": np.exp(-X),
    "e^(x·y)": np.exp(X * Y),
    "2^x": 2**X,
    "x⁻²": X**-2.0,
    "y^0.5": Y**0.5,
    "|x|": np.abs(X),
    "⌊x⌋": np.floor(X),
    "√y": np.sqrt(Y),
    "√(1 + x²)": np.sqrt(1 + X**2),
    "ln y + exp x": np.log(Y) + np.exp(X),
    "tanh x": np.tanh(X),
    "sin x·cosh y": np.sin(X) * np.cosh(Y),
    "sign x": np.sign(X),
    "σ(x)": 1 / (1 + np.exp(-X)),
    "Φ(x)": [0.5 * (1 + math.erf(v / math.sqrt(2))) for v in X],
    "φ(x)": np.exp(-X * X / 2) / math.sqrt(2 * math.pi),
    "max(0, x, y)": np.maximum(np.maximum(0, X), Y),
    "min(x, y)": np.minimum(X, Y),
    "y·[x ≥ 0.5]": Y * (X >= 0.5),
    "[low ≤ x < y]": (X >= 0) & (X < Y),
    "x where x ≥ 0, else 2·x": np.where(X >= 0, X, 2 * X),
    "(1 where x > y, else 0)·y": np.where(X > Y, Y, 0.0),
    "x̂ + σ² + x₀": X + 1 + 4 + 5,
    "1.5e−1·x": 0.15 * X,
    "[x < ∞]": np.ones(3),
}


@pytest.mark.parametrize("text", READ)
def test_a_formula_has_the_value_of_its_mathematics(text: str) -> None:
    value = evaluate(parse(text, {*VALUES, "e"}), Elementwise(VALUES))
    np.testing.assert_allclose(value, READ[text], rtol=1e-14)


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("x times y", 2, "'times' is none of x, x̂"),
        ("x·", 2, "got the end, expected a name, a number, a function or '('"),
        ("x·(y", 4, "got the end, expected ')'"),
        ("x·y)", 3, "got ')', expected an end or a sign"),
        ("x × y", 2, "got '×', expected an end or a sign"),
        ("x + ·y", 4, "got '·', expected a name, a number, a function or '('"),
        ("[x ≥ ", 4, "got the end"),
        ("x where x ≥ 0", 13, "got the end, expected ','"),
        ("x²⁻", 3, "got the end"),
        ("tanh", 4, "got the end"),
        ("x·(1 − z²)", 7, "'z' is none of x, x̂"),
        ("x̂·z", 3, "'z' is none of x, x̂"),
        ("", 0, "got the end"),
    ],
)
def test_an_error_points_at_the_character(text: str, place: int, message: str) -> None:
    with pytest.raises(FormulaError) as raised:
        parse(text, ["x", "y", "x̂"])
    reason, shown, caret = str(raised.value).split("\n")
    assert reason.startswith(message)
    assert raised.value.place == place
    assert shown == f"  {text}"
    column = place - text[:place].count("\N{COMBINING CIRCUMFLEX ACCENT}")
    assert caret == " " * (2 + column) + "^"


def test_a_sign_that_is_not_elementwise_has_no_elementwise_value() -> None:
    for text in ("x y", "Σ x", "x ∗ y", "xᵀ", "mean x"):
        tree = parse(text, ["x", "y"])
        if text == "mean x":
            assert tree == ("mean", ("name", "x"))
        with pytest.raises(KeyError):
            evaluate(tree, Elementwise(VALUES))


# --- the formulas of an op -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("forward", "rule", "parameter"),
    [
        ("x³", "g·2x", ""),
        ("x²", "g·x", "x"),
        ("x²", "−2·g·x", "x"),
        ("x²", "2·(g x)", "x"),
        ("x²·[x > 0]", "2·g·x", ""),
    ],
)
def test_a_formula_other_than_the_values_is_found(forward: str, rule: str, parameter: str) -> None:
    op = tg.op(formula=forward, elementwise=True)(squared)
    op.derivative("x", formula=rule)(square_rule)
    with pytest.raises(OpCheckError) as raised:
        check_op(op, examples=20)
    assert (raised.value.property, raised.value.parameter) == (AGREES, parameter)


@pytest.mark.parametrize(
    ("forward", "rule", "message"),
    [
        (
            "x² + z",
            "g·2x",
            "formula of squared cannot .*: 'z' is none of x\n  x² [+] z\n       \\^$",
        ),
        ("x²", "g·2x)", "squared for x cannot .*: got '\\)', expected .*\n  g·2x\\)\n      \\^$"),
        ("x²", "the slope", "'the' is none of g, x, y\n  the slope\n  \\^$"),
    ],
)
def test_a_formula_that_cannot_be_read_is_refused(forward: str, rule: str, message: str) -> None:
    op = tg.op(formula=forward, elementwise=True)(squared)
    op.derivative("x", formula=rule)(square_rule)
    with pytest.raises(FormulaError, match=message):
        check_op(op)


def test_formulas_in_words_or_left_out_are_not_read() -> None:
    op = tg.op(formula=tg.Prose("the square of x"), elementwise=True)(squared)
    op.derivative("x")(square_rule)
    assert op.derivatives["x"].formula == "g·∂squared/∂x"
    assert check_op(op, examples=3)
    assert tg.op()(squared).formula == "squared(x)"


def test_formulas_use_aliases_and_sum_over_broadcast_axes() -> None:
    @tg.op(formula="s·a·b", elementwise=True, aliases={"scale": "s"})
    def product(a: Any, b: Any, scale: float = 2.0) -> Any:
        return a * b * scale

    product.derivative("a", formula="g·s·b")(lambda g, *, b, scale: g * b * scale)
    product.derivative("b", formula="g·s·a")(lambda g, *, a, scale: g * a * scale)
    assert check_op(product, {"a": arrays((2, 3)), "b": arrays((3,)), "scale": 0.5}, examples=5)
