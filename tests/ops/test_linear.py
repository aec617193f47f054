"""Matrix products by all of NumPy's rules."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn.check.strategies import arrays, matmul_shapes
from tinygrad_cnn.engine.arrays import Shape


@given(shapes=matmul_shapes(min_side=0), data=st.data())
def test_matmul_is_numpys(shapes: list[Shape], data: st.DataObject) -> None:
    a, b = (data.draw(arrays(shape)) for shape in shapes)
    left, right = tg.Tensor(a, requires_grad=True), tg.Tensor(b, requires_grad=True)
    np.testing.assert_array_equal((left @ right).numpy(), a @ b)
    np.testing.assert_array_equal((left @ b).numpy(), a @ b)
    np.testing.assert_array_equal((a @ right).numpy(), a @ b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((3,), (3, 2)),
        ((2, 3), (3, 4)),
        ((5, 2, 3), (3,)),
        ((3,), (5, 3, 2)),
        ((5, 2, 3), (3, 4)),
        ((2, 3), (5, 3, 4)),
        ((5, 2, 3), (5, 3, 4)),
        ((1, 2, 3), (5, 3, 4)),
        ((6, 1, 2, 3), (5, 3, 4)),
        ((0, 3), (3, 2)),
        ((2, 0), (0, 3)),
    ],
)
def test_matmul_gradients_have_the_entries_of_the_einsum(a: Shape, b: Shape) -> None:
    """Σ u·(a b) is trilinear: its gradient for a is the product of u and b, each spelled out."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(a), rng.standard_normal(b)
    left, right = tg.Tensor(x, requires_grad=True), tg.Tensor(w, requires_grad=True)
    y = left @ right
    u = rng.standard_normal(y.shape)
    da, db = tg.grad(y, [left, right], gradient=u)
    for k in np.ndindex(a):
        unit = np.zeros(a)
        unit[k] = 1
        assert da[k] == pytest.approx(np.sum(u * (unit @ w)))
    for k in np.ndindex(b):
        unit = np.zeros(b)
        unit[k] = 1
        assert db[k] == pytest.approx(np.sum(u * (x @ unit)))


def test_multiply_adds_of_products_are_counted() -> None:
    a, b = np.zeros((7, 2, 3)), np.zeros((3, 5))
    assert tg.matmul.cost({"a": a, "b": b}, a @ b) == 7 * 2 * 3 * 5
    x, w = np.zeros((7, 3)), np.zeros((5, 3))
    assert tg.linear.cost({"x": x, "w": w, "bias": None}, x @ w.T) == 7 * 3 * 5
