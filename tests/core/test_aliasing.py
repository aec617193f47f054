"""Whatever is written, copied, viewed or frozen: a gradient is right, or an error is raised.

A machine calls ops, takes views and copies, and writes through every door, in any order. Beside it
stands a model in float64 that copies every value when it is used, and so cannot see a later write.
"""

from __future__ import annotations

import copy
import os
import pickle
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import tinygrad_cnn as tg
from tinygrad_cnn import optim

Array = np.ndarray[Any, Any]
SHAPES = [(2, 2), (4,)]


@dataclass
class Model:
    """A constant value, and the gradient functions to the values it was computed from."""

    value: Array
    parents: list[tuple[Model, Callable[[Array], Array]]] = field(default_factory=list)
    uses: list[tuple[Root, int]] = field(default_factory=list)
    freed: bool = False

    def ancestors(self) -> list[Model]:
        """Return all that this was made of, and it, the newest first."""
        order: list[Model] = []
        seen: set[int] = set()

        def visit(model: Model) -> None:
            if id(model) not in seen:
                seen.add(id(model))
                for parent, _ in model.parents:
                    visit(parent)
                order.append(model)

        visit(self)
        return order[::-1]

    def gradients(self) -> dict[int, Array]:
        """Return the gradient of the sum of this for each ancestor, by its id."""
        found = {id(self): np.ones_like(self.value)}
        for model in self.ancestors():
            for parent, pull in model.parents:
                sent = pull(found[id(model)])
                found[id(parent)] = found.get(id(parent), np.zeros_like(parent.value)) + sent
        return found


@dataclass
class Root:
    """The memory of a leaf: how often it was written to."""

    writes: int = 0


@dataclass
class Entry:
    """A Tensor, its model, and the roots whose memory it may be."""

    tensor: tg.Tensor
    model: Model
    roots: list[Root]


@tg.op(formula="x", elementwise=True)
def same(x: Array) -> Array:
    """An op that returns its argument itself."""
    return x


@same.derivative("x", formula="g")
def _(g: Array) -> Array:
    return g


del tg.OPS["same"]

VIEWS: dict[str, Callable[[Any], Any]] = {
    "a reshape": lambda x: x.reshape(-1).reshape(2, 2),
    "the transpose": lambda x: x.T,
    "a slice": lambda x: x[::-1],
    "the same": lambda x: same(x) if isinstance(x, tg.Tensor) else x,
    "a user's look": lambda x: x[:, ::-1] if x.ndim > 1 else x[::-1],
}
PULLS: dict[str, Callable[[Array, tuple[int, ...]], Array]] = {
    "a reshape": lambda g, shape: g.reshape(shape),
    "the transpose": lambda g, shape: g.T,
    "a slice": lambda g, shape: g[::-1],
    "the same": lambda g, shape: g,
    "a user's look": lambda g, shape: g[:, ::-1] if g.ndim > 1 else g[::-1],
}


def _without_recording(x: tg.Tensor, write: Callable[[tg.Tensor], object]) -> None:
    with tg.no_grad():
        write(x)


def _subtract(x: tg.Tensor) -> None:
    x.data -= 0.5


def _assign(x: tg.Tensor) -> None:
    x.data = np.full(x.shape, 0.25)


def _held(x: tg.Tensor) -> None:
    part = x.data.T[..., 0]
    part *= -0.5


def _minus(x: tg.Tensor) -> None:
    x -= 1.0


DOORS: dict[str, Callable[[tg.Tensor], object]] = {
    "an item of data": lambda x: x.data.__setitem__(0, 0.75),
    "data in place": _subtract,
    "data assigned": _assign,
    "a view of data": _held,
    "numpy()": lambda x: x.numpy().__setitem__(..., -0.25),
    "fill": lambda x: x.data.fill(0.125),
    "out=": lambda x: np.multiply(x.data, 0.5, out=x.data),
    "at": lambda x: np.add.at(x.data, (0,), 1.0),
    "copyto": lambda x: np.copyto(x.data, 9.0),
    "copyto of the Tensor": lambda x: np.copyto(x, 9.0),
    "asarray": lambda x: np.asarray(x).__setitem__(..., 9.0),
    "ravel": lambda x: np.ravel(x.numpy()).__setitem__(..., 9.0),
    "sort": lambda x: x.numpy()[::-1].sort(),
    "sum": lambda x: np.sum(np.full((3, *x.shape), 0.5), axis=0, out=x.data),
    "put": lambda x: np.put(x.numpy(), [0], 9.0),
    "a memoryview": lambda x: memoryview(np.asarray(x)).cast("B").__setitem__(0, 1),
    "in place": lambda x: _without_recording(x, _minus),
    "an item": lambda x: _without_recording(x, lambda x: x.__setitem__(0, 0.5)),
}
COPIES: dict[str, Callable[[tg.Tensor], tg.Tensor]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "detach": lambda x: x.detach(),
    "Tensor": tg.Tensor,
}


class Aliasing(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.entries: list[Entry] = []
        self.recording = True
        self.create(0, True)
        self.create(1, True)

    def choose(self, at: int) -> Entry:
        return self.entries[at % len(self.entries)]

    def place(self, entry: Entry) -> int:
        return next(i for i, e in enumerate(self.entries) if e is entry)

    def add(self, tensor: tg.Tensor, model: Model, roots: list[Root]) -> None:
        np.testing.assert_allclose(tensor._array, model.value, rtol=1e-12)
        self.entries.append(Entry(tensor, model, roots))

    def call(
        self, function: Callable[..., tg.Tensor], inputs: list[Entry], pulls: list[Any], view: bool
    ) -> None:
        """Call an op, and model it by the values that its arguments have now."""
        values = [e.tensor.numpy().copy() for e in inputs]
        with tg.enable_grad() if self.recording else tg.no_grad():
            y = function(*[e.tensor for e in inputs])
        assert y.requires_grad == (self.recording and any(e.tensor.requires_grad for e in inputs))
        model = Model(np.array(function(*values), "f8"))
        if y.requires_grad:
            for e, pull in zip(inputs, pulls, strict=True):
                if e.tensor.requires_grad:
                    model.parents.append((e.model, lambda g, pull=pull: pull(g, *values)))
                model.uses += [(root, root.writes) for root in e.roots]
        self.add(y, model, [root for e in inputs for root in e.roots] if view else [Root()])

    @rule(seed=st.integers(0, 9), wanted=st.booleans())
    def create(self, seed: int, wanted: bool) -> None:
        values = np.random.default_rng(seed).uniform(-1, 1, (2, 2))
        self.add(tg.Tensor(values, requires_grad=wanted), Model(values.copy()), [Root()])

    @rule(on=st.booleans())
    def switch_recording(self, on: bool) -> None:
        self.recording = on

    @rule(a=st.integers(0), b=st.integers(0))
    def multiply(self, a: int, b: int) -> None:
        pulls = [lambda g, x, w: g * w, lambda g, x, w: g * x]
        self.call(lambda x, w: x * w, [self.choose(a), self.choose(b)], pulls, False)

    @rule(a=st.integers(0), b=st.integers(0))
    def add_up(self, a: int, b: int) -> None:
        pulls = [lambda g, x, w: g, lambda g, x, w: g]
        self.call(lambda x, w: x + w, [self.choose(a), self.choose(b)], pulls, False)

    @rule(a=st.integers(0))
    def squash(self, a: int) -> None:
        def tanh(x: Any) -> Any:
            return tg.tanh(x)

        self.call(tanh, [self.choose(a)], [lambda g, x: g * (1 - np.tanh(x) ** 2)], False)

    @rule(a=st.integers(0), kind=st.sampled_from(sorted(VIEWS)))
    def view(self, a: int, kind: str) -> None:
        pull = PULLS[kind]
        self.call(VIEWS[kind], [self.choose(a)], [lambda g, x: pull(g, x.shape)], True)

    @rule(a=st.integers(0), kind=st.sampled_from(sorted(COPIES)))
    def copied(self, a: int, kind: str) -> None:
        entry = self.choose(a)
        try:
            again = COPIES[kind](entry.tensor)
        except RuntimeError as error:
            assert entry.tensor.node is not None
            assert str(error).endswith("copy its detach()")  # noqa: PT017  # the exception is optional
            return
        assert not np.shares_memory(again._array, entry.tensor._array)
        self.add(again, Model(again.numpy().copy()), [Root()])

    @rule(a=st.integers(0), door=st.sampled_from(sorted(DOORS)))
    def write(self, a: int, door: str) -> None:
        entry = self.choose(a)
        before = entry.tensor._array.copy()
        try:
            DOORS[door](entry.tensor)
        except (ValueError, TypeError, RuntimeError):
            np.testing.assert_array_equal(entry.tensor._array, before)  # refused: nothing changed
            return
        if entry.tensor.is_leaf:  # a write of the same values counts too
            for root in entry.roots:
                root.writes += 1
        else:
            np.testing.assert_array_equal(entry.tensor._array, before)

    @rule(a=st.integers(0), wanted=st.booleans())
    def freeze(self, a: int, wanted: bool) -> None:
        tensor = self.choose(a).tensor
        if tensor.node is None:
            tensor.requires_grad_(wanted)

    @rule(a=st.integers(0))
    def step(self, a: int) -> None:
        entry = self.choose(a)
        before = entry.tensor._array.copy()
        try:
            optimizer = optim.SGD([entry.tensor], lr=0.5)
        except TypeError:
            assert not entry.tensor.is_leaf
            return
        optimizer.step()
        if not np.array_equal(entry.tensor._array, before):
            assert entry.tensor.is_leaf
            assert entry.tensor.requires_grad
            for root in entry.roots:
                root.writes += 1

    @rule(a=st.integers(0), b=st.integers(0), door=st.sampled_from(sorted(DOORS)))
    def save_write_differentiate(self, a: int, b: int, door: str) -> None:
        saved = self.choose(b)
        self.multiply(a, b)
        product = self.entries[-1]
        self.write(self.place(saved), door)
        self.differentiate(self.place(product), True, False)

    @rule(a=st.integers(0), retain=st.booleans(), again=st.booleans())
    def differentiate(self, a: int, retain: bool, again: bool) -> None:
        entry = self.choose(a)
        if not entry.tensor.requires_grad:
            return
        leaves = [e for e in self.entries if e.tensor.requires_grad and e.tensor.node is None]
        ancestors = entry.model.ancestors()
        try:
            found = tg.grad(
                entry.tensor,
                [e.tensor for e in leaves],
                gradient=np.ones(entry.tensor.shape),
                create_graph=again,
                retain_graph=retain or again,
            )
        except tg.ChangedInPlaceError:
            assert any(root.writes > seen for model in ancestors for root, seen in model.uses)
            return
        except tg.GraphFreedError:
            assert any(model.freed for model in ancestors)
            return
        if not (retain or again):
            for model in ancestors:
                model.freed = bool(model.parents)
        expected = entry.model.gradients()
        for leaf, gradient in zip(leaves, found, strict=True):
            right = expected.get(id(leaf.model), np.zeros(leaf.tensor.shape))
            np.testing.assert_allclose(np.asarray(gradient), right, rtol=1e-9, atol=1e-12)
            for e in self.entries:
                assert not np.shares_memory(np.asarray(gradient), e.tensor._array)

    @rule(a=st.integers(0))
    def backward(self, a: int) -> None:
        entry = self.choose(a)
        if not entry.tensor.requires_grad:
            return
        leaves = [e for e in self.entries if e.tensor.requires_grad and e.tensor.node is None]
        for e in leaves:
            e.tensor.grad = None
        try:
            entry.tensor.backward(np.ones(entry.tensor.shape), retain_graph=True)
        except (tg.ChangedInPlaceError, tg.GraphFreedError):
            assert all(e.tensor.grad is None for e in leaves)
            return
        expected = entry.model.gradients()
        for e in leaves:
            assert (e.tensor.grad is not None) == (id(e.model) in expected)
            if e.tensor.grad is not None:
                np.testing.assert_allclose(e.tensor.grad, expected[id(e.model)], rtol=1e-9)

    @rule(a=st.integers(0))
    def draw(self, a: int) -> None:
        tensor = self.choose(a).tensor
        if tensor.node is not None:
            with suppress(tg.GraphFreedError, tg.ChangedInPlaceError):
                assert "digraph" in tg.draw(tensor).source

    @precondition(lambda self: hasattr(os, "fork") and len(self.entries) > 6)
    @rule(a=st.integers(0))
    def fork(self, a: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads of the tests' own
            child = os.fork()
        if child == 0:
            code = 1
            try:
                self.differentiate(a, True, False)
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0

    @invariant()
    def results_keep_their_values(self) -> None:
        for e in self.entries:
            if not any(root.writes for root in e.roots):
                np.testing.assert_array_equal(e.tensor._array, e.model.value)

    def teardown(self) -> None:
        self.entries.clear()


TestAliasing = Aliasing.TestCase
TestAliasing.settings = settings(
    max_examples=2 * settings().max_examples, stateful_step_count=25, deadline=None
)
