"""Reductions against NumPy, over every kind of axis."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn.check.strategies import arrays, axes


@pytest.mark.parametrize("name", ["max", "min"])
@given(x=arrays(low=-0.125, high=0.125), data=st.data())
def test_gradient_of_an_extreme_goes_to_its_first_place_in_row_major_order(
    name: str, x: np.ndarray, data: st.DataObject
) -> None:
    axis = data.draw(axes(x.ndim))
    leaf = tg.Tensor(x, requires_grad=True)
    (gradient,) = tg.grad(tg.OPS[name](leaf, axis).sum(), leaf)
    reduced = range(x.ndim) if axis is None else np.atleast_1d(np.array(axis, int)) % max(x.ndim, 1)
    better = {"max": np.greater, "min": np.less}[name]
    best: dict[tuple[int, ...], tuple[int, ...]] = {}
    for k in np.ndindex(x.shape):
        group = tuple(i for a, i in enumerate(k) if a not in reduced)
        if group not in best or better(x[k], x[best[group]]):
            best[group] = k
    expected = np.zeros(x.shape)
    for k in best.values():
        expected[k] = 1
    np.testing.assert_array_equal(gradient, expected)


def test_the_sum_of_nothing_is_zero_and_its_gradient_empty() -> None:
    x = tg.Tensor(np.zeros((0, 3)), requires_grad=True)
    y = x.sum(axis=0)
    np.testing.assert_array_equal(y.numpy(), np.zeros(3))
    assert tg.grad(y.sum(), x)[0].shape == (0, 3)
