"""Elementwise ops: SymPy's derivatives, the conventions at kinks, extremes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import sympy
from scipy import special
from support.compare import assert_close

import tinygrad_cnn as tg
from tinygrad_cnn.check import check_gradients

x, a, b = sympy.symbols("x a b", real=True)
POINTS = np.array([-3.0, -1.25, -0.5, 0.25, 1.0, 2.5])
FORMULAS = {
    "neg": (-x, POINTS),
    "exp": (sympy.exp(x), POINTS),
    "expm1": (sympy.exp(x) - 1, POINTS),
    "log1p": (sympy.log(1 + x), POINTS / 4),
    "log2": (sympy.log(x, 2), np.abs(POINTS)),
    "log10": (sympy.log(x, 10), np.abs(POINTS)),
    "square": (x**2, POINTS),
    "sin": (sympy.sin(x), POINTS),
    "cos": (sympy.cos(x), POINTS),
    "tan": (sympy.tan(x), POINTS),
    "arctan": (sympy.atan(x), POINTS),
    "sinh": (sympy.sinh(x), POINTS),
    "cosh": (sympy.cosh(x), POINTS),
    "log": (sympy.log(x), np.abs(POINTS)),
    "sqrt": (sympy.sqrt(x), np.abs(POINTS)),
    "abs": (sympy.Piecewise((x, x > 0), (-x, True)), POINTS),
    "relu": (sympy.Piecewise((x, x > 0), (0, True)), POINTS),
    "leaky_relu": (sympy.Piecewise((x, x > 0), (x / 100, True)), POINTS),
    "sigmoid": (1 / (1 + sympy.exp(-x)), POINTS),
    "tanh": ((sympy.exp(x) - sympy.exp(-x)) / (sympy.exp(x) + sympy.exp(-x)), POINTS),
    "softplus": (sympy.log(1 + sympy.exp(x)), POINTS),
    "erf": (sympy.erf(x), POINTS),
    "erfc": (sympy.erfc(x), POINTS),
    "gelu": (x * (1 + sympy.erf(x / sympy.sqrt(2))) / 2, POINTS),
    "silu": (x / (1 + sympy.exp(-x)), POINTS),
    "mish": (x * sympy.tanh(sympy.log(1 + sympy.exp(x))), POINTS),
    "elu": (sympy.Piecewise((x, x > 0), (sympy.exp(x) - 1, True)), POINTS),
}


def nth_gradient(y: tg.Tensor, leaf: tg.Tensor, order: int) -> tg.Tensor:
    for _ in range(order):
        (y,) = tg.grad(y.sum(), leaf, create_graph=True)
    return y


DEGREES = {"neg": 1, "abs": 1, "relu": 1, "leaky_relu": 1, "square": 2}
ORDERS = [(n, order) for n in FORMULAS for order in range(DEGREES.get(n, 3) + 1)]


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
    [
        ("add", a + b),
        ("sub", a - b),
        ("mul", a * b),
        ("div", a / b),
        ("pow", a**b),
        ("arctan2", sympy.atan2(a, b)),
        ("hypot", sympy.sqrt(a**2 + b**2)),
    ],
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
            tg.grad(first.sum(), [left, right], retain_graph=True)
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


@pytest.mark.parametrize("at_zero", [1, 0.5, 0, 0.25])
def test_rectifiers_have_the_slope_at_0_that_is_asked_for(at_zero: float) -> None:
    x = np.array([-1.0, -0.0, 0.0, 1.0, -np.inf, np.inf])
    cases = (tg.relu, 0.0), (lambda x, at_zero: tg.leaky_relu(x, 0.25, at_zero), 0.25)
    for f, left in cases:
        slopes = np.array([left, at_zero, at_zero, 1, left, 1])
        for dtype in ("f4", "f8"):
            leaf = tg.Tensor(x.astype(dtype), requires_grad=True)
            y = f(leaf, at_zero=at_zero)
            np.testing.assert_array_equal(y.numpy(), f(leaf, at_zero=1).numpy())
            (gradient,) = tg.grad(y, leaf, gradient=np.ones(6, dtype))
            assert gradient.dtype == dtype
            np.testing.assert_array_equal(gradient, slopes)
        stepped = f(x[:4] + 1e-30j, at_zero=at_zero)
        np.testing.assert_allclose(stepped.imag, 1e-30 * slopes[:4])


def test_the_slope_at_0_is_0_if_asked_for() -> None:
    assert slope_at(lambda x: tg.relu(x, at_zero=0.0), 0.0) == 0


def test_hardtanh_has_slope_0_at_its_ends() -> None:
    assert slope_at(tg.hardtanh, 1.0) == slope_at(tg.hardtanh, -1.0) == 0


def test_a_slope_at_0_out_of_range_is_refused() -> None:
    for wrong in (-0.5, 1.5, np.nan, "0"):
        with pytest.raises(ValueError, match=r"relu: at_zero is .* expected a number from 0 to 1"):
            tg.relu(tg.Tensor([1.0]), at_zero=wrong)
        with pytest.raises(ValueError, match=r"leaky_relu: at_zero is .* from 0 to 1"):
            tg.leaky_relu(tg.Tensor([1.0]), at_zero=wrong)
    assert slope_at(lambda x: tg.leaky_relu(x, 2.0, at_zero=2.0), 0.0) == 2


# at (−3, −1, 0, 1, 3, 6): PyTorch 2.13
SLOPES: dict[str, list[float]] = {
    "hardtanh": [0, 0, 1, 0, 0, 0],
    "relu6": [0, 0, 0, 1, 1, 0],
    "hardsigmoid": [0, 1 / 6, 1 / 6, 1 / 6, 0, 0],
    "hardswish": [0, 1 / 6, 0.5, 5 / 6, 1, 1],
    "elu": [math.exp(-3), math.exp(-1), 1, 1, 1, 1],
    "celu": [math.exp(-3), math.exp(-1), 1, 1, 1, 1],
    "selu": [0.08753061208026487, 0.646768603034814, 1.7580993408473766, *[1.0507009873554805] * 3],
    "softsign": [1 / 16, 1 / 4, 1, 1 / 4, 1 / 16, 1 / 49],
    "prelu": [0.25, 0.25, 0.25, 1, 1, 1],
}


@pytest.mark.parametrize("name", SLOPES)
def test_activations_have_pytorchs_slopes_at_kinks(name: str) -> None:
    leaf = tg.Tensor(np.array([-3.0, -1, 0, 1, 3, 6]), requires_grad=True)
    more = [np.array([0.25])] if name == "prelu" else []
    (gradient,) = tg.grad(getattr(tg, name)(leaf, *more).sum(), leaf)
    np.testing.assert_allclose(gradient, SLOPES[name], rtol=1e-14)


def test_prelu_has_a_weight_for_each_channel_and_refuses_others() -> None:
    x = -np.ones((2, 3, 2, 2))
    y = tg.prelu(x, np.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(y, -np.ones((2, 3, 2, 2)) * [[[1.0]], [[2.0]], [[3.0]]])
    assert tg.prelu(-np.ones(()), np.array([0.5])) == -0.5
    for shape, weight in (((2, 3), 2), ((3,), 3)):
        with pytest.raises(
            ValueError, match=r"prelu: weight has shape .* for each entry of axis 1"
        ):
            tg.prelu(np.ones(shape), np.ones(weight))
    with pytest.raises(
        ValueError, match=r"hardtanh: min_val is 1\.0 and max_val is 1\.0, expected"
    ):
        tg.hardtanh(x, 1.0, 1.0)
    with pytest.raises(ValueError, match="celu: alpha is 0, expected a finite number > 0"):
        tg.celu(x, 0)


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


@pytest.mark.parametrize("name", ["sign", "floor", "ceil", "round"])
def test_steps_are_numpys_at_ties_and_extremes_and_have_slope_0(name: str) -> None:
    for dtype in ("f4", "f8"):
        x = np.array([-2.5, -1, -0.5, -0.0, 0, 0.5, 1, 1.5, 1e30, -np.inf, np.inf, np.nan], dtype)
        leaf = tg.Tensor(x, requires_grad=True)
        y = tg.OPS[name](leaf)
        np.testing.assert_array_equal(y.numpy(), getattr(np, name)(x))
        np.testing.assert_array_equal(np.signbit(y.numpy()), np.signbit(getattr(np, name)(x)))
        (gradient,) = tg.grad(y, leaf, gradient=np.full(12, np.inf, dtype))
        np.testing.assert_array_equal(gradient, np.zeros(12))
    assert tg.OPS[name](np.array([-3, 0, 7])).tolist() == getattr(np, name)([-3, 0, 7]).tolist()


def test_round_keeps_numbers_that_have_no_such_decimals() -> None:
    x = np.array([0.0, -3e30, 3e38, np.inf], "f4")
    np.testing.assert_array_equal(tg.round(x, 30), x)
    np.testing.assert_array_equal(tg.round(np.array([127, -15]), -1), [130, -20])


def test_angle_and_distance_have_slope_0_at_the_origin() -> None:
    for op in (tg.arctan2, tg.hypot):
        a, b = tg.Tensor([0.0, 3.0], True, "f8"), tg.Tensor([0.0, 4.0], True, "f8")
        firsts = tg.grad(op(a, b).sum(), [a, b], create_graph=True)
        assert [first.numpy()[0] for first in firsts] == [0, 0]
        seconds = tg.grad(firsts[0].sum() + firsts[1].sum(), [a, b])
        assert [second[0] for second in seconds] == [0, 0]
    quadrants = np.array([[0.0, 0.0], [-0.0, -1.0], [0.0, -1.0], [1.0, -1.0], [-1.0, 0.0]]).T
    np.testing.assert_array_equal(tg.arctan2(*quadrants), np.arctan2(*quadrants))


# --- stability -----------------------------------------------------------------------------------


def tanh_logit(x: Any) -> Any:
    """Return z of gelu's approximation x·σ(z)."""
    return np.sqrt(8 / np.pi) * (x + 0.044715 * x**3)


EXTREMES = [-1e4, -750.0, -100.0, -30.0, 0.0, 30.0, 100.0, 750.0, 1e4]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(
    ("op", "truth"),
    [
        (tg.sigmoid, special.expit),
        (tg.softplus, lambda x: np.logaddexp(0.0, x)),
        (tg.tanh, np.tanh),
        (tg.erf, special.erf),
        (tg.erfc, special.erfc),
        (tg.arctan, np.arctan),
        (tg.silu, lambda x: x * special.expit(x)),
        (tg.mish, lambda x: x * np.tanh(np.logaddexp(0.0, x))),
        (tg.elu, lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
        (tg.logsigmoid, lambda x: -np.logaddexp(0.0, -x)),
        (tg.gelu, lambda x: x * special.ndtr(x)),
        (lambda x: tg.gelu(x, "tanh"), lambda x: x * special.expit(tanh_logit(x))),
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


# --- the error function and gelu -----------------------------------------------------------------


def argument_of_erf(dtype: str) -> Any:
    """Return values in every interval of the approximation and at its borders."""
    rng = np.random.default_rng(0)
    borders = np.array([0.0, 0.46875, 4.0, 11.0, 26.0, 30.0, 1e30])
    near = np.concatenate([np.nextafter(borders, np.inf), borders, np.nextafter(borders, 0.0)])
    drawn = [
        rng.uniform(-7, 7, 40_000),
        rng.uniform(-28, 28, 4_000),
        10.0 ** rng.uniform(-30, 0, 999),
    ]
    return np.concatenate([near, -near, *drawn]).astype(dtype)


@pytest.mark.parametrize(("op", "truth"), [(tg.erf, math.erf), (tg.erfc, math.erfc)])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_erf_and_erfc_have_all_digits(op: Any, truth: Any, dtype: str) -> None:
    values = argument_of_erf(dtype)
    expected = np.array([truth(value) for value in values.tolist()])
    found = op(values)
    assert found.dtype == dtype
    unit = np.finfo(dtype).eps
    error = np.abs(found.astype("f8") - expected)
    assert error.max() < 4 * unit
    normal = np.abs(expected) > np.finfo(dtype).tiny
    assert (error[normal] / np.abs(expected[normal])).max() < 8 * unit


def test_erf_of_infinities_nan_and_any_layout() -> None:
    special_values = np.array([-np.inf, np.inf, np.nan])
    np.testing.assert_array_equal(tg.erf(special_values), [-1, 1, np.nan])
    np.testing.assert_array_equal(tg.erfc(special_values), [2, 0, np.nan])
    x = np.random.default_rng(0).normal(size=(40, 30, 50)).astype("f4")  # several blocks
    for view in (x, x.transpose(2, 0, 1), x[::-1, ::2], x[:, :, 0].T):
        np.testing.assert_array_equal(tg.erf(view), tg.erf(np.ascontiguousarray(view)))
    assert tg.erf(x[:0]).shape == (0, 30, 50)


def test_erf_of_numbers_far_from_the_real_axis_is_refused() -> None:
    message = r"erf: x has \(1\+0.5j\), expected real numbers, or imaginary parts of at most 1e-9"
    with pytest.raises(ValueError, match=message):
        tg.erf(np.array([2.0, 1 + 0.5j]))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_gelu_keeps_its_digits_far_left(dtype: str) -> None:
    """½·(1 + erf(x/√2)) has none at x = −6 in float32, and at −9 in float64."""
    x = np.linspace(-13.0, -1.0, 300).astype(dtype)
    expected = x.astype("f8") * special.ndtr(x.astype("f8"))
    np.testing.assert_allclose(tg.gelu(x), expected, rtol=400 * np.finfo(dtype).eps)


LINEAR_UNITS: dict[str, Any] = {
    "gelu": tg.gelu,
    "gelu-tanh": lambda x: tg.gelu(x, "tanh"),
    "silu": tg.silu,
    "mish": tg.mish,
    "hardswish": tg.hardswish,
}


@pytest.mark.parametrize("unit", LINEAR_UNITS.values(), ids=LINEAR_UNITS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_linear_units_and_their_derivatives_at_infinity_are_those_of_their_asymptotes(
    unit: Any, dtype: str
) -> None:
    leaf = tg.Tensor(np.array([-np.inf, -1e30, 1e30, np.inf], dtype), requires_grad=True)
    y = unit(leaf)
    np.testing.assert_array_equal(y.numpy(), [0, 0, np.array(1e30, dtype), np.inf])
    (first,) = tg.grad(y, leaf, gradient=np.ones(4, dtype), create_graph=True)
    np.testing.assert_array_equal(first.numpy(), [0, 0, 1, 1])
    np.testing.assert_array_equal(tg.grad(first.sum(), leaf)[0], [0, 0, 0, 0])


def test_gelus_approximation_is_as_close_as_it_says_and_its_third_derivative_is_right() -> None:
    x = np.linspace(-6, 6, 2001)
    apart = np.abs(tg.gelu(x, "tanh") - tg.gelu(x)).max()
    assert 1e-4 < apart < 5e-4
    check_gradients(lambda x: tg.gelu(x, "tanh"), POINTS, order=3)
    with pytest.raises(ValueError, match="gelu: approximate is 'exact', expected one of 'none'"):
        tg.gelu(x, "exact")
