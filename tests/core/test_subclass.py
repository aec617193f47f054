"""A subclass of Tensor: results of ops and gradients take it."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.core.variable import Variable


class Own(tg.Tensor):
    """A subclass whose gradient is read through a property."""

    @property
    def grad(self) -> object:
        return None if self._grad is None else ("gradient", self._grad)

    def mean(self, *args: object, **kwargs: object) -> tg.Tensor:
        raise AssertionError("the package calls ops, not methods")


Own._tensor = Own
VALUES = np.array([1.0, 2.0, 3.0])


@pytest.mark.parametrize("plain", [2.0, VALUES, tg.Tensor(VALUES), tg.nn.Parameter(VALUES)])
def test_results_take_the_subclass_beside_any_other_operand(plain: object) -> None:
    own = Own(VALUES)
    results = own * plain, plain * own, tg.where(own > 0, plain, own), own < plain, own.detach()
    assert [type(result) for result in results] == [Own] * 5
    assert type(tg.stack([tg.Tensor(VALUES), own])) is Own


def test_results_of_parameters_are_tensors() -> None:
    assert type(tg.nn.Parameter(VALUES) * 2.0) is tg.Tensor


def test_gradients_take_the_subclass() -> None:
    own, other = Own(VALUES, requires_grad=True), Own(VALUES, requires_grad=True)
    slopes = tg.grad((own * own).sum(), [own, other], create_graph=True)
    assert [type(slope) for slope in slopes] == [Own, Own]
    assert tg.grad(slopes[0].sum(), own)[0].tolist() == [2.0, 2.0, 2.0]


def test_backward_and_optimizers_use_the_slot_below_a_redefined_grad() -> None:
    own = Own(VALUES, requires_grad=True)
    for _ in range(2):
        (own * 2.0).sum().backward()
    assert own.grad == ("gradient", own._grad)
    assert isinstance(own._grad, np.ndarray)
    assert own._grad.tolist() == [4.0, 4.0, 4.0]
    tg.optim.SGD([own], lr=0.25).step()
    assert own.tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("view", [False, True])
def test_a_change_of_an_unrecorded_result_is_found(view: bool) -> None:
    w = tg.Tensor(VALUES, requires_grad=True)
    with tg.no_grad():
        computed = w * 2.0
        changed: Variable = computed.reshape(3, 1) if view else computed
    product = w * computed
    changed._array[...] = 5.0
    (changed if changed._owner is None else changed._owner)._mark_changed()
    with pytest.raises(tg.ChangedInPlaceError):
        product.sum().backward()
