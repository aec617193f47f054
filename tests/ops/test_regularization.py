"""Dropout and batch normalization by their formulas."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_cnn as tg


def test_batch_norm_gives_mean_0_and_variance_1() -> None:
    x = np.random.default_rng(0).standard_normal((6, 3, 5, 5)) * 7 + 3
    y = tg.batch_norm(x, np.ones(3), np.zeros(3), eps=0.0)
    np.testing.assert_allclose(y.mean(axis=(0, 2, 3)), 0, atol=1e-14)
    np.testing.assert_allclose(y.var(axis=(0, 2, 3)), 1)


def test_batch_norm_gradient_is_orthogonal_to_constants_and_to_the_result() -> None:
    """y does not change when x is shifted or scaled."""
    rng = np.random.default_rng(0)
    x = tg.Tensor(rng.standard_normal((6, 3, 4)), requires_grad=True)
    y = tg.batch_norm(x, np.ones(3), np.zeros(3), eps=0.0)
    (gradient,) = tg.grad(y, x, gradient=rng.standard_normal(y.shape))
    np.testing.assert_allclose(gradient.sum(axis=(0, 2)), 0, atol=1e-12)
    np.testing.assert_allclose((gradient * y.numpy()).sum(axis=(0, 2)), 0, atol=1e-12)


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.5])
def test_dropout_drops_where_the_mask_says_and_keeps_the_mean(rate: float) -> None:
    x = np.arange(1.0, 7.0).reshape(2, 3)
    mask = np.array([[True, False, True], [False, True, True]])
    y = tg.dropout(x, mask, rate)
    np.testing.assert_allclose(y, np.where(mask, x / (1 - rate), 0))


def test_dropout_mask_may_drop_whole_channels() -> None:
    x = tg.Tensor(np.ones((2, 2, 3)), requires_grad=True)
    mask = np.array([[[True], [False]], [[False], [True]]])
    y = tg.dropout(x, mask, 0.5)
    np.testing.assert_array_equal(y.numpy(), np.broadcast_to(2.0 * mask, (2, 2, 3)))
    np.testing.assert_array_equal(tg.grad(y.sum(), x)[0], y.numpy())
