"""The entry of a local derivative that is shown, ∂y[i]/∂x[k] = …, is that of the op's Jacobian."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.compare import assert_close
from support.drawing import at_least
from support.entries import Entries, quantities
from support.example_calls import calls

import tinygrad_cnn as tg
from tinygrad_cnn.check.call import Call
from tinygrad_cnn.derivation.measure import local_norm
from tinygrad_cnn.derivation.paths import Edge, Paths
from tinygrad_cnn.derivation.symbols import Symbols, leaf_names
from tinygrad_cnn.derivation.written import write_edge
from tinygrad_cnn.ops.targets import class_axis

OURS = {name: op for name, op in tg.OPS.items() if op.__module__.startswith("tinygrad_cnn.ops.")}
DERIVATIVES = [(name, of) for name, op in OURS.items() for of in op.derivatives]
BY_RULE = {
    "fold": "x",
    "unfold": "x",
    "avgpool_gradient": "u",
    "conv2d_input_gradient": "u w",
    "conv2d_weight_gradient": "u x",
    "pad": "x",
    "put": "x",
    "rank_average": "x",
    "resample": "x",
    "scatter_windows": "u",
}
"""The derivatives that are shown by their rule, for all calls."""
LARGEST_JACOBIAN = 20_000


class Recorded:
    """A call recorded for one of its arguments, and its Jacobian."""

    def __init__(self, call: Call, of: str) -> None:
        given: dict[str, Any] = dict(call.arguments)
        if call.op.sequence:
            given[of] = [tg.Tensor(part, requires_grad=True) for part in given[of]]
            self.leaf = given[of][-1]
        else:
            given[of] = self.leaf = tg.Tensor(np.asarray(given[of], float), requires_grad=True)
        self.arguments = given
        self.y = call.op(**given)
        self.edge: Edge = Paths(self.y.node, self.leaf).edges[-1]
        self.symbols = Symbols(self.y.node, leaf_names(self.y.node, {}), {})

    def jacobian(self) -> np.ndarray:
        rows = np.eye(self.y.size).reshape(self.y.size, *self.y.shape)
        found = [tg.grad(self.y, self.leaf, gradient=row, retain_graph=True)[0] for row in rows]
        return np.reshape(found, self.y.shape + self.leaf.shape)

    def values(self) -> dict[str, Any]:
        """Return the arrays by the names that the formula has for them."""
        names = self.symbols.bindings(self.edge)
        values: dict[str, Any] = {self.symbols[self.edge.node].plain(): self.y.numpy()}
        for parameter, value in self.arguments.items():
            symbol = names.get(parameter)
            if symbol is None or isinstance(symbol, str) or isinstance(value, list):
                continue
            array = value.numpy() if isinstance(value, tg.Tensor) else np.asarray(value)
            if parameter == "target" and self.edge.node.op.name == "cross_entropy":
                array = self.probabilities(array)
            if self.edge.node.op.elementwise and self.symbols.constants.get(symbol, "")[1:] == (
                self.y.shape,
            ):
                array = np.broadcast_to(array, self.y.shape)
            values[symbol.plain()] = array
        given = {
            name: value.numpy() if isinstance(value, tg.Tensor) else value
            for name, value in self.arguments.items()
        }
        for letter, array in quantities(self.edge.node.op.name, given).items():
            values[names[letter].plain()] = array
        return values

    def probabilities(self, target: np.ndarray) -> np.ndarray:
        axis = class_axis("", self.leaf.shape, self.arguments["axis"])
        classes = self.leaf.shape[axis]
        rows = target
        if target.ndim < self.leaf.ndim:
            rows = np.moveaxis(np.eye(classes)[target], -1, axis)
        smoothing = self.arguments["label_smoothing"]
        return (1 - smoothing) * rows + smoothing / classes


@pytest.mark.parametrize(("name", "of"), DERIVATIVES)
def test_entry_is_that_of_the_jacobian(name: str, of: str) -> None:
    shown = set()

    @at_least(30)
    @given(calls(name, of), st.integers(0, 99))
    def holds(call: Call, seed: int) -> None:
        recorded = Recorded(_without_ties(call, of, seed), of)
        assume(0 < recorded.y.size * recorded.leaf.size <= LARGEST_JACOBIAN)
        shown.add(_is_shown_and_right(recorded))

    holds()
    assert shown == ({False} if of in BY_RULE.get(name, "").split() else shown | {True})


def _is_shown_and_right(recorded: Recorded) -> bool:
    """Return whether the entry is written out; assert that it is then the Jacobian's."""
    edge = recorded.edge
    written = write_edge(edge, recorded.symbols)
    top, bottom = written.indices[edge.node], written.indices[edge.target]
    formula = written.formula.plain()
    if formula.startswith("∂"):
        return False
    at = Entries(recorded.values(), written.lengths)
    letters = [*filter(None, dict.fromkeys([*top, *bottom]))]
    entries = at.value(formula, letters)
    whole = _spread(entries, letters, (*top, *bottom), recorded)
    known = np.isfinite(whole)
    assert_close(whole[known], recorded.jacobian()[known], formula)
    return True


def _spread(
    entries: np.ndarray, letters: list[str], index: tuple[str, ...], recorded: Recorded
) -> np.ndarray:
    """Return the whole Jacobian: entries where shared letters agree, zeros elsewhere."""
    jacobian = np.zeros(recorded.y.shape + recorded.leaf.shape)
    for at in np.ndindex(entries.shape):
        value = dict(zip(letters, at, strict=True))
        place = tuple(value[letter] if letter else 0 for letter in index)
        jacobian[place] = entries[at]
    return jacobian


def _without_ties(call: Call, of: str, seed: int) -> Call:
    """Return the call, for ops that choose the largest with values all different."""
    if call.op.name not in ("max", "min", "maxpool", "gather_windows"):
        return call
    x = np.random.default_rng(seed).permutation(np.asarray(call.arguments[of]).size)
    return Call(
        call.op, {**call.arguments, of: x.reshape(call.arguments[of].shape) / 7 + 1}, call.of
    )


@pytest.mark.parametrize(("name", "of"), DERIVATIVES)
def test_norm_of_a_factor_is_that_of_the_jacobian(name: str, of: str) -> None:
    @at_least(20)
    @given(calls(name, of))
    def holds(call: Call) -> None:
        recorded = Recorded(call, of)
        assume(recorded.y.size * recorded.leaf.size <= LARGEST_JACOBIAN)
        found = local_norm(recorded.edge)
        assert found is not None
        if recorded.y.size:
            assert_close(found, np.linalg.norm(recorded.jacobian()), name)

    holds()


def test_an_option_that_chooses_another_formula_leaves_the_entry_unwritten() -> None:
    z = tg.Tensor(np.array([0.5, 1.0]), requires_grad=True)
    exact, approximate = (str(tg.derive(tg.gelu(z, form).sum(), z)) for form in ("none", "tanh"))
    assert "φ" in exact
    assert "φ" not in approximate
    assert "∂E/∂xᵢ = ∂αᵢ/∂xᵢ" in approximate
