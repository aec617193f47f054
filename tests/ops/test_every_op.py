"""What holds for every op: its derivatives are right, to any order, in any dtype and layout."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.cases import CASES, Call, Case
from support.gradients import (
    assert_close,
    check_gradients,
    check_second_gradients,
    random_like,
    reference_gradients,
)

import tinygrad_cnn as tg

every_case = pytest.mark.parametrize("case", CASES, ids=str)
few = settings(max_examples=max(4, settings.default.max_examples // 3))
rngs = st.builds(np.random.default_rng, st.integers(0, 2**32 - 1))


def analytic(call: Call) -> bool:
    return tg.OPS[call.op].complex_step


# --- registered means checked --------------------------------------------------------------------


def test_every_derivative_of_every_op_has_a_case() -> None:
    package = Path(tg.__path__[0])
    for file in package.rglob("*.py"):
        if "\n@op(" in file.read_text(encoding="utf-8"):
            inside = file.relative_to(package.parent).with_suffix("")
            importlib.import_module(".".join(inside.parts))
    registered = {
        (name, of)
        for name, op in tg.OPS.items()
        if op.__module__.startswith("tinygrad_cnn.")
        for of in op.derivatives
    }
    assert {(case.op, name) for case in CASES for name in case.names} == registered


def test_every_op_has_a_derivative() -> None:
    assert [name for name, op in tg.OPS.items() if not op.derivatives] == []


# --- the derivatives are right -------------------------------------------------------------------


@every_case
@given(data=st.data(), rng=rngs)
def test_gradient_is_the_derivative_of_the_forward(
    case: Case, data: st.DataObject, rng: np.random.Generator
) -> None:
    call = data.draw(case.calls)
    check_gradients(call, call.inputs, call.names, rng, analytic(call))


@every_case
@given(data=st.data(), rng=rngs)
def test_gradient_of_the_gradient_is_the_second_derivative(
    case: Case, data: st.DataObject, rng: np.random.Generator
) -> None:
    call = data.draw(case.calls)
    check_second_gradients(call, call.inputs, call.names, rng, analytic(call))


@every_case
@few
@given(data=st.data())
def test_complex_forward_continues_the_real_one(case: Case, data: st.DataObject) -> None:
    """Without this the complex step could check the derivative of something else."""
    call = data.draw(case.calls)
    if analytic(call):
        real, complex_ = call(*call.inputs), call(*(np.array(x, complex) for x in call.inputs))
        assert_close(np.real(complex_), real, "forward", 1e-14)
        assert not np.imag(complex_).any()


@every_case
@few
@given(data=st.data(), rng=rngs)
def test_gradient_of_one_argument_does_not_need_the_others_to_want_theirs(
    case: Case, data: st.DataObject, rng: np.random.Generator
) -> None:
    call = data.draw(case.calls)
    leaves = call.leaves()
    y = call(*leaves)
    u = random_like(rng, y.shape)
    together = tg.grad(y, leaves, gradient=u)
    for i, expected in enumerate(together):
        arguments: list[Any] = list(call.inputs)
        arguments[i] = tg.Tensor(call.inputs[i], requires_grad=True)
        (alone,) = tg.grad(call(*arguments), arguments[i], gradient=u)
        np.testing.assert_array_equal(alone, expected)


@every_case
@few
@given(data=st.data(), rng=rngs)
def test_gradient_is_the_same_with_and_without_a_graph_of_its_own(
    case: Case, data: st.DataObject, rng: np.random.Generator
) -> None:
    call = data.draw(case.calls)
    leaves = call.leaves()
    u = random_like(rng, call(*leaves).shape)
    plain = tg.grad(call(*leaves), leaves, gradient=u)
    recorded = tg.grad(call(*leaves), leaves, gradient=u, create_graph=True)
    for a, b in zip(plain, recorded, strict=True):
        assert isinstance(a, np.ndarray)
        assert isinstance(b, tg.Tensor)
        assert_close(b.numpy(), a, "gradient", 1e-14)


# --- dtypes --------------------------------------------------------------------------------------


@every_case
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@few
@given(data=st.data())
def test_result_and_gradients_have_the_dtype_of_the_inputs(
    case: Case, dtype: str, data: st.DataObject
) -> None:
    call = data.draw(case.calls)
    leaves = call.leaves(dtype)
    y = call(*leaves)
    assert y.dtype == call.options.get("dtype", dtype)
    u = tg.Tensor(np.ones(y.shape, y.dtype), requires_grad=True)
    gradients = tg.grad(y, leaves, gradient=u, create_graph=True)
    for leaf, gradient in zip(leaves, gradients, strict=True):
        assert (gradient.shape, gradient.dtype) == (leaf.shape, leaf.dtype)
    if any(gradient.requires_grad for gradient in gradients):
        total = tg.concatenate([g.reshape(-1) for g in gradients]).sum()
        for leaf, second in zip([*leaves, u], tg.grad(total, [*leaves, u]), strict=True):
            assert (second.shape, second.dtype) == (leaf.shape, leaf.dtype)


@every_case
@few
@given(data=st.data())
def test_float32_result_is_the_float64_one_rounded(case: Case, data: st.DataObject) -> None:
    call = data.draw(case.calls)
    assert_close(call(*call.leaves("f4")).numpy(), call(*call.inputs), "forward", 1e-5)


# --- arguments are left alone, whatever their layout ---------------------------------------------


@every_case
@few
@given(data=st.data())
def test_inputs_and_options_are_not_written_to(case: Case, data: st.DataObject) -> None:
    call = data.draw(case.calls)
    arrays = [*call.inputs, *(v for v in call.options.values() if isinstance(v, np.ndarray))]
    before = [x.copy() for x in arrays]
    for array in arrays:
        array.setflags(write=False)
    raw = call(*call.inputs)
    leaves = call.leaves()
    y = call(*leaves)
    u = np.ones(y.shape)
    u.setflags(write=False)
    tg.grad(y, leaves, gradient=u)
    np.testing.assert_array_equal(y.numpy(), raw)
    for array, earlier in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, earlier)
    for leaf, x in zip(leaves, call.inputs, strict=True):
        np.testing.assert_array_equal(leaf.numpy(), x)


def transposed(x: np.ndarray) -> tg.Tensor:
    return tg.Tensor(x.T, requires_grad=True).T


def reversed_(x: np.ndarray) -> tg.Tensor:
    return tg.flip(tg.Tensor(np.flip(x), requires_grad=True))


def strided(x: np.ndarray) -> tg.Tensor:
    if x.ndim == 0:
        return tg.Tensor(np.array([0.0, x]), requires_grad=True)[1]
    return tg.Tensor(np.repeat(x, 2, axis=-1), requires_grad=True)[..., ::2]


def channels_first_in_memory(x: np.ndarray) -> tg.Tensor:
    if x.ndim < 2:
        return transposed(x)
    order = (*range(1, x.ndim), 0)
    leaf = tg.Tensor(x.transpose(order), requires_grad=True)
    return leaf.transpose(x.ndim - 1, *range(x.ndim - 1))


LAYOUTS = [transposed, reversed_, strided, channels_first_in_memory]


@every_case
@pytest.mark.parametrize("layout", LAYOUTS)
@few
@given(data=st.data(), rng=rngs)
def test_memory_layout_of_the_inputs_does_not_matter(
    case: Case, layout: Any, data: st.DataObject, rng: np.random.Generator
) -> None:
    call = data.draw(case.calls)
    leaves = call.leaves()
    y = call(*leaves)
    u = random_like(rng, y.shape)
    expected = tg.grad(y, leaves, gradient=u)
    inputs = [layout(x) for x in call.inputs]
    laid_out = call(*inputs)
    assert_close(laid_out.numpy(), y.numpy(), "forward", 1e-13)
    for a, b in zip(tg.grad(laid_out, inputs, gradient=u), expected, strict=True):
        assert_close(a, b, "gradient", 1e-13)


@every_case
@few
@given(data=st.data(), rng=rngs)
def test_memory_layout_of_the_incoming_gradient_does_not_matter(
    case: Case, data: st.DataObject, rng: np.random.Generator
) -> None:
    """After a transpose it is a transposed view, after a sum a read-only one of one number."""
    call = data.draw(case.calls)
    leaves = call.leaves()
    u = random_like(rng, call(*leaves).shape)
    expected = tg.grad(call(*leaves), leaves, gradient=u)
    for a, b in zip(tg.grad(call(*leaves).T, leaves, gradient=u.T), expected, strict=True):
        assert_close(a, b, "gradient through a transpose", 1e-13)
    expected = tg.grad(call(*leaves), leaves, gradient=np.ones(u.shape))
    for a, b in zip(tg.grad(call(*leaves).sum(), leaves), expected, strict=True):
        assert_close(a, b, "gradient through a sum", 1e-13)


# --- the reference itself ------------------------------------------------------------------------


def test_the_complex_step_gives_all_digits() -> None:
    x = np.array([0.5, 2.0])
    (gradient,) = reference_gradients(lambda x: np.exp(x) * x, [x], np.ones(2))
    np.testing.assert_allclose(gradient, np.exp(x) * (1 + x), rtol=1e-15)


@pytest.mark.usefixtures("ops_of_its_own")
def test_the_reference_sees_a_wrong_derivative() -> None:
    @tg.op(formula="x²")
    def square_with_a_mistake(x: Any) -> Any:
        return x * x

    @square_with_a_mistake.derivative("x", formula="g·x")
    def _(g: Any, *, x: Any) -> Any:
        return g * x

    rng = np.random.default_rng(0)
    with pytest.raises(AssertionError, match="gradient for x"):
        check_gradients(square_with_a_mistake, [np.array([1.0, 2.0])], ["x"], rng)


@pytest.mark.usefixtures("ops_of_its_own")
def test_the_reference_sees_a_wrong_second_derivative() -> None:
    @tg.op(formula="x³")
    def cube_with_a_mistake(x: Any) -> Any:
        return x * x * x

    @cube_with_a_mistake.derivative("x", formula="g·3x²")
    def _(g: Any, *, x: Any) -> Any:
        return g * 3 * x * getattr(x, "detach", lambda: x)()  # as a constant: half is lost

    rng = np.random.default_rng(0)
    x = np.array([1.0, 2.0])
    check_gradients(cube_with_a_mistake, [x], ["x"], rng)
    with pytest.raises(AssertionError, match="second derivative for x"):
        check_second_gradients(cube_with_a_mistake, [x], ["x"], rng)
