"""derive: bad input is refused, and nothing but the page comes of good input."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from support.derived import network, perceptron

import tinygrad_cnn as tg
from tinygrad_cnn.derivation import derive


def test_no_gradient_is_touched_no_observer_told_and_the_graph_stays() -> None:
    model, loss = perceptron()

    class Loud(tg.Observer):
        def backward(self, event: tg.BackwardEvent) -> None:
            raise AssertionError

    with tg.observe(Loud()):
        derivation = derive(loss, model.fc[0].weight)
    assert all(p.grad is None for p in model.parameters())
    loss.backward(retain_graph=True)
    assert derivation.held is None
    after = derive(loss, model.fc[0].weight)
    assert after.held == after.difference
    assert "equals fc.0.weight.grad: yes" in str(after)
    loss.backward()
    np.testing.assert_array_equal(model.fc[0].weight.grad, 2 * derivation.gradient)


def test_a_gradient_that_was_added_up_is_told_from_this_one() -> None:
    w = tg.Tensor([1.0, 2.0], requires_grad=True, name="w")
    for _ in range(2):
        (w * 3).sum().backward()
    page = str(derive((w * 3).sum(), w))
    assert "equals the w.grad that backward() computes: yes (largest difference 0)" in page
    assert "w.grad now differs (largest difference 3)" in page


def test_the_same_model_gives_the_same_page() -> None:
    pages = [derive(network("residual")[1], "stem.weight").markdown() for _ in range(2)]
    assert pages[0] == pages[1]


W = tg.Tensor([1.0, 2.0], requires_grad=True, name="w")


@pytest.mark.parametrize(
    ("y", "wrt", "error", "message"),
    [
        (3.0, W, TypeError, r"^derive: y is float, expected Tensor$"),
        (W, W, ValueError, r"^derive: y, w of shape \(2,\), has no graph: it is a leaf"),
        (tg.Tensor(1.0), W, ValueError, r"has no graph"),
        (W * 2, W, ValueError, r"y has shape \(2,\), expected one element: derive a loss"),
        (W.sum(), 3, TypeError, r"^derive: wrt is int, expected Tensor or a name$"),
        (W.sum(), "v", ValueError, r"wrt is 'v', which is not a parameter of y; expected one of w"),
        (W.sum(), tg.Tensor(1.0, requires_grad=True, name="v"), ValueError,
         r"no path leads from y to wrt, v of shape \(\): y does not depend on it"),
        (W.sum(), tg.Tensor(1.0, name="v"), ValueError, r"wrt, v .*does not require a gradient"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(y: Any, wrt: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        derive(y, wrt)


def test_a_name_that_is_almost_right_gets_a_hint() -> None:
    _, loss = perceptron()
    with pytest.raises(ValueError, match=r"did you mean 'fc\.1\.weight'\?"):
        derive(loss, "fc1.weight")


def test_names_that_say_nothing_are_refused() -> None:
    nameless = tg.Tensor(1.0, requires_grad=True)
    with pytest.raises(ValueError, match="has a name; pass the Tensor itself"):
        derive(nameless * 2, "w")
    both = [tg.Tensor(1.0, requires_grad=True, name="w") for _ in range(2)]
    with pytest.raises(ValueError, match="2 Tensors are named 'w'"):
        derive(both[0] * both[1], "w")
    with pytest.raises(TypeError, match="names is list, expected a Module, or a dict of Tensors"):
        derive(W.sum(), W, names=[W])
    with pytest.raises(ValueError, match="derive: depth is -1, expected an integer >= 0"):
        derive(W.sum(), W, depth=-1)


def test_the_result_itself_is_no_wrt() -> None:
    y = W.sum()
    with pytest.raises(ValueError, match="no path leads from y to wrt"):
        derive(y, y)


def test_a_freed_or_overwritten_graph_is_refused() -> None:
    w = tg.Tensor([1.0, 2.0], requires_grad=True, name="w")
    y = (w * w).sum()
    y.backward()
    with pytest.raises(tg.GraphFreedError, match="retain_graph=True"):
        derive(y, w)
    y = (w * w).sum()
    w.data += 1.0
    with pytest.raises(tg.ChangedInPlaceError, match="w of shape"):
        derive(y, w)


def test_nan_and_infinity_are_shown_as_they_are() -> None:
    x = tg.Tensor([0.0, 1.0], requires_grad=True, name="x")
    with np.errstate(all="ignore"):
        derivation = derive((tg.sqrt(x) * 0.0).sum(), x)
    assert math.isnan(derivation.product[-1].after)
    assert derivation.agrees()
    assert "nan" in str(derivation)
