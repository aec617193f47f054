"""derive: the LaTeX and Markdown that come of it can be typeset."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from support.derived import NETWORKS, graphs, network, perceptron

import tinygrad_cnn as tg
from tinygrad_cnn.derivation import Derivation, derive
from tinygrad_cnn.derivation.signs import Symbol, latex_text


def mathtext() -> Any:
    from matplotlib.mathtext import MathTextParser

    return MathTextParser("path")


def _check_latex(derivation: Derivation) -> None:
    """Check that every formula can be typeset, by a parser that knows no environments."""
    from tinygrad_cnn.derivation.typeset import formulas

    parser = mathtext()
    for left, right in formulas(derivation):
        for line in [left, *right.split(" \\\\\n&\\quad ")]:
            parser.parse(f"${line}$")
    latex = derivation.latex()
    assert latex.count("{") == latex.count("}")
    assert latex.count(r"\left") == latex.count(r"\right")
    assert "surd (" not in latex
    assert latex.startswith(r"\begin{aligned}")
    assert latex.endswith(r"\end{aligned}")
    assert latex.count("&") == latex.count("\n") - 1
    assert latex.isascii()
    page = derivation.markdown()
    assert page.count("$") % 2 == 0
    tables = [line for line in page.splitlines() if line.startswith("|")]
    assert {line.count(" | ") for line in tables} <= {2, 5}


@pytest.mark.parametrize("depth", [None, 0, 1])
@pytest.mark.parametrize("kind", NETWORKS)
def test_latex_and_markdown_are_well_formed(kind: str, depth: int | None) -> None:
    model, loss, _, _ = network(kind)
    name, _ = next(iter(model.named_parameters()))
    _check_latex(derive(loss, name, depth=depth))


@given(graphs())
def test_latex_of_any_graph_is_well_formed(drawn: tuple[tg.Tensor, tg.Tensor, int]) -> None:
    y, leaf, _ = drawn
    _check_latex(derive(y, leaf))


def test_latex_of_the_texts_network() -> None:
    model, loss = perceptron()
    derivation = derive(loss, model.fc[0].weight)
    assert derivation._repr_latex_().startswith("$$\\begin{aligned}")
    assert (
        r"\frac{\partial E}{\partial w^{1}_{jp}} &= \sum_{ik} (Y_{i} - y_{i}) \cdot "
        r"Y_{i}\,([i = k] - Y_{k}) \cdot w^{2}_{kj} \cdot \alpha^{1}_{j}\,(1 - \alpha^{1}_{j}) "
        r"\cdot x_{p}"
    ) in derivation.latex()
    assert derivation._repr_markdown_() == derivation.markdown()


@pytest.mark.parametrize("name", ["50%_#1", "größe", "a~b^c", "α_1", "x{1}$"])
def test_a_name_in_latex_has_no_sign_that_tex_reads_as_a_command(name: str) -> None:
    shown = Symbol(name, 2).latex(("i",))
    mathtext().parse(f"${shown}$")
    assert not re.search(r"(?<!\\)[%#~&$]", shown)


def test_a_power_of_ten_in_latex_is_one() -> None:
    assert latex_text("x + 1e−05") == r"x + 10^{-5}"
    assert latex_text("2.5e12·x") == r"2.5\cdot 10^{12}\,x"
