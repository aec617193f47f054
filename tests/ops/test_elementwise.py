"""Elementwise ops: SymPy's derivatives, the conventions at kinks, extremes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy
from scipy import special
from support.compare import assert_close

import tinygrad_cnn as tg

x, a, b = sympy.symbols("x a b", real=True)
POINTS = np.array([-3.0, -1.25, -0.5, 0.25, 1.0, 2.5])
FORMULAS = {
    "neg": (-x, POINTS),
    "exp": (sympy.exp(x), POINTS),
    "log": (sympy.log(x), np.abs(POINTS)),
    "sqrt": (sympy.sqrt(x), np.abs(POINTS)),
    "abs": (sympy.Piecewise((x, x > 0), (-x, True)), POINTS),
    "relu": (sympy.Piecewise((x, x > 0), (0, True)), POINTS),
    "leaky_relu": (sympy.Piecewise((x, x > 0), (x / 100, True)), POINTS),
    "sigmoid": (1 / (1 + sympy.exp(-x)), POINTS),
    "tanh": ((sympy.exp(x) - sympy.exp(-x)) / (sympy.exp(x) + sympy.exp(-x)), POINTS),
    "softplus": (sympy.log(1 + sympy.exp(x)), POINTS),
}


def nth_gradient(y: tg.Tensor, leaf: tg.Tensor, order: int) -> tg.Tensor:
    for _ in range(order):
        (y,) = tg.grad(y.sum(), leaf, create_graph=True)
    return y


PIECEWISE_LINEAR = ["neg", "abs", "relu", "leaky_relu"]
ORDERS = [(n, order) for n in FORMULAS for order in range(2 if n in PIECEWISE_LINEAR else 4)]


@pytest.mark.parametrize(("name", "order"), ORDERS)
def test_derivatives_are_those_of_the_formula(name: str, order: int) -> None:
    formula, points = FORMULAS[name]
    leaf = tg.Tensor(points, requires_grad=True)
    value = nth_gradient(tg.OPS[name](leaf), leaf, order)
    derivative = sympy.diff(formula, x, order)
    expected = [float(derivative.subs(x, sympy.Rational(point)).evalf(30)) for point in points]
    assert_close(value.numpy(), np.array(expected), name, 1e-12)


@pytest.mark.parametrize(
    ("name", "formula"),
    [("add", a + b), ("sub", a - b), ("mul", a * b), ("div", a / b), ("pow", a**b)],
)
def test_derivatives_of_two_arguments_are_those_of_the_formula(name: str, formula: Any) -> None:
    points = [(0.25, -1.5), (2.0, 3.0), (1.5, 0.5), (3.0, -2.0), (0.75, 0.0), (1.0, 1.0)]
    points = [p for p in points if name != "div" or p[1]]
    left, right = (tg.Tensor([p[i] for p in points], True, "f8") for i in range(2))
    y = tg.OPS[name](left, right)
    firsts = tg.grad(y.sum(), [left, right], create_graph=True)
    rational = [{a: sympy.Rational(p), b: sympy.Rational(q)} for p, q in points]
    for first, s in zip(firsts, (a, b), strict=True):
        derivative = sympy.diff(formula, s)
        expected = [float(derivative.subs(at).evalf(30)) for at in rational]
        assert_close(first.numpy(), np.array(expected), f"∂{name}/∂{s}", 1e-13)
        seconds = (
            tg.grad(first.sum(), [left, right])
            if first.requires_grad
            else np.zeros((2, len(points)))
        )
        for second, t in zip(seconds, (a, b), strict=True):
            derivative = sympy.diff(formula, s, t)
            expected = [float(derivative.subs(at).evalf(30)) for at in rational]
            assert_close(second, np.array(expected), f"∂²{name}/∂{s}∂{t}", 1e-13)


# --- the conventions -----------------------------------------------------------------------------


def slope_at(f: Any, at: float) -> float:
    leaf = tg.Tensor(at, requires_grad=True, dtype="f8")
    return float(tg.grad(f(leaf), leaf)[0])


def test_relu_has_slope_1_at_0() -> None:
    assert slope_at(tg.relu, 0.0) == 1
    assert slope_at(tg.relu, -0.0) == 1
    assert slope_at(tg.relu, np.nextafter(0, -1)) == 0


def test_leaky_relu_has_slope_1_at_0() -> None:
    assert slope_at(tg.leaky_relu, 0.0) == 1
    assert slope_at(lambda x: tg.leaky_relu(x, 0.25), np.nextafter(0, -1)) == 0.25


def test_abs_has_slope_0_at_0() -> None:
    assert slope_at(tg.abs, 0.0) == 0
    assert slope_at(abs, -2.0) == -1


def test_clip_has_slope_1_on_the_closed_interval_and_0_outside() -> None:
    leaf = tg.Tensor(np.array([-1.01, -1.0, 0.0, 2.0, 2.01]), requires_grad=True)
    (gradient,) = tg.grad(tg.clip(leaf, -1.0, 2.0).sum(), leaf)
    np.testing.assert_array_equal(gradient, [0, 1, 1, 1, 0])


@pytest.mark.parametrize("op", [tg.maximum, tg.minimum])
def test_a_tie_goes_to_a(op: Any) -> None:
    left, right = tg.Tensor([2.0], requires_grad=True), tg.Tensor([2.0], requires_grad=True)
    da, db = tg.grad(op(left, right), [left, right])
    assert (da.item(), db.item()) == (1, 0)


@pytest.mark.parametrize("op", [tg.max, tg.min])
def test_the_first_of_equal_values_gets_the_gradient(op: Any) -> None:
    leaf = tg.Tensor(np.ones((2, 2, 2)), requires_grad=True)
    np.testing.assert_array_equal(tg.grad(op(leaf), leaf)[0].reshape(-1), [1, 0, 0, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(
        tg.grad(op(leaf, axis=(0, 2)).sum(), leaf)[0], [[[1, 0], [1, 0]], [[0, 0], [0, 0]]]
    )


def test_pow_has_finite_slopes_at_base_0() -> None:
    """Where the formula has 0·∞, the limit is taken, and NumPy has nothing to warn about."""
    assert slope_at(lambda x: x**0, 0.0) == 0
    assert slope_at(lambda x: x**1, 0.0) == 1
    assert slope_at(lambda x: x**2, 0.0) == 0
    assert slope_at(lambda x: 0.0**x, 2.0) == 0


def test_where_lets_the_gradient_through_on_the_chosen_side_only() -> None:
    leaf = tg.Tensor(np.array([-4.0, 4.0]), requires_grad=True)
    y = tg.where(leaf > 0, tg.sqrt(tg.where(leaf > 0, leaf, 1.0)), 0.0)
    np.testing.assert_array_equal(tg.grad(y.sum(), leaf)[0], [0, 0.25])


# --- stability -----------------------------------------------------------------------------------

EXTREMES = [-1e4, -750.0, -100.0, -30.0, 0.0, 30.0, 100.0, 750.0, 1e4]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(
    ("op", "truth"),
    [
        (tg.sigmoid, special.expit),
        (tg.softplus, lambda x: np.logaddexp(0.0, x)),
        (tg.tanh, np.tanh),
    ],
)
def test_activations_are_right_at_extreme_values(op: Any, truth: Any, dtype: str) -> None:
    values = np.array(EXTREMES, dtype)
    leaf = tg.Tensor(values, requires_grad=True)
    y = op(leaf)
    tolerance = 1e-15 if dtype == "f8" else 1e-6
    np.testing.assert_allclose(y.numpy(), truth(values.astype("f8")), rtol=tolerance, atol=1e-38)
    (gradient,) = tg.grad(y.sum(), leaf, create_graph=True)
    assert np.isfinite(gradient.numpy()).all()
    assert np.isfinite(tg.grad(gradient.sum(), leaf)[0]).all()


def test_softplus_has_the_slope_of_its_exponential_far_left() -> None:
    np.testing.assert_allclose(slope_at(tg.softplus, -100.0), np.exp(-100.0), rtol=1e-15)
