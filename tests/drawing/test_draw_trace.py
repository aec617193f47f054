"""`tg.trace()`: values, times and bytes as they happen, under no_grad and up to an error."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import nn


class Cell(nn.Module):
    """Calls one layer three times."""

    def __init__(self) -> None:
        self.inner = nn.Linear(2, 2, rng=np.random.default_rng(0))
        self.scale = nn.Parameter([2.0])

    def forward(self, x):
        for _ in range(3):
            x = tg.tanh(self.inner(x)) * self.scale
        return x


def traced(computation):
    with tg.trace() as trace:
        computation()
    return trace


def test_values_are_what_was_computed():
    x = tg.Tensor([0.5, -0.5], name="x")
    with tg.no_grad(), tg.trace() as trace:
        tg.exp(x) + x
    drawing = trace.draw(values=True)
    assert [(e.source, e.target) for e in drawing.graph.edges] == [
        ("n0", "n1"),
        ("n1", "n2"),
        ("n0", "n2"),
    ]
    np.testing.assert_array_equal(drawing.arrays.values["n1"], np.exp(x.data))
    np.testing.assert_array_equal(drawing.arrays.values["n2"], np.exp(x.data) + x.data)
    assert "[1.65, 0.607]" in drawing.source


def test_what_is_written_afterwards_does_not_change_a_value_that_shares_memory():
    x = tg.Tensor([1.0, 2.0])
    with tg.no_grad(), tg.trace() as trace:
        x.reshape(2, 1)
        x.data[:] = 7.0
    np.testing.assert_array_equal(trace.draw().arrays.values["n1"], [[1], [2]])


def test_times_and_bytes_are_there_and_a_view_takes_none():
    x = tg.Tensor(np.ones((4, 4), "f4"), requires_grad=True)
    trace = traced(lambda: tg.relu(x.reshape(16) * 2.0).sum().backward())
    nodes = {node.name: node for node in trace.draw().graph.nodes}
    assert nodes["reshape"].bytes == 0
    assert nodes["mul"].bytes == 16 * 4
    assert nodes["relu"].bytes == 16 * 4 + 16  # its result, and a mask
    for name in ("mul", "relu", "sum"):
        assert nodes[name].seconds > 0
        assert nodes[name].backward_seconds > 0


def test_a_module_called_again_is_named_apart_and_its_parameters_stand_in_each_call():
    model = Cell()
    trace = traced(lambda: model(np.ones((1, 2), "f4")))
    drawing = trace.draw()
    graph, calls = drawing.graph, ["inner", "inner (2)", "inner (3)"]
    assert [scope.name for scope in graph.scopes] == calls
    for name in ("inner.weight", "inner.bias"):
        drawn = [node for node in graph.nodes if node.name == name]
        assert [(node.scope, node.uses) for node in drawn] == [(call, 3) for call in calls]
        assert all(sum(edge.source == node.id for edge in graph.edges) == 1 for node in drawn)
        assert sum(node.name == name for node in drawing.full.nodes) == 1
    assert "shared by 3 calls" in drawing.source


def test_a_users_own_parameter_is_named_by_its_module():
    class Scaled(nn.Module):
        def __init__(self):
            self.scale = nn.Parameter([2.0])

        def forward(self, x):
            return self.scale * x

    class Outer(nn.Module):
        def __init__(self):
            self.parts = [Scaled(), Scaled()]

        def forward(self, x):
            return self.parts[1](self.parts[0](x))

    model = Outer()
    x = np.ones(2, "f4")
    trace = traced(lambda: model(x))
    names = [node.name for node in trace.draw().graph.nodes]
    assert [name for name in names if "scale" in name] == ["parts.0.scale", "parts.1.scale"]
    after = tg.draw(model(x).sum(), names=model).graph
    assert {node.name for node in after.nodes} >= {"parts.0.scale", "parts.1.scale"}


def test_a_failed_call_is_drawn_with_its_error():
    model = nn.LeNet5(rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="linear"), tg.trace() as trace:
        model(np.zeros((1, 1, 20, 28), "f4"))
    graph = trace.draw().graph
    *before, last = [node for node in graph.nodes if node.step is not None]
    assert [node.op for node in before][-1] == "reshape"
    assert (last.op, last.scope, last.shape) == ("linear", "fc1", None)
    assert "x has shape (1, 240)" in last.error
    assert all(not node.error for node in before)
    for drawing in (trace.draw(), trace.draw(depth=1), trace.draw(values=True)):
        assert "ValueError" in drawing.source


def test_an_error_outside_any_op_is_drawn_behind_what_it_followed():
    class Picky(nn.Module):
        def forward(self, x):
            y = tg.tanh(x)
            raise RuntimeError("not today")
            return y

    x = tg.Tensor([1.0], requires_grad=True)
    with pytest.raises(RuntimeError), tg.trace() as trace:
        nn.Sequential(Picky())(x * 2.0)
    graph = trace.draw().graph
    last = graph.nodes[-1]
    assert (last.kind, last.scope, last.error) == ("error", "0", "RuntimeError: not today")
    names = {node.id: node.name for node in graph.nodes}
    assert [names[e.source] for e in graph.edges if e.target == last.id] == ["tanh"]


def test_what_was_computed_before_the_trace_is_an_input():
    x = tg.Tensor([1.0, 2.0], requires_grad=True, name="x")
    before = tg.exp(x)
    with tg.trace() as trace:
        (before * before).sum().backward()
    nodes = trace.draw().graph.nodes
    assert [(node.kind, node.op) for node in nodes] == [("input", ""), ("op", "mul"), ("op", "sum")]


def test_an_op_that_returns_its_argument_does_not_hide_the_leaf():
    x = tg.Tensor(np.ones(2), name="x")
    with tg.no_grad(), tg.trace() as trace:
        tg.astype(x, "f8")
        tg.tanh(x)
    edges = [(edge.source, edge.target) for edge in trace.draw().graph.edges]
    assert edges == [("n0", "n1"), ("n0", "n2")]


def test_a_list_of_arrays_has_an_edge_for_each():
    x = tg.Tensor([1.0], requires_grad=True)
    with tg.trace() as trace:
        y = tg.concatenate([x, x, tg.Tensor([2.0])]).sum()
        y.backward()
    for graph in (trace.draw().graph, tg.draw(tg.concatenate([x, x, x]).sum()).graph):
        arguments = [e.argument for e in graph.edges if e.argument.startswith("arrays")]
        assert arguments == ["arrays[0]", "arrays[1]", "arrays[2]"]


def test_a_part_of_a_trace_can_be_drawn():
    x = tg.Tensor([1.0], requires_grad=True)
    with tg.trace() as trace:
        y = tg.tanh(x)
        tg.exp(y)
    assert [node.name for node in trace.draw(y).graph.nodes] == ["", "tanh"]
    assert tg.draw(y, trace=trace).source == trace.draw(y).source


def test_what_a_trace_cannot_draw_is_said():
    with tg.trace() as empty:
        pass
    with pytest.raises(ValueError, match="the trace is empty"):
        empty.draw()
    x = tg.Tensor([1.0], requires_grad=True)
    with tg.trace() as trace:
        tg.tanh(x)
    with pytest.raises(ValueError, match="was not computed in this trace"):
        trace.draw(tg.exp(x))
    with pytest.raises(TypeError, match="draw: y is int, expected Tensor"):
        trace.draw(3)
    with pytest.raises(TypeError, match="draw: trace is int, expected a Trace"):
        tg.draw(tg.exp(x), trace=3)
    with pytest.raises(ValueError, match="there are no gradients"):
        trace.draw(heat="gradient")
