"""Hooks on gradients, gradients of results, and gradients in ``.grad`` that have a graph."""

from __future__ import annotations

import copy
import functools
import gc
import io
import pickle
import weakref
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.core.hooks import observe_leaves


def leaf(*values: float, dtype: str = "f4") -> tg.Tensor:
    return tg.Tensor(np.array(values, dtype), requires_grad=True, name="w")


# --- hooks ---------------------------------------------------------------------------------------


def test_a_hook_gets_the_whole_gradient_of_a_sweep_once() -> None:
    w, seen = leaf(1.0, 2.0), []
    y = w * 3
    w.register_hook(lambda g: seen.append(("w", g.tolist())))
    y.register_hook(lambda g: seen.append(("y", g.tolist())))
    (y * y + y).sum().backward()
    assert seen == [("y", [7.0, 13.0]), ("w", [21.0, 39.0])]
    assert w.grad.tolist() == [21.0, 39.0]


@pytest.mark.parametrize("on", ["leaf", "result"])
@pytest.mark.parametrize("create_graph", [False, True])
def test_what_a_hook_returns_replaces_the_gradient(on: str, create_graph: bool) -> None:
    w = leaf(1.0, 2.0)
    y = w * 3
    (w if on == "leaf" else y).register_hook(lambda g: g * 10)
    (y if on == "result" else w).register_hook(lambda g: g + 1)
    expected = np.array([3.0, 3.0]) * 10 + 1 if on == "leaf" else np.array([11.0, 11.0]) * 3
    np.testing.assert_array_equal(tg.grad(y.sum(), w, create_graph=create_graph)[0], expected)
    y = w * 3
    if on == "result":
        y.register_hook(lambda g: g * 10)
        y.register_hook(lambda g: g + 1)
    y.sum().backward(create_graph=create_graph)
    np.testing.assert_array_equal(w.grad, expected)
    assert isinstance(w.grad, tg.Tensor) is create_graph


def test_a_replacement_is_converted_copied_and_checked() -> None:
    w = leaf(1.0, 2.0)
    mine = np.array([5.0, 6.0], "f8")
    handle = w.register_hook(lambda g: mine)
    (w * w).sum().backward()
    w.grad[...] = 0
    assert mine.tolist() == [5.0, 6.0]
    assert w.grad.dtype == np.float32
    handle.remove()
    for bad in (np.zeros(3), 1.0, [1.0, 2.0, 3.0], ["a", "b"]):
        with (
            w.register_hook(lambda g, bad=bad: bad),
            pytest.raises(
                ValueError,
                match=r"the hook .*lambda.* returned .* expected a gradient of shape \(2,\)",
            ),
        ):
            (w * w).sum().backward()
    with w.register_hook(lambda g: tg.Tensor([7.0, 8.0])):
        (w * w).sum().backward()
    assert w.grad.tolist() == [7.0, 8.0]
    assert type(w.grad) is np.ndarray


def test_a_hook_cannot_change_the_gradient_in_place() -> None:
    w, held = leaf(1.0), []

    def change(g: Any) -> None:
        held.append(g)
        g *= 2

    w.register_hook(change)
    with pytest.raises(ValueError, match="read-only"):
        (w * w).backward()
    w.register_hook(held.append)
    assert w.grad is None


def test_what_a_hook_keeps_stays_as_it_was() -> None:
    w, held = leaf(1.0, 2.0), []
    w.register_hook(held.append)
    (w * w).sum().backward()
    w.grad[...] = 0
    assert held[0].tolist() == [2.0, 4.0]


def test_hooks_run_in_order_until_they_are_removed() -> None:
    w, seen = leaf(1.0), []
    handles = [w.register_hook(lambda g, k=k: seen.append(k)) for k in range(3)]
    handles[1].remove()
    handles[1].remove()
    (w * w).backward()
    assert seen == [0, 2]
    with w.register_hook(lambda g: seen.append("block")) as handle:
        (w * w).backward()
    assert isinstance(handle, type(handles[0]))
    (w * w).backward()
    assert seen == [0, 2, 0, 2, "block", 0, 2]


def test_a_hook_that_removes_itself_or_adds_another_does_no_harm() -> None:
    w, seen = leaf(1.0), []

    def once(g: Any) -> None:
        seen.append("once")
        handle.remove()
        w.register_hook(lambda g: seen.append("later"))

    handle = w.register_hook(once)
    (w * w).backward()
    assert seen == ["once"]
    (w * w).backward()
    assert seen == ["once", "later"]


def test_a_hook_that_another_adds_to_a_leaf_in_the_sweep_is_run() -> None:
    x, seen = tg.Tensor(2.0, requires_grad=True), []
    y = x * 3
    y.register_hook(lambda g: x.register_hook(seen.append) and None)
    y.backward()
    assert [float(g) for g in seen] == [3.0]


def test_hooks_of_grad_run_only_where_the_gradient_flows() -> None:
    a, b, c, seen = leaf(2.0), leaf(3.0), leaf(5.0), []
    for name, x in (("a", a), ("b", b), ("c", c)):
        x.register_hook(lambda g, name=name: seen.append(name))
    side = b * 2
    side.register_hook(lambda g: seen.append("side"))
    tg.grad(a * c + side, a)
    assert seen == ["a"]


@pytest.mark.parametrize("on", ["leaf", "result"])
def test_an_error_in_a_hook_adds_no_gradient(on: str) -> None:
    w, v = leaf(1.0), leaf(2.0)
    w.grad = np.array([5.0], "f4")
    y = w * v
    y.retain_grad()

    def fail(g: Any) -> None:
        raise RuntimeError("no")

    handle = (w if on == "leaf" else y).register_hook(fail)
    with pytest.raises(RuntimeError, match="no"):
        (y * y).backward()
    assert (w.grad.tolist(), v.grad, y.grad) == ([5.0], None, None)
    assert (w * 1).requires_grad  # recording is on again
    handle.remove()
    (w * v).backward()
    assert w.grad.tolist() == [7.0]


def test_only_tensors_that_get_a_gradient_take_hooks() -> None:
    for x in (tg.Tensor([1.0]), tg.Tensor([1.0]) * 2):
        with pytest.raises(RuntimeError, match=r"register_hook: .* does not require a gradient"):
            x.register_hook(print)
        with pytest.raises(RuntimeError, match=r"retain_grad: .* does not require a gradient"):
            x.retain_grad()
    with pytest.raises(TypeError, match="hook is 3, expected a function"):
        leaf(1.0).register_hook(3)


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_a_copy_has_no_hooks(copied: Any) -> None:
    w, seen = leaf(1.0), []
    w.register_hook(seen.append)
    again = copied(w)
    (again * again).backward()
    assert seen == []
    assert again.grad.tolist() == [2.0]


def test_a_graph_with_hooks_is_freed_by_reference_counting() -> None:
    w = leaf(1.0)
    gc.disable()
    try:
        y = w * w
        y.retain_grad()
        y.register_hook(functools.partial(print, y, file=io.StringIO()))  # a cycle until freed
        node = weakref.ref(y.node)
        y.backward()
        del y
        assert node() is None
    finally:
        gc.enable()


# --- gradients of results ------------------------------------------------------------------------


def test_a_result_keeps_its_gradient_after_all_hooks() -> None:
    w = leaf(1.0, 2.0)
    y = w * 3
    y.retain_grad()
    y.retain_grad()
    y.register_hook(lambda g: g * 2)
    loss = (y * y).sum()
    loss.backward(retain_graph=True)
    assert y.grad.tolist() == [12.0, 24.0]
    loss.backward()
    assert y.grad.tolist() == [24.0, 48.0]
    w.retain_grad()  # a leaf does so anyway
    tg.grad((w * w).sum(), w)
    assert w.grad.tolist() == [72.0, 144.0]


def test_grad_touches_no_kept_gradient() -> None:
    w = leaf(1.0)
    y = w * 3
    y.retain_grad()
    tg.grad(y * y, w)
    assert y.grad is None


def test_a_kept_gradient_shares_no_memory() -> None:
    w = leaf(1.0, 2.0)
    y = w + 0
    y.retain_grad()
    y.sum().backward()
    y.grad[...] = 7
    assert w.grad.tolist() == [1.0, 1.0]


def test_a_dropped_result_keeps_nothing() -> None:
    w = leaf(1.0)
    y = w * 3
    y.retain_grad()
    z = y * y
    del y
    z.backward()
    assert w.grad.tolist() == [18.0]


# --- gradients with a graph ----------------------------------------------------------------------


def test_backward_with_a_graph_gives_gradients_to_differentiate() -> None:
    w = leaf(2.0, 3.0, dtype="f8")
    (w**3).sum().backward(create_graph=True)
    assert isinstance(w.grad, tg.Tensor)
    (second,) = tg.grad(w.grad.sum(), w)
    np.testing.assert_allclose(second, 6 * w.data)


def test_gradients_with_a_graph_add_up() -> None:
    w = leaf(2.0, dtype="f8")
    w.grad = np.array([1.0])
    for _ in range(2):
        (w**3).backward(create_graph=True)
    assert w.grad.item() == 1 + 2 * 12
    assert tg.grad(w.grad, w)[0].item() == 2 * 12
    (w * w).backward()  # without: an array again
    assert type(w.grad) is np.ndarray
    assert w.grad.item() == 25 + 4


def test_a_penalty_on_the_gradient_trains() -> None:
    w, x = leaf(1.5, dtype="f8"), leaf(0.5, dtype="f8")
    tg.tanh(w * x).backward(create_graph=True)
    penalty = (x.grad * x.grad).sum()
    w.grad = None
    penalty.backward()
    h = 1e-6
    slope = [(v * (1 - np.tanh(v * 0.5) ** 2)) ** 2 for v in (1.5 - h, 1.5 + h)]
    np.testing.assert_allclose(w.grad, [(slope[1] - slope[0]) / (2 * h)], rtol=1e-7)


def test_a_gradient_with_a_graph_is_an_optimizers_and_is_copied_as_a_value() -> None:
    w = leaf(2.0)
    (w * w).backward(create_graph=True)
    again = copy.deepcopy(w)
    assert again.grad.is_leaf
    assert again.grad.tolist() == [4.0]
    tg.optim.SGD([w], 0.5).step()
    assert w.tolist() == [0.0]


def test_backward_with_a_graph_under_no_grad() -> None:
    w = leaf(2.0)
    y, z = w**3, w**2
    with tg.no_grad():
        y.backward(create_graph=True)
        z.backward(create_graph=True)
    assert tg.grad(w.grad, w)[0].item() == 6 * 2 + 2


# --- recording -----------------------------------------------------------------------------------


def test_set_grad_enabled_is_no_grad_or_enable_grad() -> None:
    w = leaf(1.0)

    @tg.set_grad_enabled(False)
    def off() -> bool:
        return bool((w * 2).requires_grad)

    assert not off()
    with tg.set_grad_enabled(False):
        assert not (w * 2).requires_grad
        with tg.set_grad_enabled(True):
            assert (w * 2).requires_grad
    assert (w * 2).requires_grad


# --- observers of leaves -------------------------------------------------------------------------


class Finals(tg.Observer):
    """The leaves whose gradient is final, among the steps of the sweep."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.gradients: dict[tg.Tensor, Any] = {}
        self.earlier: list[Any] = []
        self.swept_leaves: list[Any] = []

    def backward(self, event: tg.BackwardEvent) -> None:
        self.events.append(event.node.op.name)

    def final(self, leaf: Any, gradient: Any) -> None:
        assert leaf not in self.gradients
        self.events.append(leaf.name)
        self.gradients[leaf] = np.array(gradient)
        self.earlier.append(leaf.grad)

    def swept(self, gradients: Any, accumulates: bool) -> None:
        assert accumulates
        self.swept_leaves.append(list(gradients))


def test_a_gradient_is_final_as_soon_as_no_step_adds_to_it() -> None:
    w, v, x = leaf(2.0), leaf(3.0), leaf(5.0)
    v.name, x.name = "v", "x"
    w.register_hook(lambda g: g + 1)
    seen = Finals()
    observe_leaves(seen, [w, v, x])
    y = tg.exp(tg.tanh(x * w) * w)  # the last use of w is the first step of the forward
    with tg.observe(seen):
        (y + v).sum().backward()
    assert seen.events == ["sum", "add", "v", "exp", "mul", "tanh", "mul", "x", "w"]
    assert seen.earlier == [None, None, None]
    assert all(np.array_equal(g, t.grad) for t, g in seen.gradients.items())
    # once for being the observer of leaves, once for being in `observe`
    assert [set(leaves) for leaves in seen.swept_leaves] == [{w, v, x}] * 2


def test_an_observer_of_leaves_hears_of_backward_only_while_it_exists() -> None:
    w, alone = leaf(2.0, 3.0), leaf(1.0)
    seen = Finals()
    observe_leaves(seen, [w, alone])
    tg.grad((w * w).sum(), w)
    assert seen.gradients == {}
    assert seen.swept_leaves == []
    alone.backward()  # no step at all
    assert seen.gradients[alone].tolist() == [1.0]
    assert seen.swept_leaves == [[alone]]
    (leaf(1.0) * 2).backward()  # another leaf
    assert len(seen.swept_leaves) == 1
    held = weakref.ref(seen)
    del seen
    assert held() is None
    (w * w).sum().backward()
    assert w.grad.tolist() == [4.0, 6.0]


@pytest.mark.parametrize("seed", range(5))
def test_each_leaf_of_a_random_graph_is_final_once_with_its_whole_gradient(seed: int) -> None:
    rng = np.random.default_rng(seed)
    leaves = [tg.Tensor(rng.normal(size=3), requires_grad=bool(i % 4)) for i in range(12)]
    nodes: list[Any] = list(leaves)
    for _ in range(40):
        a, b = rng.choice(len(nodes), 2)
        nodes.append(tg.sub(nodes[a], nodes[b]) if rng.random() < 0.5 else nodes[a] * nodes[b])
    seen = Finals()
    observe_leaves(seen, leaves)
    total = nodes[-1].sum() + nodes[-2].sum()
    for _ in range(2):  # it adds up
        total.backward(retain_graph=True)
        assert seen.gradients.keys() == {t for t in leaves if t.grad is not None}
        first = dict(seen.gradients)
        seen.gradients.clear()
    for t, gradient in first.items():
        np.testing.assert_array_equal(t.grad, 2 * gradient)
