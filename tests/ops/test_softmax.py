"""Softmax and its relatives against SciPy, at ordinary and at extreme values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import special
from support.compare import assert_close

import tinygrad_cnn as tg
from tinygrad_cnn.check.strategies import arrays, shapes

rows_of_logits = arrays(shapes(min_dims=1))
temperatures = st.sampled_from([1.0, 0.25, 4.0])


@given(x=rows_of_logits, temperature=temperatures)
def test_softmax_jacobian_is_the_whole_matrix(x: np.ndarray, temperature: float) -> None:
    """∂y_i/∂x_j = y_i (δ_ij − y_j) / T."""
    row = x.reshape(-1)
    y = special.softmax(row / temperature)
    expected = (np.diag(y) - np.outer(y, y)) / temperature
    jacobian = tg.jacobian(lambda x: tg.softmax(x, temperature=temperature))(row)
    assert_close(jacobian, expected, "J", 1e-14)


@given(x=rows_of_logits)
def test_softmax_of_low_temperature_nears_the_one_hot_maximum(x: np.ndarray) -> None:
    rows = x.reshape(-1) + np.arange(x.size)  # steps of at least 1/16 wherever two tie
    rows = np.unique(rows)
    expected = np.zeros(rows.size)
    expected[-1] = 1
    assert_close(tg.softmax(rows, temperature=1e-3), expected, "y", 1e-6)


@given(margins=st.lists(st.floats(1.0, 16.0, width=32), min_size=1, max_size=4))
@example(margins=[5.0625])
def test_what_is_nearly_certain_keeps_its_digits_in_float32(margins: list[float]) -> None:
    x = np.array([0.0, *[-margin for margin in margins]], "f4")
    truth = np.log1p(np.exp(x[1:].astype("f8")).sum())
    digits = 4 * np.finfo("f4").eps
    np.testing.assert_allclose(tg.logsumexp(x), truth, rtol=digits)
    np.testing.assert_allclose(-tg.log_softmax(x)[0], truth, rtol=digits)
    np.testing.assert_allclose(tg.cross_entropy(x, np.array(0)), truth, rtol=digits)


EXTREMES = [[-1e4, 0.0, 1e4], [1e4, 1e4, 1e4], [-1e4, -1e4, -1e4], [0.0, -1e4, -1e4]]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(
    ("op", "truth"),
    [
        (tg.softmax, special.softmax),
        (tg.log_softmax, special.log_softmax),
        (tg.logsumexp, special.logsumexp),
    ],
)
def test_extreme_logits_give_finite_values_and_gradients(op: Any, truth: Any, dtype: str) -> None:
    x = np.array(EXTREMES, dtype)
    leaf = tg.Tensor(x, requires_grad=True)
    y = op(leaf, axis=-1)
    np.testing.assert_allclose(y.numpy(), truth(x.astype("f8"), axis=-1), rtol=1e-6, atol=1e-38)
    assert y.dtype == dtype
    (gradient,) = tg.grad((y * y).sum(), leaf, create_graph=True)
    assert np.isfinite(gradient.numpy()).all()
    assert np.isfinite(tg.grad(gradient.sum(), leaf)[0]).all()


def test_logsumexp_of_minus_infinity_is_minus_infinity() -> None:
    with np.errstate(divide="ignore"):  # log 0, which is the answer
        assert tg.logsumexp(np.array([-np.inf, -np.inf])) == -np.inf
    assert tg.logsumexp(np.array([-np.inf, 3.0])) == 3.0


@given(x=rows_of_logits, height=st.sampled_from([0.0, 1e3, 1e6, -1e8]))
@example(x=np.array([1.0, 1.0]), height=1e8)
def test_the_gradient_of_logsumexp_is_the_softmax_of_logits_of_any_size(
    x: np.ndarray, height: float
) -> None:
    logits = (x + height).astype("f4")
    leaf = tg.Tensor(logits, requires_grad=True)
    (gradient,) = tg.grad(tg.logsumexp(leaf, axis=-1).sum(), leaf)
    np.testing.assert_allclose(gradient, special.softmax(logits.astype("f8"), -1), rtol=1e-5)


def test_log_softmax_is_exact_where_softmax_underflows() -> None:
    y = tg.log_softmax(np.array([0.0, 2000.0]))
    np.testing.assert_array_equal(y, [-2000.0, 0.0])


@pytest.mark.parametrize("temperature", [5e-324, 1e-310, 1e-50, 1e-45, 1e-38, 1e38, 1e300])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_temperature_of_any_size_gives_its_limit(temperature: float, dtype: str) -> None:
    """One-hot at the maximum, or even; 1/T itself would overflow, and 0·∞ is NaN."""
    leaf = tg.Tensor(np.array([[0.0, 2.0, -1.0], [1e38, -1e38, 1.0]], dtype), requires_grad=True)
    y = tg.softmax(leaf, temperature=temperature)
    expected = [[0, 1, 0], [1, 0, 0]] if temperature < 1e38 else np.full((2, 3), 1 / 3)
    if temperature != 1e38:
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-6)
    (gradient,) = tg.grad((y * np.arange(6.0).reshape(2, 3)).sum(), leaf)
    assert np.isfinite(gradient).all()
    log_y = tg.log_softmax(leaf, temperature=temperature)
    assert not np.isnan(log_y.numpy()).any()
    np.testing.assert_allclose(np.exp(log_y.numpy()), y.numpy(), rtol=1e-6)


@pytest.mark.parametrize("op", [tg.softmax, tg.log_softmax, tg.logsumexp, tg.max, tg.min, tg.mean])
def test_an_empty_axis_is_refused_by_name_but_none_of_rows_is_none_of_results(op: Any) -> None:
    for shape, axis in (((2, 0), 1), ((2, 0), -1), ((0, 3), 0), ((0,), 0)):
        with pytest.raises(ValueError, match=rf"{op.name}: .*no values along axis {axis}"):
            op(np.zeros(shape), axis=axis)
    assert op(np.zeros((0, 3)), axis=1).size == 0
    assert tg.sum(np.zeros((2, 0)), axis=1).tolist() == [0, 0]
