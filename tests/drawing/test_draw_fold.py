"""Scopes, folding to a depth, and parts that repeat."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.pictures import edges_of, statement

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.drawing.scopes import ancestors, scopes_of


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def lenet_loss() -> tg.Tensor:
    model = nn.LeNet5(rng=rng())
    return tg.cross_entropy(model(np.zeros((2, 1, 28, 28), "f4")), np.array([3, 1]))


PATHS = st.lists(
    st.lists(st.sampled_from(["a", "b", "0", "1"]), max_size=3).map(".".join), max_size=12
)


@given(PATHS)
def test_scopes_are_unique_nested_and_hold_their_calls(paths):
    scopes, inside = scopes_of(paths, {})
    names = [scope.name for scope in scopes]
    assert len(set(names)) == len(names)
    seen = {""}
    for scope in scopes:
        assert scope.parent in seen  # behind the one it stands in
        seen.add(scope.name)
    for path, name in zip(paths, inside, strict=True):
        assert name.partition(" (")[0] == path


@given(PATHS)
def test_the_calls_of_a_scope_follow_each_other(paths):
    scopes, inside = scopes_of(paths, {})
    around = ancestors(scopes)
    for scope in scopes:
        places = [i for i, name in enumerate(inside) if scope.name in around[name]]
        assert places == list(range(places[0], places[-1] + 1))


@given(PATHS, st.integers(1, 4))
@example(["a", "a", "b", "b"], 1)  # an edge within each module, and one between them
@example(["a.b", "a.b", "a.0"], 2)
def test_a_folded_graph_has_no_cycle_and_keeps_every_edge_between_what_is_apart(paths, depth):
    x = tg.Tensor([1.0], requires_grad=True, name="x")
    values = [x]
    for path in paths:
        with tg.scope(path):
            values.append(values[-1] * values[len(values) // 2])
    if len(values) == 1:
        return
    drawing = tg.draw(values[-1].sum(), gradients=True)
    folded = drawing.fold(depth).graph
    order = {node.id: i for i, node in enumerate(folded.nodes)}
    assert all(order[edge.source] < order[edge.target] for edge in folded.edges)
    kept = {edge.id for edge in folded.edges}
    whole = drawing.graph
    parent = {scope.name: scope.parent for scope in whole.scopes}
    scope = {node.id: node.scope for node in whole.nodes}
    for edge in whole.edges:
        if edge.id not in kept:  # then both of its ends are in one module
            a, b = scope[edge.source], scope[edge.target]
            chains = []
            for name in (a, b):
                chain = []
                while name:
                    chain.append(name)
                    name = parent[name]
                chains.append(set(chain))
            assert chains[0] & chains[1]


def test_a_module_stands_behind_all_that_it_is_given():
    x = tg.Tensor([1.0], requires_grad=True, name="x")
    with tg.scope("module"):
        y = tg.tanh(x) * tg.Tensor([2.0], name="late")
    graph = tg.draw(y.sum(), depth=1).graph
    assert [node.name for node in graph.nodes] == ["x", "late", "module", "sum"]


def test_depth_1_shows_lenet_as_its_layers():
    graph = tg.draw(lenet_loss(), depth=1).graph
    layers = [node for node in graph.nodes if node.kind == "module"]
    assert [node.name for node in layers] == [
        "conv1", "activation1", "pool1", "conv2", "activation2", "pool2", "flatten",
        "fc1", "activation3", "fc2", "activation4", "fc3",
    ]  # fmt: skip
    model = nn.LeNet5(rng=rng())
    rows = {row.name: row for row in model.summary().rows}
    for node in layers:
        assert node.shape == (2, *rows[node.name].output_shape)
        assert node.parameters == rows[node.name].parameters
        assert node.multiply_adds == 2 * rows[node.name].multiply_adds
    assert sum(node.parameters for node in graph.nodes) == 61706


def test_a_folded_module_sums_what_its_calls_took():
    model = nn.Sequential(nn.Linear(2, 2, rng=rng()), nn.Tanh())
    outer = nn.Sequential(model)
    with tg.trace() as trace:
        outer(np.ones((1, 2), "f4")).sum().backward()
    whole, folded = trace.draw().graph, trace.draw(depth=1, names=outer).graph
    inside = [node for node in whole.nodes if node.scope.startswith("0")]
    (module,) = [node for node in folded.nodes if node.kind == "module"]
    assert (module.name, module.op) == ("0", "Sequential")
    assert module.seconds == pytest.approx(sum(node.seconds or 0 for node in inside))
    assert module.bytes == sum(node.bytes or 0 for node in inside)
    assert module.gradient == next(node.gradient for node in inside if node.name == "tanh")


def test_a_shared_parameter_stays_outside_of_what_shares_it():
    layer = nn.Linear(2, 2, rng=rng())
    x = tg.Tensor(np.ones((1, 2), "f4"), name="x")
    with tg.scope("first"):
        y = layer(x)
    with tg.scope("second"):
        z = layer(y)
    graph = tg.draw(z.sum(), depth=1, gradients=True).graph
    names = {node.id: node.name for node in graph.nodes}
    weight = next(node for node in graph.nodes if node.name.endswith("weight"))
    users = [names[edge.target] for edge in graph.edges if edge.source == weight.id]
    assert users == ["first", "second"]


@pytest.mark.parametrize("times", [2, 5, 12])
def test_blocks_alike_stand_once(times):
    blocks = [nn.Sequential(nn.Linear(4, 4, rng=rng()), nn.ReLU()) for _ in range(times)]
    model = nn.Sequential(*blocks, nn.Linear(4, 2, rng=rng()))
    y = model(tg.Tensor(np.ones((1, 4), "f4"), name="x"))
    drawing = tg.draw(y, depth=1)
    assert [node.name for node in drawing.graph.nodes] == ["x", "0", str(times)]
    assert [scope.repeat for scope in drawing.graph.scopes] == [times]
    assert len(drawing.graph.edges) == 2
    assert f"0 … {times - 1}  × {times}" in drawing.source


def test_a_pair_that_repeats_is_framed():
    model = nn.MLP((8, 8, 8, 8, 8, 2), rng=rng())
    drawing = tg.draw(model(np.ones((1, 8), "f4")).sum(), depth=1)
    names = [node.name for node in drawing.graph.nodes]
    assert names == ["x", "fc.0", "activations.0", "fc.4", "sum"]
    (scope,) = drawing.graph.scopes
    assert (scope.name, scope.repeat) == ("fc.0 … activations.3", 4)
    assert 'label="fc.0 … activations.3   × 4"' in drawing.source


def test_what_differs_does_not_repeat():
    def names(model, **options):
        y = model(tg.Tensor(np.ones((1, 4), "f4"), name="x"))
        return [node.name for node in tg.draw(y.sum(), depth=1, **options).graph.nodes]

    tanh = nn.Sequential(*[nn.Sequential(nn.Linear(4, 4, rng=rng()), nn.Tanh()) for _ in "ab"])
    assert names(tanh) == ["x", "0", "sum"]
    mixed = nn.Sequential(
        nn.Sequential(nn.Linear(4, 4, rng=rng()), nn.Tanh()),
        nn.Sequential(nn.Linear(4, 4, rng=rng()), nn.ReLU()),
    )
    assert names(mixed) == ["x", "0", "1", "sum"]
    assert names(tanh, gradients=True) == ["x", "0", "1", "sum"]  # each has its own
    assert names(tanh, heat="gradient") == ["x", "0", "1", "sum"]


def test_a_result_that_is_used_further_on_keeps_blocks_apart():
    layers = [nn.Sequential(nn.Linear(4, 4, rng=rng()), nn.Tanh()) for _ in range(2)]
    x = tg.Tensor(np.ones((1, 4), "f4"), name="x")
    with tg.scope("0"):
        first = layers[0](x)
    with tg.scope("1"):
        second = layers[1](first)
    graph = tg.draw((first + second).sum(), depth=1).graph
    assert [node.name for node in graph.nodes] == ["x", "0", "1", "add", "sum"]


def test_frames_are_nested_as_the_scopes_are():
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    with tg.scope("outer"):
        y = x * x
        with tg.scope("inner"):
            y = tg.tanh(y) + x
        with tg.scope("single"):
            y = tg.exp(y)
    source = tg.draw(y.sum()).source
    opened = [line.strip() for line in source.splitlines() if "subgraph" in line]
    assert opened == ['subgraph "cluster_s0" {', 'subgraph "cluster_s1" {']
    assert "single" in statement(source, "n4")  # one call needs no frame: the name stands in it
    assert Counter(source)["{"] == Counter(source)["}"]


def test_the_source_holds_the_edges_of_the_graph():
    drawing = tg.draw(lenet_loss(), gradients=True)
    for depth in (None, 1):
        shown = drawing.fold(depth)
        expected = [(edge.source, edge.target) for edge in shown.graph.edges]
        assert edges_of(shown.source) == expected
