"""The graph and the reverse sweep: what is recorded, what flows, how much work it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn.bench.traced_memory import peak_bytes


class Visits(tg.Observer):
    """Counts the nodes a sweep visits."""

    def __init__(self) -> None:
        self.nodes: list[tg.Node] = []

    def backward(self, event: tg.BackwardEvent) -> None:
        self.nodes.append(event.node)


def leaf(value: Any, name: str | None = None) -> tg.Tensor:
    return tg.Tensor(value, requires_grad=True, dtype="f8", name=name)


# --- edges ---------------------------------------------------------------------------------------


def test_x_times_x_has_two_edges_and_both_count() -> None:
    x = leaf(3.0)
    y = x * x
    assert y.node is not None
    assert y.node.parents == (x, x)
    y.backward()
    assert x.grad == 6


def test_edges_keep_the_order_of_the_operands() -> None:
    x, w = leaf(3.0), leaf(2.0)
    assert (x - w).node.parents == (x, w)
    assert (w - x).node.parents == (w, x)
    assert tg.concatenate([x.reshape(1), w.reshape(1), x.reshape(1)]).node.op is tg.concatenate
    assert (x - 1.0).node.parents == (x, None)
    assert (1.0 - x).node.parents == (None, x)


def test_nodes_are_numbered_in_the_order_of_the_calls() -> None:
    x = leaf(1.0)
    a = x * 2
    b = x * 3
    c = b + a
    assert a.node.seq < b.node.seq < c.node.seq


def test_a_node_keeps_only_what_its_rules_need() -> None:
    x, w = leaf(np.ones(3)), tg.Tensor(np.ones(3))
    assert tg.add(x, w).node.saved == []
    (kept,) = tg.mul(x, w).node.saved  # for x: w, and nothing for w
    assert kept is w
    y = tg.exp(x)
    (kept,) = y.node.saved
    assert kept is y._array
    assert tg.sum(x, axis=0).node.saved == [(3,), 0]
    mask, *rest = tg.relu(x).node.saved
    assert mask.dtype == bool
    assert rest == []


def test_a_node_knows_shape_dtype_and_static_arguments() -> None:
    y = tg.softmax(leaf(np.ones((2, 3))), axis=0, temperature=2.0)
    assert (y.node.shape, y.node.dtype, y.node.op) == ((2, 3), np.float64, tg.softmax)
    assert dict(zip(y.node.op.static, y.node.static, strict=True)) == {
        "axis": 0, "temperature": 2.0,
    }  # fmt: skip
    assert "softmax" in repr(y.node)


def test_a_node_of_a_recorded_sweep_is_in_the_sweep_and_in_the_module_of_the_call() -> None:
    x = leaf(1.0)
    with tg.scope("outer"), tg.scope("head"):
        y = tg.tanh(x)
    with tg.scope("other"):
        (dx,) = tg.grad(y, x, create_graph=True)
    assert dx.node.scope == "other.(backward).outer.head"


# --- flow ----------------------------------------------------------------------------------------


def test_gradients_add_up_at_a_fan_out() -> None:
    x = leaf([2.0, 3.0])
    y = x * x
    (gradient,) = tg.grad((y + 3 * y - tg.exp(y)).sum(), x)
    np.testing.assert_allclose(gradient, (4 - np.exp([4.0, 9.0])) * 2 * np.array([2.0, 3.0]))


@given(
    edges=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(-2, 2)),
                   min_size=1, max_size=12)
)  # fmt: skip
def test_the_gradient_is_the_sum_over_all_paths(edges: list[tuple[int, int, int]]) -> None:
    """Of any linear graph: each value is a + k·b for two earlier ones."""
    x = leaf(1.0)
    values, slopes = [x], [1]
    for a, b, k in edges:
        i, j = a % len(values), b % len(values)
        values.append(values[i] + k * values[j])
        slopes.append(slopes[i] + k * slopes[j])
    (gradient,) = tg.grad(values[-1], x)
    assert gradient == slopes[-1]


def test_forty_diamonds_are_forty_visits() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(40):
        y = y + y
    visits = Visits()
    with tg.observe(visits):
        y.backward()
    assert len(visits.nodes) == 40
    assert x.grad == 2.0**40


def test_forty_diamonds_of_two_branches_are_linear_work_with_grad_too() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(40):
        y = y * 0.5 + y * 0.5
    visits = Visits()
    with tg.observe(visits):
        (gradient,) = tg.grad(y, x)
    assert len(visits.nodes) == len(set(visits.nodes)) == 120
    assert gradient == 1


def test_a_sweep_visits_the_newest_node_first_and_each_once() -> None:
    x = leaf(0.5)
    a = x * 2
    b = tg.exp(a)
    y = b * a + x
    visits = Visits()
    with tg.observe(visits):
        y.backward()
    numbers = [node.seq for node in visits.nodes]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) == 4


def test_grad_visits_only_what_leads_to_what_is_asked_for() -> None:
    x, w = leaf(0.5), leaf(2.0)
    y = tg.exp(tg.exp(tg.exp(x))) + w * w
    visits = Visits()
    with tg.observe(visits):
        (gradient,) = tg.grad(y, w)
    assert [node.op.name for node in visits.nodes] == ["add", "mul"]
    assert gradient == 4


def test_nothing_flows_to_what_needs_no_gradient() -> None:
    x, constant = leaf(2.0), tg.Tensor(3.0, dtype="f8")
    y = x * constant + constant
    y.backward()
    assert constant.grad is None
    assert not (constant * 2).requires_grad


# --- .grad ---------------------------------------------------------------------------------------


def test_what_a_weight_gradient_allocates_is_free_before_the_gradient_of_the_data() -> None:
    x, w = leaf(np.ones((1000, 1000))), leaf(2.0)
    y = x * w  # the rule of w multiplies g by x before it sums
    g = np.ones(y.shape)
    peak = peak_bytes(lambda: y.backward(g))
    assert 2 * g.nbytes <= peak < 2.5 * g.nbytes  # a copy of g beside one other array


def test_grad_of_a_leaf_accumulates_over_backwards() -> None:
    x = leaf([1.0, 2.0])
    (x * x).sum().backward()
    (3 * x).sum().backward()
    np.testing.assert_array_equal(x.grad, [5, 7])


def test_backward_fills_leaves_only() -> None:
    x = leaf(2.0)
    y = x * x
    z = y * 3
    z.backward()
    assert y.grad is None
    assert z.grad is None
    assert x.grad == 12


def test_backward_of_a_leaf_is_its_gradient() -> None:
    x = leaf([1.0, 2.0])
    x.backward([3.0, 4.0])
    np.testing.assert_array_equal(x.grad, [3, 4])


def test_gradient_may_be_an_array_a_list_or_a_tensor() -> None:
    x = leaf([1.0, 2.0])
    for gradient in (np.array([1.0, 10.0], "f4"), [1, 10], tg.Tensor([1.0, 10.0])):
        for y, expected in ((x * x, [2, 40]), (x, [1, 10])):
            (dx,) = tg.grad(y, x, gradient=gradient)
            np.testing.assert_array_equal(dx, expected)
            assert dx.dtype == np.float64


def test_a_gradient_with_a_graph_is_not_the_tensor_that_flowed_in() -> None:
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    u = w * 2
    x.backward(u, create_graph=True)
    assert x.grad is not u
    assert tg.grad(x.grad.sum(), w)[0].tolist() == [2, 2]


def test_gradient_must_have_the_shape_and_does_not_broadcast() -> None:
    x = leaf(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"\(3,\).*\(2, 3\)"):
        (x * 2).backward(np.ones(3))


def test_two_leaves_of_a_sum_share_no_gradient() -> None:
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    (x + w).backward([5.0, 6.0])
    assert not np.shares_memory(x.grad, w.grad)
    x.grad[0] = 99
    np.testing.assert_array_equal(w.grad, [5, 6])


@pytest.mark.parametrize("shape", [(), (2,), (2, 1)])
def test_gradients_share_memory_with_nothing(shape: tuple[int, ...]) -> None:
    x, w = leaf(np.ones(shape)), leaf(np.ones(shape))
    passed = np.ones(shape)
    y = tg.reshape(x + w, shape) + x.T.T + tg.flip(tg.flip(w))
    y.backward(passed, retain_graph=True)
    more = tg.grad(y, [x, w, x, y], gradient=passed, retain_graph=True)
    arrays = [passed, x.grad, w.grad, x._array, w._array, y._array, *more]
    for i, a in enumerate(arrays):
        assert not any(np.shares_memory(a, b) for b in arrays[:i])
        assert i < 4 or a.flags.writeable


def test_gradients_with_a_graph_are_tensors_of_their_own() -> None:
    x, y = tg.Tensor([1.0, 2.0], requires_grad=True), tg.Tensor([3.0, 4.0], requires_grad=True)
    u = tg.Tensor([5.0, 6.0], requires_grad=True)
    for seed in (np.ones(2), tg.Tensor([1.0, 1.0]), u, u * 2):
        found = tg.grad(x + y, [x, y, x], gradient=seed, create_graph=True)
        assert len({id(g) for g in [*found, seed]}) == 4
    (first, second, _) = tg.grad(x + y, [x, y, x], gradient=u, create_graph=True)
    assert tg.grad((first * second).sum(), u)[0].tolist() == [10.0, 12.0]


def test_gradients_that_are_views_of_one_array_on_the_way_are_arrays_of_their_own() -> None:
    x, w, v = (leaf(np.ones((2, 3))) for _ in range(3))
    (x.T + w.T.reshape(3, 2) + tg.broadcast_to(v.sum(), (3, 2))).backward(np.ones((3, 2)))
    grads = [x.grad, w.grad, v.grad]
    for gradient in grads:
        gradient[0, 0] = 99
        assert (gradient == 99).sum() == 1
    assert not any(np.shares_memory(a, b) for a, b in [grads[:2], grads[1:], grads[::2]])


def test_writing_to_a_gradient_changes_no_later_one() -> None:
    """Not through a retained graph either."""
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    y = (x * w).sum()
    for _ in range(3):
        x.grad = w.grad = None
        y.backward(retain_graph=True)
        x.grad *= 100
        w.grad[...] = -1
    np.testing.assert_array_equal(tg.grad(y, [x, w]), [[3, 4], [1, 2]])


@pytest.mark.usefixtures("ops_of_its_own")
def test_an_error_in_a_rule_leaves_every_grad_as_it_was() -> None:
    @tg.op(formula="x")
    def breaks_backward(x: Any) -> Any:
        return x * 1

    @breaks_backward.derivative("x", formula="none")
    def _(g: Any) -> Any:
        raise ZeroDivisionError("in the rule")

    x, w = leaf(1.0), leaf(2.0)
    (x * w).backward()
    before = x.grad, w.grad
    y = breaks_backward(x * w) + x * w + tg.exp(w)
    with pytest.raises(ZeroDivisionError, match="in the rule"):
        y.backward()
    assert (x.grad, w.grad) == (2, 1)
    assert x.grad is before[0]
    assert w.grad is before[1]
    assert (x * 1).requires_grad  # and recording is as it was


@pytest.mark.usefixtures("ops_of_its_own")
def test_a_rule_that_returns_the_wrong_shape_is_named() -> None:
    @tg.op(formula="Σ x")
    def sums_badly(x: Any) -> Any:
        return np.sum(x)

    sums_badly.derivative("x", formula="g")(lambda g: g)
    x = leaf([1.0, 2.0])
    with pytest.raises(ValueError, match=r"sums_badly .* x has shape \(\), expected \(2,\)"):
        sums_badly(x).backward()
    assert x.grad is None


# --- grad ----------------------------------------------------------------------------------------


def test_grad_with_respect_to_interior_tensors() -> None:
    x = leaf([1.0, 2.0])
    y = x * x
    z = (y * y).sum()
    dz_dy, dz_dx = tg.grad(z, [y, x])
    np.testing.assert_array_equal(dz_dy, [2, 8])
    np.testing.assert_array_equal(dz_dx, [4, 32])
    assert x.grad is None


def test_grad_with_respect_to_an_interior_tensor_counts_only_what_flows_through_it() -> None:
    x = leaf(3.0)
    y = x * 2
    z = y * x
    assert tg.grad(z, y)[0] == 3
    assert tg.grad(y, y)[0] == 1


def test_grad_of_something_unused_is_zeros_of_its_shape_and_dtype() -> None:
    x, unused = leaf(3.0), tg.Tensor(np.ones((2, 3), "f4"), requires_grad=True)
    dx, zeros = tg.grad(x * x, [x, unused])
    assert dx == 6
    np.testing.assert_array_equal(zeros, np.zeros((2, 3)))
    assert zeros.dtype == np.float32
    (zeros,) = tg.grad(x * x, [unused], create_graph=True)
    assert isinstance(zeros, tg.Tensor)
    assert not zeros.requires_grad


def test_grad_with_respect_to_the_same_tensor_twice() -> None:
    x = leaf([3.0])
    first, second = tg.grad(x * x, [x, x])
    assert first == second == 6
    assert not np.shares_memory(first, second)


def test_grad_takes_one_tensor_or_any_sequence() -> None:
    x = leaf(3.0)
    assert tg.grad(x * x, x) == [6]
    assert tg.grad(x * x, (x,)) == [6]
    assert tg.grad(x * x, []) == []


# --- twice ---------------------------------------------------------------------------------------


def test_a_second_backward_raises() -> None:
    x = leaf(3.0)
    y = x * x
    y.backward()
    with pytest.raises(tg.GraphFreedError, match=r"mul.*retain_graph=True"):
        y.backward()
    assert x.grad == 6


def test_a_backward_through_a_freed_part_raises_and_adds_nothing() -> None:
    x = leaf(3.0)
    y = x * x
    a, b = tg.exp(y), y * 2
    a.backward()
    before = x.grad.copy()
    with pytest.raises(tg.GraphFreedError):
        b.backward()
    with pytest.raises(tg.GraphFreedError):
        tg.grad(b, x)
    assert x.grad == before


def test_retain_graph_allows_another() -> None:
    x = leaf(3.0)
    y = x * x
    y.backward(retain_graph=True)
    assert tg.grad(y, x, retain_graph=True) == [6]
    assert tg.grad(y, x, create_graph=True)[0].item() == 6
    y.backward()
    assert x.grad == 12
    with pytest.raises(tg.GraphFreedError):
        y.backward()


def test_grad_leaves_what_it_did_not_visit_to_another_sweep() -> None:
    x, w = leaf(2.0), leaf(3.0)
    a, b = x * x, w * w
    y = a + b
    assert tg.grad(y, x, retain_graph=True) == [4]
    assert tg.grad(y, w) == [6]


def test_a_gradient_set_to_a_tensor_is_added_to() -> None:
    p = leaf([1.0, 2.0])
    p.grad = tg.Tensor([10.0, 20.0])
    (p * p).sum().backward()
    assert type(p.grad) is np.ndarray
    assert p.grad.tolist() == [12.0, 24.0]
