"""derive: what the page says is what the graph computes, for any graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from support.compare import assert_close
from support.derived import NETWORKS, Watch, arguments, evaluated, graphs, network
from support.entries import Entries

import tinygrad_cnn as tg
from tinygrad_cnn.core.graph import Node
from tinygrad_cnn.derivation import derive
from tinygrad_cnn.derivation.measure import local_norm
from tinygrad_cnn.derivation.notation import Entry
from tinygrad_cnn.derivation.page import factors_of
from tinygrad_cnn.derivation.parts import Factor, Gap, PathSum
from tinygrad_cnn.derivation.paths import Paths
from tinygrad_cnn.derivation.symbols import Symbols, leaf_names
from tinygrad_cnn.derivation.written import SUM

MANY_INDICES = {"a ResNet's block", "a U-Net"}
"""Networks whose formula has too many indices for an array with an axis for each."""


@pytest.mark.parametrize("kind", sorted(NETWORKS.keys() - MANY_INDICES))
def test_the_printed_formula_is_the_gradient_of_every_parameter(kind: str) -> None:
    model, loss, watch, constants = network(kind)
    for name, parameter in model.named_parameters():
        derivation = derive(loss, wrt=name)
        assert derivation.name == name
        (expected,) = tg.grad(loss, parameter, retain_graph=True)
        assert_close(evaluated(loss, derivation, watch, **constants), expected, name)


def test_an_index_in_a_border_on_one_side_does_not_reach_the_next_row() -> None:
    rng = np.random.default_rng(0)
    v = tg.Tensor(rng.normal(size=12), requires_grad=True, name="v")
    w = rng.normal(size=(1, 1, 2, 2))
    watch = Watch()
    with tg.observe(watch):
        loss = tg.conv2d(v.reshape(1, 1, 3, 4), w, padding="same").sum()
    derivation = derive(loss, wrt=v)
    assert_close(evaluated(loss, derivation, watch, c=w), derivation.gradient, "v")


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_norm_is_that_of_the_gradient_there(kind: str) -> None:
    model, loss, watch, _ = network(kind)
    name, parameter = next(iter(model.named_parameters()))
    derivation = derive(loss, wrt=name)
    symbols = Symbols(loss.node, leaf_names(loss.node, {}), {})
    nodes = {symbols[node]: node for node in watch.results}
    for item in derivation.product:
        if not isinstance(item, Gap) and item.bottom in nodes:
            inner = tg.Tensor._of(watch.results[nodes[item.bottom]], nodes[item.bottom])
            (gradient,) = tg.grad(loss, inner, retain_graph=True)
            assert_close(item.after, np.linalg.norm(gradient), str(item.bottom))
    last = derivation.product[-1]
    (gradient,) = tg.grad(loss, parameter, retain_graph=True)
    assert_close(last.after, np.linalg.norm(gradient), name)


def test_the_terms_of_a_sum_are_the_products_along_each_path() -> None:
    x = tg.Tensor([1.0, -2.0], requires_grad=True, name="x", dtype="f8")
    y = (tg.tanh(x) * x).sum()
    (total,) = [item for item in derive(y, x).product if isinstance(item, PathSum)]
    direct, through_tanh = sorted(total.terms, key=len)
    t = np.tanh([1.0, -2.0])
    assert_close(direct[-1].after, np.linalg.norm(t), "direct")
    assert_close(through_tanh[-1].after, np.linalg.norm([1 - t[0] ** 2, -2 * (1 - t[1] ** 2)]), "t")
    assert_close(total.after, np.linalg.norm(t + [1.0, -2.0] * (1 - t * t)), "sum")


def test_parallel_edges_are_told_apart() -> None:
    x = tg.Tensor([3.0, 4.0], requires_grad=True, name="x")
    derivation = derive((x * x).sum(), x)
    (total,) = [item for item in derivation.product if isinstance(item, PathSum)]
    assert [term[0].argument for term in total.terms if isinstance(term[0], Factor)] == ["a", "b"]
    assert derivation.paths == 2
    assert "│a" in str(derivation)


@given(graphs())
def test_on_any_graph_product_and_count_are_right(drawn: tuple[tg.Tensor, tg.Tensor, int]) -> None:
    y, leaf, paths = drawn
    derivation = derive(y, leaf)
    (expected,) = tg.grad(y, leaf, retain_graph=True)
    assert derivation.paths == paths
    assert_close(derivation.gradient, expected, "gradient")
    assert derivation.agrees()
    assert "yes (largest difference" in str(derivation)


@given(graphs())
def test_on_any_graph_the_printed_formula_is_the_gradient(
    drawn: tuple[tg.Tensor, tg.Tensor, int],
) -> None:
    y, leaf, _ = drawn
    derivation = derive(y, leaf)
    if derivation.written is None:  # too many paths
        assert any(isinstance(item, PathSum) and item.lines for item in derivation.product)
        return
    arrays: dict[str, np.ndarray] = {}
    assert y.node is not None
    symbols = Symbols(y.node, leaf_names(y.node, {}), {})
    waiting: list[Any] = [y.node]
    while waiting:  # the values, from what the nodes have kept of each other
        node = waiting.pop()
        for name, value in zip(node.plan.names, node.saved, strict=True):
            if name == "y":
                arrays[symbols[node].plain()] = value
            elif isinstance(value, tg.Tensor):
                arrays[symbols[value.node or value].plain()] = value._array
        waiting += [parent for parent in node.parents if isinstance(parent, Node)]
    free = [letter for letter in derivation.written.index if letter]
    at = Entries(arrays, derivation.written.lengths)
    found = at.value(derivation.written.formula.plain(), free)
    (expected,) = tg.grad(y, leaf, retain_graph=True)
    assert_close(found, expected, derivation.written.formula.plain())


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_factor_is_the_difference_quotient_of_its_forward(kind: str) -> None:
    """No derivative rule takes part: each op is computed again at points nearby."""
    model, loss, watch, _ = network(kind)
    _, parameter = next(iter(model.named_parameters()))
    for edge in Paths(loss.node, parameter).edges:
        node = edge.node
        if node.op.sequence or node.op.selecting or node.op.role == "pooling":
            continue
        given = arguments(node, watch)
        of = edge.derivative.of
        x, step = np.asarray(given[of], float), 1e-6
        columns = []
        for k in np.ndindex(x.shape):
            ends = []
            for sign in (1, -1):
                moved = x.copy()
                moved[k] += sign * step
                ends.append(np.asarray(node.op(**{**given, of: moved})))
            columns.append((ends[0] - ends[1]) / (2 * step))
        norm = local_norm(edge)
        assert norm is not None
        expected = np.linalg.norm(columns)
        assert abs(norm - expected) <= 1e-6 * max(expected, 1), (node.op.name, norm, expected)


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_letter_of_a_formula_is_explained(kind: str) -> None:
    model, loss, _, _ = network(kind)
    for name, _ in model.named_parameters():
        derivation = derive(loss, name)
        explained = {quantity.symbol for quantity in derivation.quantities}
        for factor in factors_of(derivation.product):
            assert factor.is_known, f"{name}: {factor.op}"
            used = {part.symbol for part in factor.formula.parts if isinstance(part, Entry)}
            assert used - {SUM} <= explained
            assert {factor.top, factor.bottom} <= explained
