"""Losses by their formulas, every reduction and form of target."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from support.compare import assert_close

import tinygrad_cnn as tg
from tinygrad_cnn.check.strategies import arrays, labels, shapes

reductions = st.sampled_from(["mean", "sum", "none"])
REDUCE: dict[str, Any] = {"mean": np.mean, "sum": np.sum, "none": lambda losses: losses}


def test_squared_error_sums_by_default_and_mse_averages() -> None:
    p, t = np.array([1.0, 2.0]), np.zeros(2)
    assert tg.squared_error(p, t) == 2.5
    assert tg.mse(p, t) == 2.5


logits_and_labels = shapes(min_dims=1).flatmap(
    lambda shape: st.tuples(arrays(shape), labels(shape[:-1], shape[-1]))
)


@given(drawn=logits_and_labels, reduction=reductions)
def test_cross_entropy_picks_the_negative_log_softmax_of_the_label(
    drawn: tuple[np.ndarray, np.ndarray], reduction: str
) -> None:
    logits, labels = drawn
    log_p = special.log_softmax(logits, axis=-1)
    losses = np.zeros(labels.shape)
    for k in np.ndindex(labels.shape):
        losses[k] = -log_p[k][labels[k]]
    value = tg.cross_entropy(logits, labels, reduction)
    assert_close(value, REDUCE[reduction](losses), "cross_entropy", 1e-14)


@given(drawn=logits_and_labels, reduction=reductions, smoothing=st.sampled_from([0.0, 0.1, 1.0]))
def test_one_hot_rows_and_labels_mean_the_same(
    drawn: tuple[np.ndarray, np.ndarray], reduction: str, smoothing: float
) -> None:
    logits, labels = drawn
    one_hot = np.eye(logits.shape[-1])[labels]
    results = []
    for target in (labels, labels.astype(np.uint8), labels.tolist(), one_hot, tg.Tensor(one_hot)):
        leaf = tg.Tensor(logits, requires_grad=True)
        value = tg.cross_entropy(leaf, target, reduction, smoothing)
        results.append((value.numpy(), tg.grad(value.sum(), leaf)[0]))
    for value, gradient in results[1:]:
        np.testing.assert_array_equal(value, results[0][0])
        np.testing.assert_array_equal(gradient, results[0][1])


@given(drawn=logits_and_labels, smoothing=st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_label_smoothing_mixes_in_the_uniform_distribution(
    drawn: tuple[np.ndarray, np.ndarray], smoothing: float
) -> None:
    logits, labels = drawn
    log_p = special.log_softmax(logits, axis=-1)
    hard = -np.take_along_axis(log_p, labels[..., None], -1)[..., 0]
    expected = (1 - smoothing) * hard + smoothing * -log_p.mean(axis=-1)
    value = tg.cross_entropy(logits, labels, "none", smoothing)
    assert_close(value, expected, "cross_entropy", 1e-13)


@given(drawn=logits_and_labels)
def test_cross_entropy_gradient_is_softmax_less_target(
    drawn: tuple[np.ndarray, np.ndarray],
) -> None:
    logits, labels = drawn
    leaf = tg.Tensor(logits, requires_grad=True)
    (gradient,) = tg.grad(tg.cross_entropy(leaf, labels, "sum"), leaf)
    expected = special.softmax(logits, axis=-1) - np.eye(logits.shape[-1])[labels]
    assert_close(gradient, expected, "gradient", 1e-14)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_cross_entropy_is_finite_at_extreme_logits(dtype: str) -> None:
    leaf = tg.Tensor(np.array([[-1e4, 1e4], [1e4, -1e4]], dtype), requires_grad=True)
    value = tg.cross_entropy(leaf, [0, 0], "none")
    np.testing.assert_array_equal(value.numpy(), [2e4, 0])
    np.testing.assert_array_equal(tg.grad(value.sum(), leaf)[0], [[-1, 1], [0, 0]])


def test_float64_targets_beside_float32_logits_stay_float32() -> None:
    logits = tg.Tensor([[1.0, 2.0]], requires_grad=True)
    value = tg.cross_entropy(logits, np.array([[0.5, 0.5]]))
    assert value.dtype == np.float32
    assert tg.mse(logits, np.zeros((1, 2))).dtype == np.float32
