"""What holds for every composition of ops: its value, its dtypes, its gradients."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.composed import COMPOSED

import tinygrad_cnn as tg
from tinygrad_cnn import ops
from tinygrad_cnn.check import check_gradients, strategies
from tinygrad_cnn.core.composition import COMPOSITIONS


def test_every_composition_is_exported_documented_and_in_the_table() -> None:
    assert set(COMPOSITIONS) == set(COMPOSED)
    for name, made in COMPOSITIONS.items():
        assert name in ops.__all__, name
        assert made.formula, name
        assert ">>> " in (inspect.getdoc(made.function) or ""), name
        assert name not in tg.OPS, name
        assert made.differentiable == (COMPOSED[name].order > 0), name


@pytest.mark.parametrize("name", sorted(COMPOSED))
@settings(max_examples=8)
@given(data=st.data())
def test_a_composition_computes_and_differentiates_what_it_says(
    name: str, data: st.DataObject
) -> None:
    composed = COMPOSED[name]
    function = composed.function or COMPOSITIONS[name].function
    arrays, options = composed.calls(data.draw, strategies)
    expected = composed.reference(*arrays, **options)
    y = function(*arrays, **options)
    assert isinstance(y, np.ndarray | np.generic | bool)
    np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-12)
    if composed.order:
        singles = [tg.Tensor(array.astype(np.float32), requires_grad=True) for array in arrays]
        single = function(*singles, **options)
        assert isinstance(single, tg.Tensor)
        assert single.dtype == np.float32
        assert single.shape == np.shape(expected)
        for gradient, array in zip(tg.grad(single.sum(), singles), arrays, strict=True):
            assert (gradient.shape, gradient.dtype) == (array.shape, np.float32)
        check_gradients(
            lambda *tensors: function(*tensors, **options), *arrays, order=composed.order
        )
