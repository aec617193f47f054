"""Arrays that a compiled step is given, as operands of Tensors."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg

OPERATORS = (operator.add, operator.sub, operator.mul, operator.truediv, operator.matmul)


@pytest.mark.parametrize("combined", [*OPERATORS, np.multiply], ids=lambda f: f.__name__)
def test_a_given_array_stands_on_both_sides_of_an_operator(
    combined: Callable[[Any, Any], tg.Tensor],
) -> None:
    rng = np.random.default_rng(0)
    w = tg.Tensor(rng.standard_normal((3, 3), "f4"), requires_grad=True, name="w")
    step = tg.compile(lambda x: (combined(x, w).detach(), combined(w, x).detach()))
    for _ in range(3):
        x = rng.standard_normal((3, 3), "f4")
        for got, expected in zip(step(x), (combined(x, w), combined(w, x)), strict=True):
            np.testing.assert_array_equal(got.numpy(), expected.numpy())


@pytest.mark.parametrize("loss", [tg.binary_cross_entropy_with_logits, tg.kl_div, tg.mse])
def test_a_given_array_is_the_target_of_a_loss_made_of_ops(loss: Callable[..., tg.Tensor]) -> None:
    rng = np.random.default_rng(0)
    w = tg.Tensor(rng.standard_normal((3, 4), "f4"), requires_grad=True, name="w")

    def gradients(x: Any, target: Any) -> tuple[tg.Tensor, Any]:
        error = loss(tg.log_softmax(tg.Tensor(x) @ w), target)
        return error, tg.grad(error, [w])[0]

    step = tg.compile(gradients)
    for _ in range(3):
        given = rng.standard_normal((2, 3), "f4"), rng.random((2, 4), "f4")
        for got, expected in zip(step(*given), gradients(*given), strict=True):
            np.testing.assert_array_equal(np.asarray(got), np.asarray(expected))
