"""The formulas that ops declare say what the ops compute, forwards and backwards.

Of an elementwise op SymPy reads both formulas, and proves that one is the derivative of the other.
Every formula of every op is also evaluated on arrays, by a reader of the notation that uses NumPy
and loops, and compared with the op and with its rule. A formula that cannot be read fails.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.mathtext import MathTextParser
from support.compare import assert_close
from support.drawing import at_least
from support.evaluation import Evaluation
from support.example_calls import calls
from support.symbolic import expression

import tinygrad_cnn as tg
from tinygrad_cnn.check.call import Call

OURS = {name: op for name, op in tg.OPS.items() if op.__module__.startswith("tinygrad_cnn.ops.")}
ELEMENTWISE = [name for name, op in OURS.items() if op.elementwise]
DERIVATIVES = [(name, of) for name, op in OURS.items() for of in op.derivatives]

# --- by SymPy ------------------------------------------------------------------------------------

p, q = sp.symbols("p q", positive=True)
real = sp.symbols("a b x", real=True)
BRANCHES: dict[str, list[dict[str, Any]]] = {
    "relu": [{"x": p}, {"x": -p}],
    "leaky_relu": [{"x": p}, {"x": -p}],
    "elu": [{"x": p}, {"x": -p}],
    "hardtanh": [{"l": real[2] + p, "h": real[2] + p + q},
                 {"l": real[2] - p, "h": real[2] + q},
                 {"l": real[2] - p - q, "h": real[2] - p}],
    "abs": [{"x": p}, {"x": -p}],
    "maximum": [{"a": real[1] + p}, {"a": real[1] - p}],
    "minimum": [{"a": real[1] + p}, {"a": real[1] - p}],
    "clip": [{"low": real[2] + p, "high": real[2] + p + q},
             {"low": real[2] - p, "high": real[2] + q},
             {"low": real[2] - p - q, "high": real[2] - p}],
    "sign": [{"x": p}, {"x": -p}],
    "where": [{"c": sp.true}, {"c": sp.false}],
    "pow": [{"a": p}],
    "log": [{"x": p}],
    "log2": [{"x": p}],
    "log10": [{"x": p}],
    "sqrt": [{"x": p}],
}  # fmt: skip
"""Where an op has branches, or no value everywhere: what its arguments are on each side."""


def symbols_of(name: str) -> dict[str, Any]:
    op = OURS[name]
    letters = [*op.parameters, *op.aliases.values()]
    return {letter: sp.Symbol(letter, real=True) for letter in letters}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_sympy_proves_one_formula_the_derivative_of_the_other(name: str) -> None:
    op = OURS[name]
    names = symbols_of(name)
    g = sp.Symbol("g", real=True)
    forward = expression(op.formula, names)
    for of, derivative in op.derivatives.items():
        declared = expression(derivative.formula, {**names, "g": g, "y": forward})
        difference = g * sp.diff(forward, names[of]) - declared
        for branch in BRANCHES.get(name, [{}]):
            at = {names[letter]: value for letter, value in branch.items()}
            assert sp.simplify(difference.subs(at).doit()) == 0, (of, branch, difference)


@pytest.mark.parametrize(
    ("formula", "wrong"),
    [("tanh x", "g·(1 + y²)"), ("a / b", "g·a / b²"), ("√x", "g / 2·y"), ("ln(1 + eˣ)", "g·σ(−x)")],
)
def test_sympy_would_refute_a_wrong_formula(formula: str, wrong: str) -> None:
    names = {letter: sp.Symbol(letter, positive=True) for letter in "abx"}
    g = sp.Symbol("g", positive=True)
    forward = expression(formula, names)
    of = names["b" if "b" in formula else "x"]
    declared = expression(wrong, {**names, "g": g, "y": forward})
    assert sp.simplify(g * sp.diff(forward, of) - declared) != 0


# --- on arrays -----------------------------------------------------------------------------------


few = at_least(25)


@pytest.mark.parametrize("name", OURS)
def test_forward_formula_is_what_the_op_computes(name: str) -> None:
    @few
    @given(calls(name))
    def holds(call: Call) -> None:
        at = Evaluation(name, dict(call.arguments), 0)
        assert_close(at.y, at.fitted(at.value(at.op.formula), at.y.shape), at.op.formula)

    holds()


@pytest.mark.parametrize(("name", "of"), DERIVATIVES)
def test_formula_of_a_derivative_is_what_its_rule_computes(name: str, of: str) -> None:
    formula = OURS[name].derivatives[of].formula

    @few
    @given(calls(name, of), st.integers(0, 99))
    def holds(call: Call, seed: int) -> None:
        at = Evaluation(name, dict(call.arguments), seed)
        given = dict(at.arguments)
        if at.op.sequence:
            leaves = [tg.Tensor(part, requires_grad=True) for part in given[of]]
            given[of] = leaves
            expected = at.value(formula)
        else:
            leaves = [tg.Tensor(np.asarray(given[of], float), requires_grad=True)]
            given[of] = leaves[0]
            expected = [at.fitted(at.value(formula), leaves[0].shape)]
        found = tg.grad(at.op(**given), leaves, gradient=at.g)
        for got, wanted in zip(found, expected, strict=True):
            known = np.isfinite(wanted)
            assert_close(got[known], wanted[known], formula)

    holds()


# --- LaTeX ---------------------------------------------------------------------------------------

DECLARED = [(name, "", op.formula, op.latex) for name, op in OURS.items()] + [
    (name, of, rule.formula, rule.latex)
    for name, op in OURS.items()
    for of, rule in op.derivatives.items()
]
CALLED = [f"{name}-{of}" for name, of, *_ in DECLARED]


@pytest.mark.parametrize(("name", "of", "formula", "latex"), DECLARED, ids=CALLED)
def test_latex_can_be_typeset(name: str, of: str, formula: str, latex: str) -> None:
    assert latex
    MathTextParser("path").parse(f"${spelled_out(latex)}$")


def spelled_out(latex: str) -> str:
    """Return LaTeX without its short forms, which Matplotlib does not know."""
    braced = re.sub(r"\\t?frac(\w)(\w)", r"\\frac{\1}{\2}", latex.replace(r"\tfrac{", r"\frac{"))
    braced = braced.replace(r"\mathsf T", r"\mathsf{T}")
    braced = re.sub(r"\\(hat) (\w)", r"\\\1{\2}", braced)
    return re.sub(r"\\[lr]vert", r"\\vert", re.sub(r"\\([gl]e)\b", r"\\\1q", braced))


def from_latex(latex: str) -> str:
    """Return LaTeX in the notation of formulas; nothing is nested deeper than two braces."""
    inside = r"\{((?:[^{}]|\{[^{}]*\})*)\}"
    text = re.sub(r"\\operatorname\{(\w+)\}", r"\1", latex).replace("-", "−")
    text = re.sub(rf"\\frac{inside}{inside}", r"((\1)/(\2))", text)
    text = re.sub(rf"\\sqrt{inside}", r"√(\1)", text)
    text = re.sub(rf"\^{inside}", r"^(\1)", text)
    text = re.sub(r"\^(\w)", r"^(\1)", text)
    signs = {r"\,": "·", r"\ge": "≥", r"\le": "≤", r"\lvert": "|", r"\rvert": "|", r"\sigma": "σ"}
    signs |= {r"\lfloor": "⌊", r"\rfloor": "⌋", r"\lceil": "⌈", r"\rceil": "⌉"}
    signs |= {r"\Phi": "Φ", r"\varphi": "φ"}
    for command, sign in signs.items():
        text = text.replace(command + " ", sign).replace(command, sign)
    text = re.sub(r"(?<=[\w)]) ?\\", "·", text)  # a function behind a factor
    text = re.sub(r"(?<=[)\]]) ?(?=[\w([])", "·", text)
    text = re.sub(r"(?<=\d)(?<![a-z]\d)(?=[a-z(])", "·", text)
    return text.replace("\\", "")


ALGEBRAIC = [declared for declared in DECLARED if OURS[declared[0]].elementwise]


@pytest.mark.parametrize(
    ("name", "of", "formula", "latex"),
    ALGEBRAIC,
    ids=[f"{name}-{of}" for name, of, *_ in ALGEBRAIC],
)
def test_sympy_proves_formula_and_latex_the_same(
    name: str, of: str, formula: str, latex: str
) -> None:
    names = {**symbols_of(name), **{letter: sp.Symbol(letter, real=True) for letter in "gy"}}
    for branch in BRANCHES.get(name, [{}]):
        values = names | branch
        short = {"l": values["low"], "h": values["high"]} if name == "clip" else {}
        short |= {letter: 1 if b is sp.true else 0 for letter, b in branch.items()
                  if b in (sp.true, sp.false)}  # fmt: skip
        typeset = expression(from_latex(latex), values | short)
        difference = expression(formula, values) - typeset
        assert sp.simplify(difference) == 0, (branch, from_latex(latex))
