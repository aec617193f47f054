"""Moments, norms and products: where their derivatives are hard to get right."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.check import check_gradients


@pytest.mark.parametrize("zeros", [0, 1, 2, 5])
def test_derivatives_of_a_product_are_those_of_its_other_factors(zeros: int) -> None:
    x = np.array([2.0, -3.0, 0.5, 4.0, 1.5])
    x[:zeros] = 0
    leaf = tg.Tensor(x, requires_grad=True)
    (first,) = tg.grad(tg.prod(leaf), leaf)
    np.testing.assert_allclose(first, [np.prod(np.delete(x, i)) for i in range(5)])
    check_gradients(tg.prod, x, order=2)


@pytest.mark.parametrize("f", [tg.std, tg.norm, lambda x: tg.norm(x, 3), lambda x: tg.norm(x, 1)])
def test_the_derivatives_of_a_root_at_0_are_0(f) -> None:
    leaf = tg.Tensor(np.zeros(3), requires_grad=True)
    (first,) = tg.grad(f(leaf), leaf, create_graph=True)
    assert first.tolist() == [0, 0, 0]
    if first.requires_grad:
        (second,) = tg.grad((first * [1.0, 2.0, 3.0]).sum(), leaf)
        assert second.tolist() == [0, 0, 0]


@pytest.mark.parametrize("ord", [1, 2, 3, np.inf])
def test_a_norm_does_not_overflow_on_the_way_and_shows_nan(ord: float) -> None:
    big = np.float32([3e37, -4e37])
    for scale in (1, 1e-30):
        expected = np.linalg.vector_norm(big.astype(np.float64) * scale, ord=ord)
        np.testing.assert_allclose(tg.norm(big * np.float32(scale), ord), expected, rtol=1e-6)
    assert np.isnan(tg.norm([1.0, np.nan], ord))
    assert tg.norm([1.0, -np.inf], ord) == np.inf
    assert tg.norm(np.zeros((2, 0)), ord, axis=1).tolist() == [0, 0]


def test_float32_moments_of_a_batch_are_right_in_any_layout() -> None:
    x = np.random.default_rng(0).normal(100, 1, (64, 8, 9, 9)).astype(np.float32)
    for layout in (x, np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1), x[::2, :, ::-1]):
        exact = layout.astype(np.float64)
        for ours, numpys in ((tg.var, np.var), (tg.std, np.std), (tg.norm, np.linalg.vector_norm)):
            found = ours(tg.Tensor(layout), axis=(0, 2, 3))
            assert found.dtype == np.float32
            np.testing.assert_allclose(found.numpy(), numpys(exact, axis=(0, 2, 3)), rtol=3e-6)


def test_integers_and_half_floats_neither_wrap_nor_overflow() -> None:
    pixels = np.array([200, 250, 0, 255], np.uint8)
    assert tg.var(pixels) == np.float32(np.var(pixels))
    assert tg.prod(pixels[:2]) == 50000
    assert tg.norm(pixels) == np.float32(np.linalg.norm(pixels.astype(float)))
    half = np.full(100, 300, np.float16)
    half[::2] = 100
    assert tg.var(half) == 10000


def test_searches_of_a_tensor_give_plain_arrays() -> None:
    x = tg.Tensor([[0.0, 2.0], [5.0, 5.0]], requires_grad=True)
    for found, expected in (
        (tg.argmax(x), 2),
        (x.argmin(1), [0, 0]),
        (x.argmax(axis=0, keepdims=True), [[1, 1]]),
        (tg.any(x == 0), True),
        (x.all(axis=1), [False, True]),
        (tg.count_nonzero(x), 3),
    ):
        assert type(found) is np.ndarray
        assert found.tolist() == expected
