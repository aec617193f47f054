"""Dropout and normalization by their formulas, in float32 and at real sizes too."""

from __future__ import annotations

from typing import Any

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


def test_dropout_with_rate_1_gives_zeros_whatever_the_mask() -> None:
    x = tg.Tensor([2.0, np.inf], requires_grad=True)
    y = tg.dropout(x, [True, False], 1.0)
    np.testing.assert_array_equal(y.numpy(), [0, 0])
    np.testing.assert_array_equal(tg.grad(y.sum(), x)[0], [0, 0])


def statistics_of(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    x = x.astype("f8")
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)


@pytest.mark.parametrize("layout", ["C", "images last"])
def test_float32_batches_of_64_are_normalized_to_float32s_precision(layout: str) -> None:
    x = np.random.default_rng(0).normal(100.0, 1.0, (64, 12, 8, 8)).astype("f4")
    if layout != "C":
        x = np.ascontiguousarray(x.transpose(1, 2, 3, 0)).transpose(3, 0, 1, 2)
    groups = statistics_of(x.reshape(64, 3, 4, 8, 8), (2, 3, 4)).reshape(x.shape)
    squares = np.pad(x.astype("f8") ** 2, ((0, 0), (2, 2), (0, 0), (0, 0)))
    means = sum(squares[:, k : k + 12] for k in range(5)) / 5
    for y, expected in (
        (tg.layer_norm(x, (12, 8, 8)), statistics_of(x, (1, 2, 3))),
        (tg.layer_norm(x, 8), statistics_of(x, (3,))),
        (tg.instance_norm(x), statistics_of(x, (2, 3))),
        (tg.group_norm(x, 3), groups),
        (tg.local_response_norm(x, 5, 0.5), x / (1 + 0.5 * means) ** 0.75),
    ):
        assert y.dtype == np.float32
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: tg.layer_norm(x, 3),
            r"layer_norm: x has shape \(2, 4, 2\), expected \(..., 3\)",
        ),
        (lambda x: tg.layer_norm(x, ()), r"layer_norm: x has shape \(2, 4, 2\)"),
        (lambda x: tg.layer_norm(x, 2, np.ones(3)), r"weight has shape \(3,\), expected \(2,\)"),
        (lambda x: tg.group_norm(x, 3), r"with C a multiple of num_groups=3"),
        (lambda x: tg.group_norm(x, 0), r"group_norm: num_groups is 0"),
        (lambda x: tg.group_norm(x, 2, None, np.ones(2)), r"group_norm: bias has shape \(2,\)"),
        (lambda x: tg.instance_norm(x[..., :1]), r"instance_norm: x has shape \(2, 4, 1\)"),
        (lambda x: tg.local_response_norm(x[0], 2), r"local_response_norm: x has shape \(4, 2\)"),
        (lambda x: tg.local_response_norm(x, 0), r"local_response_norm: size is 0"),
    ],
)
def test_what_cannot_be_normalized_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(tg.Tensor(np.ones((2, 4, 2))))


def test_no_examples_are_normalized_to_none() -> None:
    x = tg.Tensor(np.ones((0, 4, 2)), requires_grad=True)
    for y in (tg.layer_norm(x, 2, np.ones(2)), tg.group_norm(x, 2), tg.instance_norm(x)):
        assert y.shape == (0, 4, 2)


def test_response_norm_has_the_defaults_of_pytorch() -> None:
    x = np.array([[[2.0], [300.0]]])
    expected = x / (1.0 + 1e-4 * x**2) ** 0.75
    np.testing.assert_allclose(tg.local_response_norm(x, 1), expected, rtol=1e-12)
