"""Graphs of any depth are swept and freed by reference counting alone."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg

DEPTH = 100_000


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def chain(x: tg.Tensor, depth: int) -> tg.Tensor:
    for _ in range(depth):
        x = -x
    return x


def test_a_chain_100_000_deep_is_swept() -> None:
    x = tg.Tensor(2.0, requires_grad=True)
    y = chain(x, DEPTH)
    assert 10 * sys.getrecursionlimit() < DEPTH
    assert tg.grad(y, x, retain_graph=True) == [1]  # looks for the way first
    y.backward()
    assert x.grad == 1


@pytest.mark.usefixtures("no_collector")
def test_a_chain_100_000_deep_is_freed_without_a_sweep() -> None:
    x = tg.Tensor(2.0, requires_grad=True)
    first = -x
    y = chain(first, DEPTH)
    node = weakref.ref(first.node)
    del first
    assert node() is not None
    del y
    assert node() is None


def network(x: tg.Tensor, parameters: list[tg.Tensor]) -> tg.Tensor:
    w, bias, v = parameters
    h = tg.maxpool(tg.relu(tg.conv2d(x, w, bias, padding=1)), 2)
    h = tg.batch_norm(h, np.ones(3), np.zeros(3))
    h = tg.concatenate([h, h[:, :1], tg.avgpool(x, 2)], axis=1).reshape(2, -1)
    return tg.cross_entropy(tg.sigmoid(h) @ v, [0, 1])


def parameters() -> list[tg.Tensor]:
    rng = np.random.default_rng(0)
    shapes = [(3, 1, 3, 3), (3,), (5 * 16, 4)]
    return [tg.Tensor(rng.standard_normal(shape), requires_grad=True) for shape in shapes]


class Nodes(tg.Observer):
    """Holds every node, and every array it saves or computes, by weak references."""

    def __init__(self) -> None:
        self.nodes: list[weakref.ref[tg.Node]] = []
        self.arrays: list[weakref.ref[Any]] = []

    def forward(self, event: tg.ForwardEvent) -> None:
        if event.node is not None:
            self.nodes.append(weakref.ref(event.node))
            kept = [event.output, *event.node.saved]
            self.arrays += [weakref.ref(a) for a in kept if isinstance(a, np.ndarray)]

    def alive(self) -> tuple[int, int]:
        nodes, arrays = ([r for r in refs if r() is not None] for refs in (self.nodes, self.arrays))
        return len(nodes), len(arrays)


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("sweep", ["none", "backward", "retained", "second order", "failed"])
def test_graphs_are_freed_by_reference_counting_alone(sweep: str) -> None:
    x = tg.Tensor(np.random.default_rng(1).standard_normal((2, 1, 8, 8)))
    leaves = parameters()
    seen = Nodes()
    with tg.observe(seen):
        y = network(x, leaves)
        assert seen.alive()[0] == len(seen.nodes) >= 10
        if sweep == "backward":
            y.backward()
        elif sweep == "retained":
            y.backward(retain_graph=True)
        elif sweep == "second order":
            first = tg.grad(y, leaves, create_graph=True)
            total = sum(((g * g).sum() for g in first), start=tg.Tensor(0.0, dtype="f8"))
            total.backward()
            del first, total
        elif sweep == "failed":
            leaves[2].data[0] += 1
            with pytest.raises(tg.ChangedInPlaceError):
                y.backward()
    del y
    assert seen.alive() == (0, 0)


@pytest.mark.usefixtures("no_collector", "ops_of_its_own")
def test_a_sweep_frees_saved_values_on_its_way() -> None:
    alive: list[int] = []
    watch = Nodes()

    @tg.op(formula="exp x", elementwise=True)
    def watched_exp(x: np.ndarray) -> np.ndarray:
        return np.exp(x)

    @watched_exp.derivative("x", formula="g·y")
    def _(g: np.ndarray, *, y: np.ndarray) -> np.ndarray:
        alive.append(watch.alive()[1])
        return g * y

    x = tg.Tensor(np.ones(5), requires_grad=True)
    with tg.observe(watch):
        y = x
        for _ in range(6):
            y = watched_exp(y * 0.5)
        y = y.sum()
    y.backward()
    assert alive == sorted(alive, reverse=True)
    assert alive[-1] <= 4 < 12 <= alive[0]


@pytest.mark.parametrize("reason", ["a change in place", "an observer"])
def test_a_sweep_that_fails_frees_nothing(reason: str) -> None:
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    w = tg.Tensor([3.0, 4.0], requires_grad=True)
    y = (tg.exp(x * w) * x).sum()

    class Stop(tg.Observer):
        def backward(self, event: tg.BackwardEvent) -> None:
            if event.node.op.name == "exp":
                raise InterruptedError

    if reason == "an observer":
        with tg.observe(Stop()), pytest.raises(InterruptedError):
            y.backward()
    else:
        w.data[0] = 5
        with pytest.raises(tg.ChangedInPlaceError):  # of the oldest node, which comes last
            (tg.tanh(y) + x.sum()).backward()
        assert y.node.saved is not None
        w.data[0] = 3
        w._changed = 0
    assert x.grad is w.grad is None
    y.backward()
    e = np.exp(np.array([3.0, 8.0]))
    np.testing.assert_allclose(x.grad, e + np.array([3.0, 8.0]) * e, rtol=1e-5)


@pytest.mark.usefixtures("no_collector")
def test_a_swept_node_holds_nothing_though_its_result_lives() -> None:
    x = tg.Tensor(np.ones(5), requires_grad=True)
    h = tg.exp(x)
    saved = weakref.ref(h._array)
    y = (h * h).sum()
    y.backward()
    assert y.node.saved is h.node.saved is None
    del h
    assert saved() is None


@pytest.mark.usefixtures("no_collector")
def test_keeping_a_loss_keeps_no_array_of_its_graph_after_the_sweep() -> None:
    """Logging losses must not fill memory."""
    x = tg.Tensor(np.random.default_rng(1).standard_normal((2, 1, 8, 8)))
    leaves = parameters()
    seen = Nodes()
    losses = []
    for _ in range(3):
        with tg.observe(seen):
            losses.append(network(x, leaves))
        losses[-1].backward()
    assert seen.alive()[0] == len(seen.nodes)  # the shape of each graph can still be drawn
    assert seen.alive()[1] <= 3


@pytest.mark.usefixtures("no_collector")
def test_results_without_a_gradient_keep_nothing() -> None:
    seen = weakref.WeakSet[tg.Tensor]()
    x = tg.Tensor(np.ones(3))
    for _ in range(5):
        x = tg.exp(x * 0.1)
        seen.add(x)
    assert len(seen) == 1


def test_a_small_part_of_a_large_result_does_not_keep_it_alive() -> None:
    x = tg.Tensor(np.zeros(100_000), requires_grad=True)
    assert (x * 2.0)[:2]._array.base is None
    assert (x * 2.0)[::2]._array.base is not None
