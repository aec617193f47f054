"""Functions written with plain NumPy differentiate; what has no op is refused by name."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn.check import check_gradients
from tinygrad_cnn.core.numpy_dispatch import REDUCED, UFUNCS, _functions

A = np.array([[0.5, -1.25, 2.0], [1.5, 0.25, -0.75]])
B = np.array([[1.25, 0.5, -0.5], [0.75, -2.0, 3.0]])
P = np.abs(A) + 0.5
Array = np.ndarray[Any, Any]

# Each function of NumPy that is recorded, called as in code for arrays.
CALLS: dict[Any, tuple[Callable[..., Any], tuple[Array, ...]]] = {
    np.add: (lambda a, b: np.add(a, b) + np.ones(3), (A, B)),
    np.subtract: (lambda a, b: np.float64(2) - np.subtract(a, b[0]), (A, B)),
    np.multiply: (lambda a, b: np.multiply(2, a) * b * P, (A, B)),
    np.divide: (lambda a, b: P / np.divide(a, b), (A, B)),
    np.negative: (lambda a: np.negative(a), (A,)),
    np.positive: (lambda a: np.positive(a) * a, (A,)),
    np.power: (lambda a: np.power(a, 3) + P**a, (A,)),
    np.remainder: (lambda a, b: np.mod(a, b) + a % 2, (A + 0.1, B)),
    np.floor_divide: (lambda a, b: np.floor_divide(a, b) * a + 3 // a, (A + 0.1, B)),
    np.rint: (lambda a: np.rint(a) * a, (A + 0.1,)),
    np.reciprocal: (lambda a: np.reciprocal(a), (A,)),
    np.fabs: (lambda a: np.fabs(a), (A,)),
    np.exp2: (lambda a: np.exp2(a), (A,)),
    np.around: (lambda a: np.around(a, 1) * a, (A + 0.01,)),
    np.astype: (lambda a: np.astype(a, np.float64) * a, (A,)),
    np.column_stack: (lambda a, b: np.column_stack([a[:, 0], b]), (A, B)),
    np.flipud: (lambda a: np.flipud(a), (A,)),
    np.fliplr: (lambda a: np.fliplr(a), (A,)),
    np.matrix_transpose: (lambda a: np.matrix_transpose(a), (A,)),
    np.inner: (lambda a, b: np.inner(a, b) + np.inner(a[0], B[0]), (A, B)),
    np.vdot: (lambda a, b: np.vdot(a, b), (A, B)),
    np.ptp: (lambda a: np.ptp(a, axis=1) + np.ptp(a), (A,)),
    np.diff: (lambda a: np.diff(a, n=2) * np.diff(a, axis=0)[:, :1], (A,)),
    np.hypot: (lambda a, b: np.hypot(a, b), (A, B)),
    np.arctan2: (lambda a, b: np.arctan2(a, b), (A, B)),
    np.maximum: (lambda a, b: np.maximum(a, b), (A, B)),
    np.minimum: (lambda a: np.minimum(a, 0.3), (A,)),
    np.matmul: (lambda a, b: np.matmul(a, b.T) + B @ a.T, (A, B)),
    np.sum: (lambda a: np.sum(a, axis=0), (A,)),
    np.mean: (lambda a: np.mean(a, 1, keepdims=True), (A,)),
    np.max: (lambda a: np.max(a, axis=1), (A,)),
    np.amax: (lambda a: np.amax(a, axis=0), (A,)),
    np.amin: (lambda a: np.amin(a), (A,)),
    np.min: (lambda a: np.min(a), (A,)),
    np.prod: (lambda a: np.prod(a, axis=-1), (A,)),
    np.cumsum: (lambda a: np.cumsum(a, axis=1), (A,)),
    np.var: (lambda a: np.var(a, axis=0, ddof=1), (A,)),
    np.std: (lambda a: np.std(a, axis=1), (A,)),
    np.concatenate: (lambda a, b: np.concatenate([a, b, B], axis=1), (A, B)),
    np.stack: (lambda a, b: np.stack([a, b], axis=-1), (A, B)),
    np.vstack: (lambda a, b: np.vstack([a, b[0]]), (A, B)),
    np.hstack: (lambda a, b: np.hstack([np.hstack([a, b]), np.hstack([a[:, 0], b[0]])[:2, None]]),
                (A, B)),
    np.reshape: (lambda a: np.reshape(a, (3, -1)), (A,)),
    np.transpose: (lambda a: np.transpose(a) * np.transpose(a, (1, 0)), (A,)),
    np.swapaxes: (lambda a: np.swapaxes(a, 0, 1), (A,)),
    np.moveaxis: (lambda a: np.moveaxis(a, 0, -1), (A,)),
    np.ravel: (lambda a: np.ravel(a), (A,)),
    np.squeeze: (lambda a: np.squeeze(a[:1]), (A,)),
    np.expand_dims: (lambda a: np.expand_dims(a, 1), (A,)),
    np.broadcast_to: (lambda a: np.broadcast_to(a, (2, 2, 3)), (A,)),
    np.atleast_1d: (lambda a: np.atleast_1d(a[0, 0]), (A,)),
    np.atleast_2d: (lambda a: np.atleast_2d(a[0]), (A,)),
    np.flip: (lambda a: np.flip(a, axis=1), (A,)),
    np.roll: (lambda a: np.roll(a, 1, axis=1), (A,)),
    np.tile: (lambda a: np.tile(a, (2, 1)), (A,)),
    np.repeat: (lambda a: np.repeat(a, 2, axis=0), (A,)),
    np.split: (lambda a: np.split(a, 3, axis=1)[1], (A,)),
    np.array_split: (lambda a: np.array_split(a, 2, axis=1)[0], (A,)),
    np.take: (lambda a: np.take(a, [2, 0, 2], axis=1), (A,)),
    np.take_along_axis: (lambda a: np.take_along_axis(a, np.array([[2], [0]]), 1), (A,)),
    np.diagonal: (lambda a: np.diagonal(a), (A,)),
    np.trace: (lambda a: np.trace(a), (A,)),
    np.triu: (lambda a: np.triu(a), (A,)),
    np.tril: (lambda a: np.tril(a, k=-1), (A,)),
    np.tensordot: (lambda a, b: np.tensordot(a, b, axes=([0, 1], [0, 1])), (A, B)),
    np.einsum: (lambda a, b: np.einsum("ij,kj->ik", a, b, optimize=True), (A, B)),
    np.outer: (lambda a, b: np.outer(a, b), (A, B)),
    np.dot: (lambda a, b: np.dot(a, b.T), (A, B)),
    np.sort: (lambda a: np.sort(a, axis=1), (A,)),
    np.round: (lambda a: np.round(a, 1) * a, (A + 0.02,)),
    np.linalg.norm: (lambda a: np.linalg.norm(a, axis=1), (A,)),
    np.where: (lambda a, b: np.where(a > 0, a, b), (A, B)),
    np.clip: (lambda a: np.clip(a, -1.0, 1.0) + np.clip(a, a_min=0.3, a_max=None), (A,)),
    np.pad: (lambda a: np.pad(a, 1, constant_values=2.0), (A,)),
    np.copy: (lambda a: np.copy(a), (A,)),
    np.full_like: (lambda a: a * np.full_like(a, 2.0), (A,)),
}  # fmt: skip
POSITIVE = {np.log, np.log1p, np.log2, np.log10, np.sqrt}
ELEMENTWISE = [ufunc for ufunc in UFUNCS if ufunc not in CALLS]
CALLS |= {ufunc: (ufunc, (P if ufunc in POSITIVE else A + 0.1,)) for ufunc in ELEMENTWISE}


def test_every_recorded_function_has_a_call_here() -> None:
    assert set(CALLS) == {*UFUNCS, *_functions()}


@pytest.mark.parametrize("function", CALLS, ids=lambda f: f.__name__)
def test_numpy_code_gives_numpys_values_and_right_gradients(function: Any) -> None:
    code, arrays = CALLS[function]
    y = code(*(tg.Tensor(array, requires_grad=True) for array in arrays))
    assert isinstance(y, tg.Tensor)
    np.testing.assert_allclose(y.numpy(), code(*arrays), rtol=1e-13)
    check_gradients(code, *arrays)
    assert isinstance(code(*map(tg.Tensor, arrays)), tg.Tensor)


@pytest.mark.parametrize("ufunc", REDUCED, ids=lambda f: f.__name__)
def test_a_ufunc_reduces(ufunc: Any) -> None:
    for axis in (0, 1, None):
        check_gradients(lambda x: ufunc.reduce(x, axis=axis), A)  # noqa: B023
        y = ufunc.reduce(tg.Tensor(A), axis=axis, keepdims=True)
        np.testing.assert_allclose(y.numpy(), ufunc.reduce(A, axis=axis, keepdims=True))


@pytest.mark.parametrize("ufunc", [np.subtract, np.multiply, np.maximum])
def test_a_ufunc_of_all_pairs(ufunc: Any) -> None:
    y = ufunc.outer(tg.Tensor(A), B[0])
    np.testing.assert_array_equal(y.numpy(), ufunc.outer(A, B[0]))
    check_gradients(lambda a, b: ufunc.outer(a, b), A, B[0])


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (lambda x: np.sinc(x), "np.sinc would drop the graph"),
        (lambda x: np.bincount(x.reshape(-1)), "np.bincount would drop the graph"),
        (lambda x: np.fmod(x, 2), "np.fmod would drop the graph"),
        (lambda x: np.linalg.inv(x), "np.linalg.inv would drop the graph"),
        (lambda x: np.add(x, 1, out=np.zeros((2, 3))), "np.add with out= would drop the graph"),
        (lambda x: np.fmod.outer(x, x), "np.fmod.outer would drop the graph"),
        (lambda x: np.add.at(np.zeros((2, 3)), 0, x), "np.add.at would drop the graph"),
        (lambda x: np.add(A, A, out=x), "np.add: out is a Tensor"),
        (lambda x: np.sum(x, where=A > 0), "np.sum: where=.* is not supported"),
        (lambda x: np.reshape(x, (3, 2), order="F"), "np.reshape: order='F' is not supported"),
        (lambda x: np.copyto(x, 0.0), "np.copyto: a Tensor is read-only"),
    ],
)
def test_anything_else_is_refused_by_name(code: Any, message: str) -> None:
    x = tg.Tensor(A, requires_grad=True)
    with pytest.raises(TypeError, match=message):
        code(x)
    np.testing.assert_array_equal(x.numpy(), A)


def test_an_array_is_not_changed_in_place_by_a_tensor_with_a_gradient() -> None:
    total = np.zeros((2, 3))
    with pytest.raises(TypeError, match=r"np\.add with out="):
        total += tg.Tensor(A, requires_grad=True)
    assert not total.any()
    total += tg.Tensor(A)  # without a gradient, nothing is lost
    np.testing.assert_array_equal(total, A)


def test_functions_without_a_derivative_give_values() -> None:
    x = tg.Tensor(A, requires_grad=True)
    assert np.argmax(x) == 2
    assert np.shape(x) == (2, 3)
    assert np.zeros_like(x).tolist() == [[0.0] * 3] * 2
    assert np.any(x > 1)
    assert not np.all(x > 1)
    assert np.allclose(x, A)
    assert np.max(x.detach(), initial=5.0) == 5.0
    assert np.sum(x.detach(), where=A > 0) == A[A > 0].sum()
    assert np.histogram(x.detach(), bins=2)[0].tolist() == [3, 3]


# --- operators -----------------------------------------------------------------------------------


@given(st.integers(-20, 20), st.integers(1, 7))
def test_division_of_integers_is_pythons(a: int, b: int) -> None:
    x = tg.Tensor(np.array([a]))
    assert (x // b).tolist() == [a // b]
    assert (x % b).tolist() == [a % b]
    assert (a % tg.Tensor(np.array([b]))).tolist() == [a % b]
    assert (x // b).dtype == (x % b).dtype == np.int64


@pytest.mark.parametrize("operate", [operator.and_, operator.or_, operator.xor])
def test_logical_operators_are_numpys(operate: Any) -> None:
    x, positive, small = tg.Tensor(A), A > 0, A < 1
    y = operate(x > 0, x < 1)
    assert isinstance(y, tg.Tensor)
    np.testing.assert_array_equal(y.numpy(), operate(positive, small))
    np.testing.assert_array_equal(operate(positive, x < 1).numpy(), operate(positive, small))
    np.testing.assert_array_equal((~(x > 0)).numpy(), ~positive)
    integers = tg.Tensor(np.array([6, 3]))
    np.testing.assert_array_equal(operate(integers, 5).numpy(), operate(np.array([6, 3]), 5))
    with pytest.raises(TypeError, match=r"got float64 of shape .* expected bools or integers"):
        operate(x, x)
    with pytest.raises(TypeError, match="invert: got float64"):
        operator.invert(x)


def test_unary_operators_membership_and_rounding() -> None:
    x = tg.Tensor(A, requires_grad=True)
    assert (+x) is x
    np.testing.assert_array_equal(abs(x).numpy(), np.abs(A))
    np.testing.assert_array_equal(round(x).numpy(), np.round(A))
    np.testing.assert_array_equal(round(x, 1).numpy(), np.round(A, 1))
    assert 2.0 in x
    assert 7.0 not in x
    assert [row.tolist() for row in x] == A.tolist()
    (gradient,) = tg.grad((B.T @ x).sum() + (x @ B.T).sum(), x)
    np.testing.assert_allclose(gradient, B.sum(1)[:, None] + B.sum(0))


def test_complex_numbers_are_ordered_by_their_real_parts() -> None:
    """As ops do where they branch: a complex step must take the branch of the forward."""
    x = tg.Tensor(np.array([1.0 + 1e-30j, 2.0 - 1.0j]))
    assert (x > 1.0).numpy().tolist() == [False, True]
    assert (x >= 2.0).numpy().tolist() == [False, True]


def test_a_reduction_that_no_op_computes_gives_values_and_arrays_are_written_to() -> None:
    x = tg.Tensor([5.0, 2.0])
    assert np.subtract.reduce(x) == 3
    target = np.zeros(2)
    np.copyto(target, x)
    assert target.tolist() == [5, 2]


def test_comparisons_of_shapes_that_do_not_broadcast_are_refused() -> None:
    for compare in (operator.eq, operator.ne, operator.lt):
        with pytest.raises(ValueError, match=r"of shape \(2, 3\) and .* of shape \(2,\)"):
            compare(tg.Tensor(A), np.ones(2))
    assert (np.zeros(3) < tg.Tensor(A)).tolist() == (A > 0).tolist()
    assert (tg.Tensor(A) == 0.25).numpy().sum() == 1


def test_no_number_equals_a_text() -> None:
    x = tg.Tensor(A)
    assert (x == "same").tolist() == [[False] * 3] * 2
    assert (x != "same").tolist() == [[True] * 3] * 2
    with pytest.raises(TypeError, match=r"less: got float64 of shape \(2, 3\) and <U4 .* numbers"):
        operator.lt(x, "same")


def test_an_integer_is_an_index_and_a_single_value_has_no_rows() -> None:
    place = tg.Tensor(np.array(2))
    assert ["a", "b", "c"][place] == "c"
    assert list(range(place)) == [0, 1]
    assert np.arange(5)[place] == 2
    assert np.arange(5)[tg.Tensor(np.array([1, 3]))].tolist() == [1, 3]
    for value, message in ((1.0, "index: got float32"), ([1.0, 2.0], "index: got float32")):
        with pytest.raises(TypeError, match=message):
            operator.index(tg.Tensor(value))
    with pytest.raises(ValueError, match="item: the shape is"):
        operator.index(tg.Tensor(np.arange(2)))
    with pytest.raises(TypeError, match="iter: the Tensor has no axes"):
        list(place)


# --- functions of functions ----------------------------------------------------------------------


def test_plain_numpy_code_has_a_gradient() -> None:
    def f(x: Any) -> Any:
        return np.sum(np.tanh(x) ** 2) / np.sqrt(np.size(x))

    value, gradient = tg.value_and_grad(f)(A)
    assert value == f(A)
    np.testing.assert_allclose(gradient, 2 * np.tanh(A) / np.cosh(A) ** 2 / np.sqrt(6), rtol=1e-12)
    assert isinstance(gradient, np.ndarray)
    assert gradient.dtype == np.float64


def test_gradients_have_the_structure_of_the_argument() -> None:
    def loss(parameters: Any, x: Any, *, scale: float) -> Any:
        (w, b), c = parameters["layer"], parameters["c"]
        return scale * np.sum(x @ w + b) + c

    parameters = {"layer": [B.T, np.zeros(2)], "c": 1.0}
    gradient = tg.grad_of(loss)(parameters, A, scale=3.0)
    assert [*gradient] == ["layer", "c"]
    np.testing.assert_allclose(gradient["layer"][0], 3 * np.repeat(A.sum(0)[:, None], 2, 1))
    np.testing.assert_allclose(gradient["layer"][1], [6.0, 6.0])
    assert gradient["c"] == 1.0
    of_both = tg.grad_of(loss, argnum=(1, 0))(parameters, A, scale=3.0)
    np.testing.assert_allclose(of_both[0], np.tile(3 * B.sum(0), (2, 1)))
    np.testing.assert_allclose(of_both[1]["layer"][1], gradient["layer"][1])


@pytest.mark.parametrize("order", range(5))
def test_gradients_of_gradients(order: int) -> None:
    f: Callable[..., Any] = np.sin
    for _ in range(order):
        f = tg.grad_of(f)
    np.testing.assert_allclose(f(np.array(0.7)), np.sin(0.7 + order * np.pi / 2), rtol=1e-13)


def test_an_inner_gradient_is_for_its_own_argument() -> None:
    """d/dx (x · d/dy (x·y) at y = x) = d/dx x², not of 2x²."""
    f = tg.grad_of(lambda x: x * tg.grad_of(lambda y: x * y)(x))
    assert f(np.array(3.0)) == 6.0


@pytest.mark.parametrize(
    ("f", "arguments", "error", "message"),
    [
        (lambda x: x, (A,), ValueError, "the value has shape"),
        (lambda x: 3.0, (A,), TypeError, "returned float"),
        (lambda x: np.sum(x), (), ValueError, "argnum is 0"),
        (lambda x: np.sum(x), (np.arange(3),), TypeError, "float32 or float64"),
    ],
)
def test_a_function_without_a_gradient_is_refused(
    f: Any, arguments: Any, error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        tg.grad_of(f)(*arguments)


def test_a_value_that_does_not_depend_on_the_argument_has_gradient_zero() -> None:
    assert tg.grad_of(lambda x: tg.Tensor(1.0))(A).tolist() == np.zeros((2, 3)).tolist()


def test_a_gradient_for_one_argument_keeps_the_graph_to_the_others() -> None:
    """∂²/∂x∂y of x²y³ = 6xy²."""
    mixed = tg.grad_of(lambda y: tg.grad_of(lambda x, y: x**2 * y**3)(np.array(3.0), y))
    assert mixed(np.array(2.0)) == 72.0
    nested = tg.grad_of(lambda p: tg.grad_of(lambda x, p: x * p["w"] ** 2)(np.array(3.0), p))
    assert nested({"w": np.array(2.0)})["w"] == 4.0


def test_an_argument_named_twice_is_refused() -> None:
    for argnum in ((0, 0), (0, -2)):
        with pytest.raises(ValueError, match=r"which names an argument twice"):
            tg.grad_of(lambda x, y: x * y, argnum)(np.array(1.0), np.array(2.0))


class Point(NamedTuple):
    x: Any
    y: Any


def test_a_named_tuple_keeps_its_type() -> None:
    gradient = tg.grad_of(lambda p: p.x * p.y)(Point(np.array(2.0), np.array(3.0)))
    assert isinstance(gradient, Point)
    assert gradient == (3.0, 2.0)


def test_a_mask_of_a_tensor_as_an_option_and_a_copy_of_bools() -> None:
    x = tg.Tensor(A, requires_grad=True)
    with pytest.raises(TypeError, match=r"np\.sum: where=\.\.\. is not supported"):
        np.sum(x, where=x > 0)
    with pytest.raises(TypeError, match=r"np\.copyto: a Tensor is read-only"):
        np.copyto(dst=x, src=0.0)
    assert np.copy(x > 0).dtype == bool
