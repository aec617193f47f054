"""What people do with Tensors out of habit: it works, or it is refused; never is it wrong."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg

pytestmark = pytest.mark.usefixtures("ops_of_its_own")


def leaf(*values: float) -> tg.Tensor:
    return tg.Tensor(list(values), requires_grad=True, name="w")


# --- NumPy's functions ---------------------------------------------------------------------------


@pytest.mark.parametrize("function", [np.cumprod, np.median, np.linalg.inv])
def test_a_numpy_function_that_would_cut_a_gradient_off_is_refused(function: Any) -> None:
    with pytest.raises(TypeError, match="would drop the graph"):
        function(leaf(1.0, 2.0, 3.0, 4.0).reshape(2, 2))


def test_numpy_functions_of_lists_that_hold_a_tensor_are_refused_too() -> None:
    w = leaf(1.0, 2.0)
    with pytest.raises(TypeError, match="would drop the graph"):
        np.block([w, w])
    with pytest.raises(TypeError, match="join them with stack"):
        tg.Tensor([w.sum(), w.mean()])


def test_numpy_functions_serve_tensors_without_a_gradient() -> None:
    assert np.cumprod(tg.Tensor([1.0, 2.0])).tolist() == [1.0, 2.0]
    assert np.block([tg.Tensor([1.0]), np.ones(1)]).tolist() == [1.0, 1.0]


def test_a_rule_that_numpy_cuts_off_raises_where_it_would_be_wrong() -> None:
    @tg.op(formula="Σx")
    def running_sum(x: Any) -> Any:
        return np.cumsum(x)

    @running_sum.derivative("x", formula="Σg from behind")
    def _(g: Any) -> Any:
        return np.flip(np.nancumsum(np.flip(g)))

    assert tg.grad(running_sum(leaf(1.0, 2.0)).sum(), leaf(1.0, 2.0))[0].tolist() == [0.0, 0.0]
    with pytest.raises(TypeError, match="would drop the graph"):
        tg.hessian(lambda x: (running_sum(x) ** 2).sum())([1.0, 2.0])


# --- changing in place ---------------------------------------------------------------------------


def test_under_no_grad_a_leaf_is_changed_in_place() -> None:
    w = leaf(1.0, 2.0)
    same = w
    with tg.no_grad():
        w -= 0.5 * np.ones(2)
        w *= 2
    assert w is same
    assert w.tolist() == [1.0, 3.0]
    assert w.requires_grad


def test_a_recorded_change_of_a_leaf_is_refused() -> None:
    w = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"sub: .* change it in place under no_grad"):
        w -= 1.0


def test_a_result_is_rebound() -> None:
    w = leaf(1.0, 2.0)
    y = w * 1.0
    y += 1.0
    y.sum().backward()
    assert w.grad is not None
    assert w.grad.tolist() == [1.0, 1.0]


def test_a_leaf_changed_in_place_is_missed_by_no_graph_that_had_saved_it() -> None:
    w = leaf(1.0, 2.0)
    y = (w * w).sum()
    with tg.no_grad():
        w += 1.0
    with pytest.raises(tg.ChangedInPlaceError, match=r"^w of shape \(2,\)"):
        y.backward()


def test_an_integer_leaf_is_not_truncated() -> None:
    x = tg.Tensor(np.array([3, 5]))
    with tg.no_grad(), pytest.raises(TypeError, match="got float32, which int64 cannot hold"):
        x /= 2
    with tg.no_grad():
        x += 2
    assert x.tolist() == [5, 7]


def test_a_gradient_is_never_the_value_itself() -> None:
    @tg.op(formula="x²/2")
    def half_square(x: Any) -> Any:
        return x * x / 2

    @half_square.derivative("x", formula="x, for g = 1")
    def _(g: Any, *, x: Any) -> Any:
        return x

    w = leaf(2.0, 3.0)
    half_square(w).backward([1.0, 1.0])
    assert w.grad is not None
    assert not np.may_share_memory(w.grad, w._array)


# --- arguments -----------------------------------------------------------------------------------


def test_a_tensor_where_a_number_belongs_is_refused() -> None:
    slope = tg.Tensor(0.1, requires_grad=True)
    with pytest.raises(TypeError, match="leaky_relu: negative_slope is a Tensor"):
        tg.leaky_relu(leaf(1.0), slope)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda x: tg.softmax(x, temperature="hot"), "softmax: .*temperature='hot'"),
        (lambda x: tg.leaky_relu(x, "steep"), "leaky_relu: .*negative_slope='steep'"),
        (lambda x: tg.concatenate([x, x], 1.5), "concatenate: .*axis=1.5"),
        (lambda x: tg.jacobian(lambda x: 3.0)(x), "returned float, expected one Tensor"),
        (lambda x: tg.default_dtype("foo").__enter__(), "default_dtype: dtype is 'foo'"),
    ],
)
def test_what_numpy_cannot_name_is_named(call: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        call(leaf(1.0, 2.0))


def test_a_rule_without_a_result_is_named() -> None:
    @tg.op(formula="x")
    def identity(x: Any) -> Any:
        return x

    @identity.derivative("x", formula="g")
    def _(g: Any) -> None:
        pass

    with pytest.raises(TypeError, match="derivative of identity with respect to x is NoneType"):
        identity(leaf(1.0)).backward()


def test_whole_numbers_become_float32_and_never_float64() -> None:
    pixels = tg.Tensor(np.arange(3, dtype=np.uint8))
    for result in (pixels / 255, pixels * 0.5, pixels.mean(), (pixels == 1).mean()):
        assert result.dtype == np.float32
    assert (pixels * np.ones(3)).dtype == np.float64
    assert pixels.astype("f8").dtype == np.float64


def test_an_empty_list_selects_nothing() -> None:
    assert leaf(1.0, 2.0)[[]].shape == (0,)


@pytest.mark.parametrize("dtype", [int, bool, np.float32])
def test_one_hot_targets_of_any_dtype_are_labels(dtype: Any) -> None:
    logits = tg.Tensor(np.arange(6.0).reshape(2, 3))
    expected = tg.cross_entropy(logits, [2, 0]).item()
    assert tg.cross_entropy(logits, np.eye(3, dtype=dtype)[[2, 0]]).item() == expected


def test_a_class_that_is_masked_by_minus_infinity_does_not_spoil_the_loss() -> None:
    loss = tg.cross_entropy(tg.Tensor([[0.0, -np.inf, 1.0]]), [0])
    assert loss.item() == pytest.approx(np.log1p(np.e))


def test_a_loss_is_formatted_like_a_number() -> None:
    assert f"{tg.Tensor(0.12345):.2f}" == "0.12"


DEEP: dict[str, Callable[[tg.Tensor], Any]] = {
    "a list": lambda p: [p, p],
    "a tuple in a list": lambda p: [(p, 1.0)],
    "lists in lists": lambda p: [[[p]], [[p]]],
}


@pytest.mark.parametrize("nest", DEEP.values(), ids=DEEP)
@pytest.mark.parametrize(
    "use",
    [
        lambda x, values: x * values,
        lambda x, values: values - x,
        lambda x, values: tg.matmul(x, values),
        lambda x, values: tg.where(values, x, 0.0),
        lambda x, values: tg.Tensor(values),
        lambda x, values: tg.nn.Parameter(values),
    ],
)
def test_no_list_cuts_off_the_gradients_of_tensors_in_it(use: Any, nest: Any) -> None:
    p = tg.Tensor(2.0, requires_grad=True)
    with pytest.raises(TypeError, match=r"list of Tensors that require a gradient.*stack\(\)"):
        use(tg.Tensor([1.0, 2.0], requires_grad=True), nest(p))


# --- state and memory ----------------------------------------------------------------------------


def test_observers_and_scopes_are_added_where_they_are_entered() -> None:
    inner = tg.scope("inner")
    with tg.scope("outer"), inner:
        assert (leaf(1.0) * 2).node.scope == "outer.inner"


def test_a_refused_call_keeps_nothing_alive() -> None:
    x = tg.Tensor(np.zeros((2, 3, 8, 8), np.float32))
    seen = weakref.ref(x)
    gc.disable()
    try:
        with pytest.raises(ValueError, match="conv2d"):
            tg.conv2d(x, np.zeros((1, 1, 3, 3), np.float32))
        del x
        assert seen() is None
    finally:
        gc.enable()
