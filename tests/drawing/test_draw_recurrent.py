"""Recurrent networks and shared weights: one call at a time, and time steps drawn once."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import nn

RNG = np.random.default_rng(0)
STEPS = 30


class Cell(nn.Module):
    def __init__(self) -> None:
        self.of_input = nn.Linear(8, 16, rng=RNG)
        self.of_state = nn.Linear(16, 16, rng=RNG)

    def forward(self, x: tg.Tensor, state: tg.Tensor) -> tg.Tensor:
        return tg.tanh(self.of_input(x) + self.of_state(state))


class Recurrent(nn.Module):
    """A cell for each time step, whose states are all used or only the last."""

    def __init__(self, collects: bool) -> None:
        self.cell = Cell()
        self.out = nn.Linear(16, 4, rng=RNG)
        self.collects = collects

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        state = tg.Tensor(np.zeros((2, 16), "f4"))
        states = []
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
            states.append(state)
        return self.out(tg.stack(states, axis=1) if self.collects else state)


def drawn(collects: bool, needs_gradient: bool, **options: object) -> tg.drawing.Drawing:
    model = Recurrent(collects)
    x = tg.Tensor(np.ones((2, STEPS, 8), "f4"), requires_grad=needs_gradient, name="x")
    return model(x).sum().draw(names=model, **options)


@pytest.mark.parametrize("collects", [False, True])
@pytest.mark.parametrize("needs_gradient", [False, True])
@pytest.mark.parametrize("depth", [1, 2])
def test_time_steps_stand_once_with_a_loop(
    collects: bool, needs_gradient: bool, depth: int
) -> None:
    graph = drawn(collects, needs_gradient, depth=depth).graph
    (series,) = [scope for scope in graph.scopes if scope.repeat > 1]
    assert series.repeat == STEPS
    assert len(graph.nodes) < 16
    (loop,) = [edge for edge in graph.edges if edge.loop]
    place = {node.id: i for i, node in enumerate(graph.nodes)}
    assert place[loop.target] <= place[loop.source]
    assert all(place[edge.source] < place[edge.target] for edge in graph.edges if not edge.loop)
    names = {node.id: node.name for node in graph.nodes}
    around = {scope.name: scope.parent for scope in graph.scopes}
    scopes = {node.id: node.scope for node in graph.nodes}
    for end in (loop.source, loop.target):  # the loop stays within the step
        assert series.name in (scopes[end], around[scopes[end]]), names[end]


def test_each_call_of_a_cell_is_a_box_of_its_own() -> None:
    drawing = drawn(False, False, depth=1, gradients=True)  # with these, repeats are not folded
    cells = [node for node in drawing.graph.nodes if node.op == "Cell"]
    assert [node.name for node in cells] == ["cell", *(f"cell ({k})" for k in range(2, STEPS + 1))]
    assert {node.parameters for node in cells} == {8 * 16 + 16 + 16 * 16 + 16}


def test_no_shared_parameter_has_edges_across_the_time_steps() -> None:
    graph = drawn(False, True).graph
    scope = {node.id: node.scope for node in graph.nodes}
    parameters = {node.id: node for node in graph.nodes if node.kind == "parameter"}
    crossing = [e for e in graph.edges if e.source in parameters and scope[e.source]]
    assert all(scope[edge.source] == scope[edge.target] for edge in crossing)
    assert len(crossing) == 4 * STEPS + 2
    assert {n.uses for n in parameters.values() if n.name.startswith("cell")} == {STEPS}
    assert {n.uses for n in parameters.values() if n.name.startswith("out")} == {1}


def test_what_shared_weights_show_is_their_gradient() -> None:
    model = Recurrent(False)
    with tg.trace() as trace:
        model(np.ones((2, 3, 8), "f4")).sum().backward()
    graph = trace.draw(names=model).graph
    weights = [node for node in graph.nodes if node.name == "cell.of_state.weight"]
    of_calls = [e.gradient for e in graph.edges if e.source in {node.id for node in weights}]
    assert len(weights) == 3
    assert len({one.norm for one in of_calls if one is not None}) == 3
    gradient = model.cell.of_state.weight.grad
    for node in weights:
        assert node.gradient is not None
        assert node.gradient.norm == pytest.approx(float(np.linalg.norm(gradient)))


def test_weights_of_two_modules_stand_once_where_they_meet() -> None:
    left, right = nn.Linear(4, 4, rng=RNG), nn.Linear(4, 4, rng=RNG)
    right.weight = left.weight
    model = nn.Sequential(left, right)
    graph = model(np.ones((1, 4), "f4")).sum().draw(names=model).graph
    (shared,) = [
        node for node in graph.nodes if node.kind == "parameter" and len(node.shape or ()) == 2
    ]
    assert shared.uses == 1
    assert sum(edge.source == shared.id for edge in graph.edges) == 2


def test_parts_that_share_nothing_have_no_loop() -> None:
    blocks = [nn.Sequential(nn.Linear(8, 8, rng=RNG), nn.ReLU()) for _ in range(6)]
    graph = nn.Sequential(*blocks)(np.ones((1, 8), "f4")).sum().draw(depth=1).graph
    assert [scope.repeat for scope in graph.scopes if scope.repeat > 1] == [6]
    assert not any(edge.loop for edge in graph.edges)


class Composed(nn.Module):
    """A network of two linear layers, called as a function says."""

    def __init__(self, order: str) -> None:
        self.a = nn.Linear(3, 3, rng=RNG)
        self.b = nn.Linear(3, 3, rng=RNG)
        self.order = order

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        for name in self.order:
            x = getattr(self, name)(x)
        return x


def series(y: tg.Tensor) -> list[tuple[str, int]]:
    """Return the repeated parts of a drawing in which no leaf is left without an edge."""
    graph = y.sum().draw(depth=1).graph
    linked = {end for edge in graph.edges for end in (edge.source, edge.target)}
    assert {node.id for node in graph.nodes} == linked
    return [(scope.name, scope.repeat) for scope in graph.scopes if scope.repeat > 1]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("aab", [("a", 2)]),
        ("baa", [("a", 2)]),
        ("abab", [("a … b", 2)]),
        ("ab", [("a … b", 2)]),  # two layers alike
        ("aba", []),
    ],
)
def test_only_calls_with_the_same_or_with_own_weights_are_one_part(
    order: str, expected: list[tuple[str, int]]
) -> None:
    assert series(Composed(order)(np.ones((2, 3), "f4"))) == expected


def test_parts_of_other_operands_options_or_insides_are_not_alike() -> None:
    y = tg.Tensor(np.ones((2, 3), "f4"), requires_grad=True)
    swapped = y
    for k in range(2):
        other = tg.tanh(swapped)
        swapped = other - swapped if k else swapped - other
    assert series(swapped) == []
    for first, second in (
        (nn.ReLU(), nn.Tanh()),
        (nn.LeakyReLU(0.1), nn.LeakyReLU(0.5)),
    ):
        blocks = [nn.Sequential(nn.Linear(3, 3, rng=RNG), last) for last in (first, second)]
        assert series(nn.Sequential(*blocks)(y)) == []


def test_weights_used_twice_or_tied_leave_no_node_alone() -> None:
    x = tg.Tensor(np.ones((2, 3), "f4"))
    weights = [tg.Tensor(np.ones((2, 3), "f4"), requires_grad=True) for _ in range(3)]
    y = x
    for w in weights:
        y = y * w + w
    assert [times for _, times in series(y)] == [3]
    a, b, _ = weights
    assert [times for _, times in series(x * a * b * a * b)] == [2]
    tied = nn.Sequential(*(nn.Linear(3, 3, rng=RNG) for _ in range(4)))
    tied[2].weight, tied[3].weight = tied[0].weight, tied[1].weight
    assert series(tied(x)) == []


def test_only_ops_that_collect_the_same_of_every_part_may_use_them() -> None:
    state = tg.exp(tg.Tensor(np.ones((2, 3), "f4"), requires_grad=True))
    states = []
    for _ in range(5):
        state = tg.tanh(state) * 2.0
        states.append(state)
    assert [times for _, times in series(tg.stack(states))] == [5]
    assert 5 not in [times for _, times in series(tg.stack([states[1], states[4], states[0]]))]


def test_an_input_that_requires_a_gradient_stays_outside_of_modules() -> None:
    x = tg.Tensor(np.ones((2, 3), "f4"), requires_grad=True, name="x")
    act = nn.Sequential(nn.ReLU(), nn.Sequential(nn.ReLU()))
    act[1][0] = act[0]
    drawing = act(x).sum().draw()
    for graph in (drawing.graph, drawing.fold(1).graph):
        assert [(n.scope, n.kind) for n in graph.nodes if n.name == "x"] == [("", "parameter")]
