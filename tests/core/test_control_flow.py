"""Models in plain Python: loops, branches, recursion, shared weights, closures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg


@given(n=st.integers(0, 12))
def test_a_loop_of_any_length(n: int) -> None:
    x = tg.Tensor(1.5, requires_grad=True, dtype="f8")
    y = x
    for _ in range(n):
        y = y * x
    assert tg.grad(y, x)[0] == pytest.approx((n + 1) * 1.5**n)


@given(at=st.integers(-40, 40))
def test_a_branch_on_a_value_takes_the_derivative_of_the_branch(at: int) -> None:
    x = tg.Tensor(at / 8, requires_grad=True, dtype="f8")
    y = x * x if x > 1 else (-3 * x if x < -1 else tg.exp(x))
    expected = at / 4 if at > 8 else (-3 if at < -8 else np.exp(at / 8))
    assert tg.grad(y, x)[0] == pytest.approx(expected)


def test_a_loop_that_ends_on_a_value() -> None:
    """Newton's iteration for the square root of a, and the derivative through it."""
    a = tg.Tensor(2.0, requires_grad=True, dtype="f8")
    y = a
    while abs((y * y - a).item()) > 1e-15:
        y = 0.5 * (y + a / y)
    assert y.item() == pytest.approx(np.sqrt(2))
    assert tg.grad(y, a)[0] == pytest.approx(0.5 / np.sqrt(2))


def test_recursion_over_a_tree() -> None:
    w = tg.Tensor([0.5, -0.25], requires_grad=True, dtype="f8")

    def value(tree: Any) -> tg.Tensor:
        if isinstance(tree, float):
            return tg.Tensor(tree, dtype="f8")
        left, right = tree
        return tg.tanh(w[0] * value(left) + w[1] * value(right))

    tree = ((1.0, (2.0, 3.0)), (0.5, 1.5))
    y = value(tree)
    (gradient,) = tg.grad(y, w)

    def plain(tree: Any, w: Any) -> Any:
        if isinstance(tree, float):
            return tree
        return np.tanh(w[0] * plain(tree[0], w) + w[1] * plain(tree[1], w))

    for k in range(2):
        step = np.array([0.5, -0.25], complex)
        step[k] += 1e-20j
        assert gradient[k] == pytest.approx(plain(tree, step).imag / 1e-20, rel=1e-13)


def test_shared_weights_collect_from_every_use() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((3, 3))
    x = rng.standard_normal(3)
    shared = tg.Tensor(values, requires_grad=True)
    separate = [tg.Tensor(values, requires_grad=True) for _ in range(4)]

    def run(weights: list[tg.Tensor]) -> tg.Tensor:
        h = tg.Tensor(x)
        for w in weights:
            h = tg.tanh(w @ h)
        return h.sum()

    (together,) = tg.grad(run([shared] * 4), shared)
    np.testing.assert_allclose(together, sum(tg.grad(run(separate), separate)), rtol=1e-13)


def test_one_kernel_on_two_images() -> None:
    """A Siamese pair: the same weights in two branches that meet."""
    rng = np.random.default_rng(0)
    w = tg.Tensor(rng.standard_normal((2, 1, 3, 3)), requires_grad=True)
    first, second = rng.standard_normal((2, 1, 1, 5, 5))
    gradient = tg.grad((tg.conv2d(first, w) - tg.conv2d(second, w)).sum(), w)[0]
    expected = tg.grad(tg.conv2d(first - second, w).sum(), w)[0]
    np.testing.assert_allclose(gradient, expected, atol=1e-13)


def test_results_kept_in_containers_and_closures() -> None:
    x = tg.Tensor(2.0, requires_grad=True, dtype="f8")
    history = [x]
    doubled = {"double": lambda: history[-1] * 2}
    for _ in range(3):
        history.append(doubled["double"]() + history[0])
    assert tg.grad(history[-1], x)[0] == 15  # 8x + 4x + 2x + x
    assert tg.grad(sum(history[:1], start=x), x)[0] == 2


def test_iterating_over_a_tensor_differentiates_each_part() -> None:
    x = tg.Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True, dtype="f8")
    total = tg.Tensor(0.0, dtype="f8")
    for i, row in enumerate(x):
        for value in row:
            total = total + value ** (i + 1)
    np.testing.assert_array_equal(tg.grad(total, x)[0], [[1, 1], [6, 8]])


def test_unpacking_a_tensor() -> None:
    a, b = tg.Tensor([2.0, 3.0], requires_grad=True)
    assert (a * b).item() == 6
