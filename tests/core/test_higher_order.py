"""Derivatives of derivatives, against SymPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st
from support.compare import assert_close

import tinygrad_cnn as tg
from tinygrad_cnn.check import check_gradients

x_, w_ = sympy.symbols("x w")

coefficients = st.lists(st.integers(-4, 4), min_size=1, max_size=6)


@given(coefficients=coefficients, at=st.integers(-8, 8))
def test_all_derivatives_of_a_polynomial(coefficients: list[int], at: int) -> None:
    x = tg.Tensor(at / 4, requires_grad=True, dtype="f8")
    y = x * 0.0
    for c in coefficients:  # Horner
        y = y * x + c
    truth = sympy.Poly(coefficients, x_)
    for _ in range(len(coefficients) + 1):
        assert y.item() == float(truth.eval(sympy.Rational(at, 4)))
        truth = truth.diff()
        (y,) = tg.grad(y, x, create_graph=True)


FUNCTIONS: dict[str, tuple[Any, Any]] = {
    "product": (lambda x, w: x**3 * w**2 - x * w, x_**3 * w_**2 - x_ * w_),
    "sigmoid": (lambda x, w: tg.sigmoid(x * w), 1 / (1 + sympy.exp(-x_ * w_))),
    "tanh": (lambda x, w: tg.tanh(w * x) * x, sympy.tanh(w_ * x_) * x_),
    "quotient": (lambda x, w: tg.log(1 + x * x) / w, sympy.log(1 + x_**2) / w_),
    "power": (lambda x, w: x**w, x_**w_),
    "root": (lambda x, w: tg.sqrt(tg.exp(x) + w), sympy.sqrt(sympy.exp(x_) + w_)),
    "softplus": (lambda x, w: tg.softplus(x) * w, sympy.log(1 + sympy.exp(x_)) * w_),
    "softmax": (
        lambda x, w: tg.softmax(tg.stack([x, w]))[0],
        sympy.exp(x_) / (sympy.exp(x_) + sympy.exp(w_)),
    ),
    "logsumexp": (
        lambda x, w: tg.logsumexp(tg.stack([x, w, x * w])),
        sympy.log(sympy.exp(x_) + sympy.exp(w_) + sympy.exp(x_ * w_)),
    ),
    "cross_entropy": (
        lambda x, w: tg.cross_entropy(tg.stack([x, w]), 1),
        sympy.log(sympy.exp(x_) + sympy.exp(w_)) - w_,
    ),
    "matmul": (
        lambda x, w: tg.stack([x, w]) @ (tg.stack([x, w]) * tg.stack([w, x])),
        x_**2 * w_ + w_**2 * x_,
    ),
}


@pytest.mark.parametrize("order", ["x", "xx", "xw", "wx", "ww", "xxx", "xwx", "wxw", "xxww"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_mixed_derivatives_of_any_order(name: str, order: str) -> None:
    f, formula = FUNCTIONS[name]
    x, w = (tg.Tensor(v, requires_grad=True, dtype="f8") for v in (0.75, 1.25))
    leaves = {"x": x, "w": w}
    y = f(x, w)
    truth = formula
    for letter in order:
        truth = sympy.diff(truth, {"x": x_, "w": w_}[letter])
        if y.requires_grad:
            (y,) = tg.grad(y, leaves[letter], create_graph=True)
        else:  # constant by now
            y = tg.Tensor(0.0)
    at = {x_: sympy.Rational(3, 4), w_: sympy.Rational(5, 4)}
    assert_close(y.item(), float(truth.subs(at).evalf(30)), f"∂{order} {name}", 1e-12)


def test_the_order_of_differentiation_does_not_matter() -> None:
    x, w = (tg.Tensor([0.5, 1.5], requires_grad=True, dtype="f8") for _ in range(2))
    y = (tg.tanh(x * w) * tg.exp(x)).sum()
    dx, dw = tg.grad(y, [x, w], create_graph=True)
    np.testing.assert_allclose(
        tg.grad(dx.sum(), w, retain_graph=True)[0], tg.grad(dw.sum(), x)[0], rtol=1e-14
    )


def test_backward_through_a_gradient_penalty_adds_to_grad() -> None:
    x = tg.Tensor(2.0, requires_grad=True, dtype="f8")
    y = x**3
    (slope,) = tg.grad(y, x, create_graph=True)
    (y + slope * slope).backward()  # d/dx (x³ + 9x⁴) = 3x² + 36x³
    assert x.grad == 3 * 4 + 36 * 8


def test_second_derivatives_flow_through_a_whole_network() -> None:
    rng = np.random.default_rng(0)

    def loss(w: Any, bias: Any, v: Any, x: Any) -> Any:
        h = tg.conv2d(x, w, bias, padding=1)
        h = tg.softplus(tg.avgpool(h, 2))
        h = tg.matmul(tg.reshape(h, (2, -1)), v)
        return tg.cross_entropy(h, np.array([0, 2]))

    shapes = [(2, 1, 3, 3), (2,), (8, 3), (2, 1, 4, 4)]
    xs = [rng.standard_normal(shape) for shape in shapes]
    check_gradients(loss, *xs, order=2)


def test_a_gradient_of_a_linear_function_needs_no_gradient() -> None:
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    (gradient,) = tg.grad((3 * x).sum(), x, create_graph=True)
    assert isinstance(gradient, tg.Tensor)
    assert not gradient.requires_grad
