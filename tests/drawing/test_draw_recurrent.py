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
