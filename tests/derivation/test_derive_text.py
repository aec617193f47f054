"""derive: the page of the text's network is the text's own derivation, completed."""

from __future__ import annotations

import re

import numpy as np
import pytest
from support.compare import assert_close
from support.derived import LABEL, X, perceptron
from support.entries import Entries

import tinygrad_cnn as tg
from tinygrad_cnn.derivation.parts import Factor


def test_the_texts_network_reads_as_eq_49_with_the_sum_it_leaves_out() -> None:
    model, loss = perceptron()
    derivation = tg.derive(loss, wrt=model.fc[0].weight)
    assert derivation.written is not None
    assert derivation.written.formula.text() == (
        "Σᵢₖ (Yᵢ − yᵢ) · Yᵢ·([i = k] − Yₖ) · w²ₖⱼ · α¹ⱼ·(1 − α¹ⱼ) · xₚ"
    )
    assert derivation.wrt.text(derivation.written.index) == "w¹ⱼₚ"
    assert [
        (str(f.top), str(f.bottom), f.equation) for f in derivation.product if isinstance(f, Factor)
    ] == [
        ("E", "Y", "23"), ("Y", "z²", "35"), ("z²", "α¹", "47"), ("α¹", "z¹", "45"),
        ("z¹", "w¹", "26"),
    ]  # fmt: skip


def test_the_texts_network_reads_as_eq_53_with_the_sum_it_leaves_out() -> None:
    model, loss = perceptron()
    derivation = tg.derive(loss, wrt=model.fc[0].bias)
    assert derivation.written is not None
    assert derivation.written.formula.text() == (
        "Σᵢₖ (Yᵢ − yᵢ) · Yᵢ·([i = k] − Yₖ) · w²ₖⱼ · α¹ⱼ·(1 − α¹ⱼ)"
    )


@pytest.mark.parametrize(("which", "wanted"), [("weight", "w¹ⱼₚ"), ("bias", "b¹ⱼₚ")])
def test_the_printed_formula_is_the_gradient_and_its_terms_k_equal_i_are_eq_49_and_53(
    which: str, wanted: str
) -> None:
    model, loss = perceptron()
    hidden, output = model.fc
    derivation = tg.derive(loss, wrt=getattr(hidden, which))
    written = derivation.written
    assert written is not None
    assert derivation.wrt.text(written.index) == wanted
    alpha = tg.sigmoid(hidden(X)).numpy()[0]
    Y = model(X).numpy()[0]
    arrays = {"Y": Y, "y": LABEL, "w²": output.weight.numpy(), "α¹": alpha, "x": X}
    free = list(written.index)
    formula = written.formula.plain()
    whole = Entries(arrays, written.lengths).value(formula, free)
    assert_close(whole, tg.grad(loss, getattr(hidden, which), retain_graph=True)[0], formula)

    by_hand = np.zeros((2, 2))  # eq 49 and 53, summed over the errors i
    for i, j, p in np.ndindex(3, 2, 2):
        path = (Y[i] - LABEL[0, i]) * Y[i] * (1 - Y[i]) * output.weight.numpy()[i, j]
        by_hand[j, p] += path * alpha[j] * (1 - alpha[j]) * (X[0, p] if which == "weight" else 1)
    at_k = formula.replace("] ", "] [i = k] · ", 1)
    assert_close(Entries(arrays, written.lengths).value(at_k, free), by_hand, at_k)


def test_names_of_results_are_taken_over() -> None:
    w1 = tg.Tensor(np.eye(2), requires_grad=True)
    z1 = (X * w1).sum(axis=1)
    alpha = tg.sigmoid(z1)
    loss = tg.squared_error(alpha, np.array([0.0, 1.0]))
    derivation = tg.derive(loss, wrt=w1, names=locals())
    assert str(derivation.wrt) == derivation.name == "w1"
    tops = [str(item.top) for item in derivation.product if isinstance(item, Factor)]
    assert tops == ["loss", "alpha", "z1", "h"]


@pytest.mark.parametrize(
    ("factor", "dtype", "shown"),
    [
        (1 / 3, "f8", "0.3333333333333333"), (1 / 3, "f4", "0.33333334"), (0.1, "f4", "0.1"),
        (123456789.0, "f8", "123456789"), (-2.0, "f4", "−2"), (1e-07, "f4", "1e−07"),
    ],
)  # fmt: skip
def test_a_constant_is_written_with_all_its_digits(factor, dtype, shown) -> None:
    """A formula says "=": so it is to hold for who computes with it."""
    x = tg.Tensor([1.0, 2.0], dtype=dtype, requires_grad=True, name="x")
    page = str(tg.derive((x * tg.Tensor(factor, dtype=dtype)).sum(), x))
    assert re.search(rf"∂\S+/∂xᵢ +=.* {re.escape(shown)}$", page, re.MULTILINE)
