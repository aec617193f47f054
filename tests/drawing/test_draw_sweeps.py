"""Traces of several sweeps, whose drawn gradients equal `.grad`, and recorded sweeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn import nn

ACTIONS = ("backward", "twice", "zero", "grad", "hook", "in place")


def drawn_gradients(trace: tg.drawing.Trace) -> dict[str, Any]:
    drawing = trace.draw()
    return {n.name: drawing.arrays.gradients.get(n.id) for n in drawing.full.nodes if n.name}


@given(st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=6), st.booleans())
@example(["backward", "zero", "backward"], False)
@example(["backward", "grad"], False)
@example(["grad", "backward"], False)
@example(["hook", "twice"], True)
def test_the_drawn_gradient_of_a_leaf_is_its_grad(actions: list[str], has_one: bool) -> None:
    w = tg.Tensor([1.0, 2.0], requires_grad=True, dtype="f8", name="w")
    if has_one:
        w.grad = np.array([10.0, 20.0])
    swept = False
    expected = None
    with tg.trace() as trace:
        for i, action in enumerate(actions):
            y = (tg.tanh(w * (i + 1.0)) * w).sum()
            if action == "backward":
                y.backward()
            elif action == "twice":
                y.backward(retain_graph=True)
                y.backward()
            elif action == "zero":
                w.grad = None
            elif action == "grad":
                (found,) = tg.grad(y, w)
                expected = expected if swept else found
            elif action == "hook":
                w.register_hook(lambda g: g * 3.0)
            elif w.grad is not None:
                w.grad = w.grad * 0.5
            if action in ("backward", "twice"):
                swept, expected = True, np.array(w.grad)
    drawn = drawn_gradients(trace)["w"]
    if expected is None:
        assert drawn is None
    else:
        np.testing.assert_array_equal(drawn, expected)


def test_a_training_loop_is_drawn_with_its_last_gradients() -> None:
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(4, 8, rng=rng), nn.ReLU(), nn.Linear(8, 3, rng=rng))
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
    x = rng.standard_normal((5, 4)).astype("f4")
    with tg.trace() as trace:
        for _ in range(3):
            optimizer.zero_grad()
            tg.cross_entropy(model(x), [0, 1, 2, 0, 1]).backward()
            gradients = {n: np.array(p.grad) for n, p in model.named_parameters()}
            optimizer.step()
    drawn = drawn_gradients(trace)
    for name, gradient in gradients.items():
        np.testing.assert_array_equal(drawn[name], gradient)


def test_a_gradient_that_the_edges_do_not_add_up_to_says_so() -> None:
    w = tg.Tensor([1.0, 2.0], requires_grad=True, name="w")
    w.register_hook(lambda g: g * 10.0)
    with tg.trace() as trace:
        (w * 3.0).sum().backward()
    drawing = trace.draw(values=True)
    (node,) = [node for node in drawing.graph.nodes if node.name == "w"]
    assert node.differs
    assert ".grad, not only from here" in drawing.source
    assert "[30, 30]" in drawing.source


def test_the_calls_of_a_recorded_sweep_have_a_frame_of_their_own() -> None:
    rng = np.random.default_rng(0)
    critic = nn.Sequential(nn.Linear(4, 8, rng=rng), nn.Tanh(), nn.Linear(8, 1, rng=rng))
    x = tg.Tensor(rng.standard_normal((5, 4)).astype("f4"), requires_grad=True, name="x")
    (slope,) = tg.grad(critic(x).sum(), x, create_graph=True)
    penalty = ((slope * slope).sum(1) - 1.0).sum()
    graph = penalty.draw(names=critic).graph
    of_sweep = {scope.name for scope in graph.scopes if scope.path.startswith("(backward)")}
    inside = {node.op for node in graph.nodes if node.scope in of_sweep and node.op}
    outside = {node.op for node in graph.nodes if node.scope not in of_sweep and node.op}
    assert "matmul" in inside
    assert {"tanh", "linear"} <= outside
    assert "matmul" not in outside
    assert {"(backward).0", "(backward).2"} <= {scope.path for scope in graph.scopes}
    source = penalty.draw(names=critic).source
    assert 'class="scope sweep"' in source
    assert 'class="scope sweep"' not in critic(x).sum().draw().source


def marked(trace: tg.drawing.Trace) -> list[str]:
    drawing = trace.draw(heat="gradient")
    marks = drawing.marks
    return [
        n.name
        for n in drawing.graph.nodes
        if any(m.name == "first NaN" for m in marks.get(n.id, ()))
    ]


def test_the_first_of_two_causes_of_a_nan_is_marked() -> None:
    x = tg.Tensor([1.0, 1000.0], requires_grad=True, name="x")
    with tg.trace() as trace, np.errstate(all="ignore"):
        a, b = tg.exp(x), tg.exp(x * 2.0)  # both overflow; their difference is NaN
        (b - a).sum().backward()
    drawn = trace.draw(heat="gradient", names={"a": a, "b": b})
    first = [
        n.name
        for n in drawn.graph.nodes
        if "first NaN" in {m.name for m in drawn.marks.get(n.id, ())}
    ]
    assert first == ["a"]


def test_an_infinity_that_leads_to_no_nan_is_not_its_cause() -> None:
    x = tg.Tensor([0.0, 1.0], requires_grad=True, name="x")
    with tg.trace() as trace, np.errstate(all="ignore"):
        logits = tg.where(np.array([True, False]), x, -np.inf)  # a mask, as in attention
        tg.softmax(logits)
        (tg.sqrt(x) * 2.0).sum().backward()
        tg.log(x - 2.0).sum().backward()
    assert marked(trace) == ["log"]


@pytest.mark.parametrize("complete", [True, False])
def test_a_nan_in_the_data_is_its_own_cause(complete: bool) -> None:
    x = tg.Tensor([np.nan, 1.0], name="x")
    w = tg.Tensor([1.0, 1.0], requires_grad=True, name="w")
    with tg.trace() as trace:
        y = tg.tanh(w) * x
        if complete:
            y.sum().backward()
        else:
            (w * 1.0).sum().backward()
    assert marked(trace) == ["x"]


def test_a_sweep_that_failed_leaves_nothing_in_the_trace() -> None:
    w, v = (tg.Tensor([2.0], requires_grad=True, name=name) for name in "wv")
    failing = iter([True, False])

    def hook(g: Any) -> None:
        if next(failing):
            raise ValueError("not now")

    with tg.trace() as trace:
        y = w * v
        y.register_hook(hook)
        z = (y * 3.0).sum()
        with pytest.raises(ValueError, match="not now"):
            z.backward(retain_graph=True)
        z.backward()
    gradients = {n.name: n.gradient.mean for n in trace.draw().full.nodes if n.gradient}
    assert gradients["sum"] == 1.0
    assert gradients["w"] == 6.0
