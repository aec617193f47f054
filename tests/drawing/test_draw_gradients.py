"""The backward half: what flowed along each edge, and the sums where paths meet."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import printed
from support.compositions import compositions, differentiated

import tinygrad_cnn as tg
from tinygrad_cnn.drawing.graph import Statistics


@given(compositions())
def test_gradients_of_nodes_are_those_of_grad(composition):
    """The oracle is `grad` with respect to each value by itself."""
    values = composition.graph()
    y = values[-1].sum()
    drawing = tg.draw(y, gradients=True, names={f"v{k}": v for k, v in enumerate(values)})
    for node in drawing.graph.nodes:
        if node.name.startswith("v"):
            value = values[int(node.name[1:])]
            (expected,) = tg.grad(y, value, retain_graph=True)
            np.testing.assert_array_equal(drawing.arrays.gradients[node.id], expected)
            assert node.gradient == Statistics.of(expected)


@given(compositions())
def test_contributions_sum_to_the_gradient_of_their_source(composition):
    drawing = tg.draw(composition.graph()[-1].sum(), gradients=True)
    sums: dict[str, np.ndarray] = {}
    for edge in differentiated(drawing.graph):
        flowed = drawing.arrays.contributions[edge.id]
        assert edge.gradient == Statistics.of(flowed)
        sums[edge.source] = sums.get(edge.source, 0.0) + flowed
    for key, total in sums.items():
        np.testing.assert_allclose(drawing.arrays.gradients[key], total, rtol=1e-12, atol=1e-300)


def test_each_way_of_a_fan_out_carries_its_own_share():
    x = tg.Tensor(3.0, requires_grad=True, name="x")
    drawing = tg.draw(x * x + 5.0 * x, gradients=True)
    flowed = {
        (edge.target, edge.argument): float(drawing.arrays.contributions[edge.id])
        for edge in drawing.graph.edges
        if edge.source == "n0"
    }
    assert flowed == {("n1", "a"): 3.0, ("n1", "b"): 3.0, ("n3", "b"): 5.0}
    assert drawing.arrays.gradients["n0"] == 11.0
    assert "sum of 3" in drawing.source


@given(st.lists(st.floats(-9, 9, width=32), min_size=2, max_size=5))
@example([0.2224, 0.2224])  # 0.222 + 0.222 is not 0.445
@example([1e8, 1.2345, -1e8])  # adding has rounded
@example([-0.0, -0.0])
def test_who_adds_the_printed_contributions_gets_the_printed_sum(factors):
    x = tg.Tensor(1.0, requires_grad=True, dtype="f4", name="x")
    with tg.trace() as trace:
        sum(x * factor for factor in factors).backward()
    lines = trace.draw(values=True).source.splitlines()
    texts = [
        re.findall(r'FACE="Courier">([^<]+)<', line)[-1]
        for line in lines
        if line.startswith("  n0 ->") and 'class="gradient"' in line
    ]
    (node,) = [line for line in lines if line.startswith("  n0 [")]
    result = re.findall(r'FACE="Courier">([^<]+)<', node)[-1]
    assert len(texts) == len(factors)
    apart = float(abs(sum(map(printed.read, texts)) - printed.read(result)))
    about = f"about the sum of {len(factors)}" in node
    assert apart <= printed.half_unit(result) or about
    assert about == (factors == [1e8, 1.2345, -1e8]) or sum(map(abs, factors)) > 1e3 * abs(
        sum(factors)
    )


def test_a_trace_has_the_bits_of_grad():
    rng = np.random.default_rng(0)
    model = tg.nn.LeNet5(rng=rng)
    with tg.trace() as trace:
        tg.cross_entropy(model(rng.standard_normal((2, 1, 28, 28)).astype("f4")), [3, 1]).backward()
    drawing = trace.draw()
    ids = {node.name: node.id for node in drawing.graph.nodes}
    for name, parameter in model.named_parameters():
        np.testing.assert_array_equal(drawing.arrays.gradients[ids[name]], parameter.grad)


def test_drawing_gradients_leaves_no_trace_elsewhere():
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()

    class Watch(tg.Observer):
        seen = 0

        def backward(self, event):
            self.seen += 1

    watch = Watch()
    with tg.observe(watch), tg.detect_nan():
        tg.draw(y, gradients=True)
    assert watch.seen == 0
    assert x.grad is None
    y.backward()  # the graph was retained
    np.testing.assert_array_equal(x.grad, [2, 4])


def test_two_sweeps_add_up_in_a_trace():
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    with tg.trace() as trace:
        y = (x * x).sum()
        y.backward(retain_graph=True)
        y.backward()
    drawing = trace.draw()
    np.testing.assert_array_equal(drawing.arrays.gradients["n0"], x.grad)
    np.testing.assert_array_equal(x.grad, [4, 8])
    for edge in ("e0", "e1"):
        np.testing.assert_array_equal(drawing.arrays.contributions[edge], [2, 4])


def test_a_sweep_for_some_leaves_marks_only_their_edges():
    a = tg.Tensor([2.0], requires_grad=True, name="a")
    b = tg.Tensor([3.0], requires_grad=True, name="b")
    with tg.trace() as trace:
        tg.grad((a * b * b).sum(), b)
    graph = trace.draw().graph
    flowed = {edge.source for edge in graph.edges if edge.gradient is not None}
    names = {node.id: node.name for node in graph.nodes}
    assert {names[source] for source in flowed} == {"b", "mul"}


def test_what_the_user_does_to_grad_afterwards_does_not_change_the_trace():
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    with tg.trace() as trace:
        (x * 3.0).sum().backward()
        x.grad *= 0
        with tg.no_grad():
            x.data[:] = 7.0
    drawing = trace.draw()
    np.testing.assert_array_equal(drawing.arrays.gradients["n0"], [3, 3])
    np.testing.assert_array_equal(drawing.arrays.values["n0"], [1, 2])


def test_second_order_sweeps_are_drawn():
    x = tg.Tensor(2.0, requires_grad=True, name="x")
    (slope,) = tg.grad(x**3, x, create_graph=True)
    drawing = tg.draw(slope, gradients=True)
    assert float(drawing.arrays.gradients["n0"]) == pytest.approx(12.0)
