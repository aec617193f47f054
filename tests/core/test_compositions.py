"""Derivatives of whole compositions: ops of every kind on each other's results, of any shape."""

from __future__ import annotations

from hypothesis import given
from support.compositions import Composition, compositions
from support.drawing import at_least

from tinygrad_cnn.check import check_gradients


@at_least(100)
@given(compositions())
def test_derivatives_to_second_order(f: Composition) -> None:
    check_gradients(f, *f.arguments(), order=2)
