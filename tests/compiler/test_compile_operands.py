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
    step = tg.compile(lambda x: (combined(x, w), combined(w, x)))
    for _ in range(3):
        x = rng.standard_normal((3, 3), "f4")
        for got, expected in zip(step(x), (combined(x, w), combined(w, x)), strict=True):
            np.testing.assert_array_equal(got.numpy(), expected.numpy())
