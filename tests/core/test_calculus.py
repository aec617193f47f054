"""jacobian, hessian, vjp and jvp against SymPy and each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st
from support.compare import assert_close

import tinygrad_cnn as tg
from tinygrad_cnn.check.strategies import arrays

A, B, C = sympy.symbols("a b c")
AT = (0.5, -1.25, 2.0)
POINT = np.array(AT)


def f(x: tg.Tensor) -> tg.Tensor:
    a, b, c = x
    return tg.stack([a * b * c, tg.exp(a) * c**2, tg.tanh(b) + a, tg.sigmoid(a - c)])


F = sympy.Matrix([A * B * C, sympy.exp(A) * C**2, sympy.tanh(B) + A, 1 / (1 + sympy.exp(C - A))])


def evaluated(expression: Any) -> np.ndarray:
    at = {s: sympy.Rational(v) for s, v in zip((A, B, C), AT, strict=True)}
    return np.array(expression.subs(at).evalf(30).tolist(), dtype=float)


def test_jacobian_is_sympys() -> None:
    jacobian = tg.jacobian(f)(POINT)
    assert_close(jacobian, evaluated(F.jacobian([A, B, C])), "J", 1e-14)


def test_hessian_is_sympys_and_symmetric() -> None:
    hessian = tg.hessian(lambda x: (f(x) * f(x)).sum())(POINT)
    truth = sympy.hessian((F.T * F)[0], [A, B, C])
    assert_close(hessian, evaluated(truth), "H", 1e-13)
    assert_close(hessian, hessian.T, "Hᵀ", 1e-14)


@given(u=arrays((4,)), v=arrays((3,)))
def test_vjp_and_jvp_are_products_with_the_jacobian(u: np.ndarray, v: np.ndarray) -> None:
    truth = evaluated(F.jacobian([A, B, C]))
    value, pull_back = tg.vjp(f, POINT)
    assert_close(value, evaluated(F)[:, 0], "f", 1e-14)
    (product,) = pull_back(u)
    assert_close(product, u @ truth, "uᵀJ", 1e-13)
    value, product = tg.jvp(f, POINT, v)
    assert_close(value, evaluated(F)[:, 0], "f", 1e-14)
    assert_close(product, truth @ v, "Jv", 1e-13)


@given(shape=st.sampled_from([(), (2,), (2, 3)]), data=st.data())
def test_jacobian_has_the_shape_of_value_and_argument(
    shape: tuple[int, ...], data: st.DataObject
) -> None:
    x = data.draw(arrays(shape))
    jacobian = tg.jacobian(lambda x: x * x)(x)
    assert jacobian.shape == shape + shape
    assert_close(jacobian.reshape(x.size, x.size), np.diag(2 * x.reshape(-1)), "J", 1e-15)
    rows = tg.jacobian(lambda x: tg.stack([x.sum(), x.sum()]))(x)
    assert_close(rows, np.ones((2, *shape)), "J", 1e-15)


def test_jacobian_of_a_matrix_product_by_either_argument() -> None:
    a, b = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)
    for argnum, expected in (
        (0, np.einsum("ik,lj->ijkl", np.eye(2), b)),
        (1, np.einsum("ik,jl->ijkl", a, np.eye(4))),
        (-1, np.einsum("ik,jl->ijkl", a, np.eye(4))),
    ):
        np.testing.assert_array_equal(tg.jacobian(tg.matmul, argnum)(a, b), expected)


def test_hessian_by_another_argument() -> None:
    hessian = tg.hessian(lambda x, w: (x * w * w).sum(), argnum=1)([2.0, 3.0], [5.0, 7.0])
    np.testing.assert_array_equal(hessian, [[4, 0], [0, 6]])


def test_functions_that_do_not_depend_on_their_argument_have_derivative_zero() -> None:
    x = np.array([1.0, 2.0])

    def constant(x: tg.Tensor) -> tg.Tensor:
        return tg.Tensor(np.array([5.0, 6.0, 7.0]))

    np.testing.assert_array_equal(tg.jacobian(constant)(x), np.zeros((3, 2)))
    np.testing.assert_array_equal(tg.hessian(lambda x: constant(x).sum())(x), np.zeros((2, 2)))
    value, pull_back = tg.vjp(constant, x)
    np.testing.assert_array_equal(value, [5, 6, 7])
    np.testing.assert_array_equal(pull_back([1, 1, 1])[0], np.zeros(2))
    value, product = tg.jvp(constant, x, np.ones(2))
    np.testing.assert_array_equal(value, [5, 6, 7])
    np.testing.assert_array_equal(product, np.zeros(3))


def test_functions_that_depend_on_another_tensor_only_have_derivative_zero() -> None:
    w = tg.Tensor(np.array([3.0, 4.0]), requires_grad=True)
    x = np.array([1.0, 2.0])
    np.testing.assert_array_equal(tg.jacobian(lambda x: w * w)(x), np.zeros((2, 2)))
    np.testing.assert_array_equal(tg.jvp(lambda x: w * w, x, x)[1], np.zeros(2))
    np.testing.assert_array_equal(tg.vjp(lambda x: w * w, x)[1]([1.0, 1.0])[0], np.zeros(2))
    np.testing.assert_array_equal(tg.hessian(lambda x: (w * w).sum())(x), np.zeros((2, 2)))


def test_linear_functions_have_hessian_zero() -> None:
    np.testing.assert_array_equal(tg.hessian(lambda x: x.sum())([1.0, 2.0]), np.zeros((2, 2)))


def test_the_identity() -> None:
    np.testing.assert_array_equal(tg.jacobian(lambda x: x)([1.0, 2.0]), np.eye(2))
    np.testing.assert_array_equal(tg.jvp(lambda x: x, [1.0, 2.0], [3.0, 4.0])[1], [3, 4])
    np.testing.assert_array_equal(tg.vjp(lambda x: x, [1.0, 2.0])[1]([3.0, 4.0]), [[3, 4]])


def test_vjp_may_pull_back_often_and_by_all_arguments() -> None:
    _, pull_back = tg.vjp(lambda a, b: a * b, [1.0, 2.0], [3.0, 4.0])
    for u in ([1.0, 0.0], [0.0, 1.0]):
        da, db = pull_back(u)
        np.testing.assert_array_equal(da, np.multiply(u, [3, 4]))
        np.testing.assert_array_equal(db, np.multiply(u, [1, 2]))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_results_have_the_dtype_of_the_argument(dtype: str) -> None:
    x = np.array([1.0, 2.0], dtype)
    assert tg.jacobian(tg.exp)(x).dtype == dtype
    assert tg.hessian(lambda x: tg.exp(x).sum())(x).dtype == dtype
    assert tg.jvp(tg.exp, x, np.ones(2))[1].dtype == dtype
    assert tg.vjp(tg.exp, x)[1](np.ones(2))[0].dtype == dtype


def test_arguments_are_left_alone() -> None:
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    tg.jacobian(lambda x: x * x)(x)
    tg.hessian(lambda x: (x * x).sum())(x)
    tg.vjp(lambda x: x * x, x)[1]([1.0, 1.0])
    value, _ = tg.jvp(lambda x: x, x, [1.0, 1.0])
    value[0] = 99
    assert x.grad is None
    np.testing.assert_array_equal(x.data, [1, 2])


def test_calculus_inside_no_grad() -> None:
    with tg.no_grad():
        np.testing.assert_array_equal(tg.jacobian(lambda x: x * x)([3.0]), [[6]])
        np.testing.assert_array_equal(tg.hessian(lambda x: (x**3).sum())([2.0]), [[12]])
        np.testing.assert_array_equal(tg.jvp(lambda x: x * x, [3.0], [1.0])[1], [6])
        np.testing.assert_array_equal(tg.vjp(lambda x: x * x, [3.0])[1]([1.0]), [[6]])
