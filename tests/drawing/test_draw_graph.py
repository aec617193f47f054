"""The intermediate form: what is in it, that it is complete, and that it comes back from JSON."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support.compositions import Composition, Step, compositions, differentiated

import tinygrad_cnn as tg
from tinygrad_cnn.drawing.graph import DrawnGraph, Statistics


def needed(composition: Composition) -> list[tuple[int, Step]]:
    """Return the steps that the last result needs, itself too, with its places, in order."""
    steps = composition.steps
    found = {len(composition.shapes) + len(steps) - 1}
    chosen = []
    for place, step in reversed([*enumerate(steps, len(composition.shapes))]):
        if place in found:
            found |= {*step.places}
            chosen.append((place, step))
    return chosen[::-1]


@given(compositions())
@example(Composition(((3,),), (Step("mul", (0, 0), {}),)))
def test_every_call_and_every_edge_is_in_the_graph_once(composition):
    graph = tg.draw(composition.graph()[-1]).graph
    calls = [node for node in graph.nodes if node.kind == "op"]
    steps = needed(composition)
    assert [node.name for node in calls] == [step.op for _, step in steps]
    expected = [(i, place) for place, step in steps for i in step.places]
    id_of = {place: call.id for (place, _), call in zip(steps, calls, strict=True)}
    for edge, (i, place) in zip(differentiated(graph), expected, strict=True):
        assert edge.target == id_of[place]
        assert edge.source == id_of[i] if i in id_of else edge.source not in id_of.values()


@given(compositions(), st.booleans())
def test_a_trace_and_the_recorded_graph_say_the_same(composition, recording):
    with tg.trace() as trace:
        values = composition.graph()
    later = tg.draw(values[-1]).graph
    traced = trace.draw(values[-1]).graph
    if not recording:
        with tg.no_grad(), tg.trace() as trace:
            values = composition.graph()
        traced = trace.draw(values[-1]).graph
    assert [(n.id, n.name, n.shape, n.formula) for n in later.nodes] == [
        (n.id, n.name, n.shape, n.formula) for n in traced.nodes
    ]
    assert later.edges == traced.edges


@given(compositions())
def test_edges_lead_from_earlier_to_later_nodes_and_ids_count(composition):
    graph = tg.draw(composition.graph()[-1]).graph
    assert [node.id for node in graph.nodes] == [f"n{i}" for i in range(len(graph.nodes))]
    assert [edge.id for edge in graph.edges] == [f"e{i}" for i in range(len(graph.edges))]
    order = {node.id: i for i, node in enumerate(graph.nodes)}
    assert all(order[edge.source] < order[edge.target] for edge in graph.edges)
    steps = [node.step for node in graph.nodes if node.step is not None]
    assert all(later == earlier + 1 for earlier, later in pairwise(steps))


@pytest.fixture(scope="module")
def lenet() -> tuple[tg.nn.LeNet5, DrawnGraph]:
    rng = np.random.default_rng(0)
    model = tg.nn.LeNet5(rng=rng)
    images = rng.standard_normal((2, 1, 28, 28)).astype("f4")
    with tg.trace() as trace:
        tg.cross_entropy(model(images), [3, 1]).backward()
    return model, trace.draw().graph


def test_parameters_are_named_as_in_the_model_and_counted(lenet):
    model, graph = lenet
    parameters = {n.name: n for n in graph.nodes if n.kind == "parameter"}
    named = dict(model.named_parameters())
    assert parameters.keys() == named.keys()
    assert all(parameters[name].parameters == p.size for name, p in named.items())
    assert all(node.scope == name.partition(".")[0] for name, node in parameters.items())


def test_multiply_adds_are_those_of_the_summary(lenet):
    model, graph = lenet
    total = sum(node.multiply_adds or 0 for node in graph.nodes)
    assert total == 2 * model.summary().multiply_adds  # two images


def test_nodes_say_what_the_declarations_say(lenet):
    _, graph = lenet
    for node in graph.nodes:
        if node.kind == "op":
            op = tg.OPS[node.op]
            assert (node.formula, node.latex, node.equation) == (op.formula, op.latex, op.equation)
    names = {node.id: node for node in graph.nodes}
    for edge in graph.edges:
        derivative = tg.OPS[names[edge.target].op].derivatives.get(edge.argument)
        assert edge.formula == (derivative.formula if derivative else "")
        assert edge.equation == (derivative.equation if derivative else "")


def test_scopes_are_the_layers_with_their_classes(lenet):
    model, graph = lenet
    inner = {name: type(module).__name__ for name, module in model.named_modules() if name}
    assert {scope.name: scope.kind for scope in graph.scopes} == inner


def test_options_are_those_that_are_not_at_their_default():
    x = tg.Tensor(np.ones((1, 1, 6, 6)), requires_grad=True)
    w = tg.Tensor(np.ones((1, 1, 3, 3)), requires_grad=True)
    y = tg.maxpool(tg.conv2d(x, w, stride=1, padding=(1, 0)), 2)
    options = {node.op: node.options for node in tg.draw(y).graph.nodes}
    assert options["conv2d"] == {"padding": [1, 0]}
    assert options["maxpool"] == {}  # 2 is the default


def test_names_come_from_the_caller_the_tensor_or_the_parameter():
    x = tg.Tensor([1.0], requires_grad=True)
    w = tg.Tensor([2.0], requires_grad=True, name="w")
    z = x * w * 3.0
    names = [node.name for node in tg.draw(z, names={"x": x, "z": z, "other": 1}).graph.nodes]
    assert names == ["x", "w", "mul", "3", "z"]
    layer = tg.nn.Linear(1, 1, rng=np.random.default_rng(0))
    graph = tg.draw(layer(x)).graph
    assert [node.name for node in graph.nodes] == ["x", "weight", "bias", "linear"]


def test_parameters_inputs_and_constants_are_told_apart():
    x = tg.Tensor([[1.0, 2.0]], requires_grad=True, name="x")
    given = tg.Tensor([[1.0, 2.0]], name="given")
    loss = tg.cross_entropy(x * given * 0.5, np.array([1]))
    kinds = {node.name: node.kind for node in tg.draw(loss).graph.nodes if node.kind != "op"}
    assert kinds == {"x": "parameter", "given": "input", "0.5": "constant", "target": "input"}


@given(compositions())
def test_json_comes_back_as_it_was(composition):
    with tg.trace() as trace:
        y = composition.graph()[-1].sum()
        y.backward()
    graph = trace.draw(values=True).graph
    text = json.dumps(graph.to_json(), allow_nan=False)
    assert DrawnGraph.from_json(json.loads(text)) == graph


@pytest.mark.parametrize(
    "data", [{}, [], {"schema": "other"}, {"schema": "tinygrad-cnn graph 1", "nodes": [{}]}]
)
def test_json_of_another_schema_is_refused(data):
    with pytest.raises(ValueError, match=r"from_json: .*expected 'tinygrad-cnn graph 1'"):
        DrawnGraph.from_json(data)


@given(arrays("f8", st.integers(0, 20), elements=st.floats(allow_subnormal=False)))
@example(np.full(5, 1e300))
@example(np.full(5, 1e-300))
@example(np.array([-0.0]))
@example(np.array([np.nan, np.inf]))
def test_statistics_are_those_of_the_finite_entries(x):
    numbers = Statistics.of(x)
    finite = [float(v) for v in x if np.isfinite(v)]
    assert (numbers.nan, numbers.infinite) == (int(np.isnan(x).sum()), int(np.isinf(x).sum()))
    assert numbers.shape == x.shape
    if not finite:
        assert (numbers.minimum, numbers.mean, numbers.maximum, numbers.norm) == (None,) * 3 + (0,)
        return
    assert numbers.minimum == min(finite)
    assert numbers.maximum == max(finite)
    assert numbers.zero * len(x) == pytest.approx(finite.count(0.0))
    exact = np.array(finite, dtype=np.longdouble)
    norm = np.sqrt((exact * exact).sum())
    np.testing.assert_allclose(numbers.norm, float(norm), rtol=1e-12)
    spread = float(np.abs(exact).max())
    assert abs(numbers.mean - float(exact.mean())) <= 1e-13 * spread


@pytest.mark.usefixtures("ops_of_its_own")
def test_a_users_own_op_on_a_list_has_its_edges_and_no_more():
    @tg.op(formula="Π x", sequence=True)
    def product(arrays, scale=1.0):
        return scale * np.prod(arrays, axis=0)

    @product.derivative("arrays", formula="g·y / x")
    def _(g, *, arrays, y):
        return [g * y / x for x in arrays]

    a, b = (tg.Tensor([value], requires_grad=True) for value in (2.0, 3.0))
    graph = tg.draw(product([a, b], scale=2.0).sum(), gradients=True).graph
    node = next(node for node in graph.nodes if node.op == "product")
    assert node.options == {"scale": 2.0}
    flowed = {edge.argument: edge.gradient.norm for edge in graph.edges if edge.target == node.id}
    assert flowed == {"arrays[0]": 6.0, "arrays[1]": 4.0}
