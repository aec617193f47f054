"""Random compositions of ops, on values of any shape: graphs, and functions that can be checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn.check.strategies import axes, broadcasting, indices
from tinygrad_cnn.drawing.graph import DrawnEdge, DrawnGraph

Shape: TypeAlias = tuple[int, ...]
Options: TypeAlias = dict[str, Any]

MOST = 60  # elements of a value


@dataclass(frozen=True)
class Step:
    """A call of an op on earlier values."""

    op: str
    places: tuple[int, ...]
    options: Options

    def __call__(self, values: list[Any]) -> Any:
        """Return the result of the call."""
        operands = [values[i] for i in self.places]
        if tg.OPS[self.op].sequence:
            return tg.OPS[self.op](operands, **self.options)
        return tg.OPS[self.op](*operands, **self.options)


@dataclass(frozen=True)
class Composition:
    """Steps over a list of values that begins with the arguments and grows by each result."""

    shapes: tuple[Shape, ...]
    steps: tuple[Step, ...]

    def __call__(self, *arguments: Any) -> Any:
        """Return all values in one row: so each flows on there, and into any later steps."""
        return tg.concatenate([tg.reshape(value, -1) for value in self.values(*arguments)])

    def values(self, *arguments: Any) -> list[Any]:
        """Return the arguments and the result of every step."""
        values = list(arguments)
        for step in self.steps:
            values.append(step(values))
        return values

    def arguments(self) -> list[Any]:
        """Return random arrays to begin with."""
        rng = np.random.default_rng(0)
        return [rng.standard_normal(shape) for shape in self.shapes]

    def graph(self) -> list[Any]:
        """Return all values, as Tensors that require a gradient or were computed from such."""
        leaves = [tg.Tensor(array, requires_grad=True) for array in self.arguments()]
        return self.values(*leaves)


@st.composite
def compositions(draw: st.DrawFn) -> Composition:
    """Return a strategy for compositions of one to three arguments and up to seven steps."""
    shapes = draw(st.integers(1, 3).flatmap(broadcasting))
    values = [np.zeros(shape) for shape in shapes]
    steps = []
    for _ in range(draw(st.integers(1, 7))):
        op = draw(st.sampled_from(sorted(STEPS)))
        places, options = STEPS[op]
        fitting = places(op, values)
        if not fitting:
            continue
        chosen = draw(st.sampled_from(fitting))
        step = Step(op, chosen, draw(options(values[chosen[0]].shape)))
        result = step(values)
        if 0 < result.size <= MOST:
            steps.append(step)
            values.append(result)
    assume(steps)
    return Composition(tuple(shapes), tuple(steps))


def differentiated(graph: DrawnGraph) -> list[DrawnEdge]:
    """Return the edges along which gradients flow: all but those of an index that is an array."""
    return [edge for edge in graph.edges if edge.argument != "index"]


# --- which values an op takes --------------------------------------------------------------------

Places: TypeAlias = list[tuple[int, ...]]


def _any(op: str, values: list[Any]) -> Places:
    return [(i,) for i in range(len(values))]


def _with_axes(op: str, values: list[Any]) -> Places:
    return [(i,) for i, value in enumerate(values) if value.ndim]


def _pairs(op: str, values: list[Any]) -> Places:
    def fit(i: int, j: int) -> bool:
        try:
            tg.OPS[op](values[i], values[j])
        except ValueError:
            return False
        return True

    return [(i, j) for i, j in product(range(len(values)), repeat=2) if fit(i, j)]


def _alike(op: str, values: list[Any]) -> Places:
    pairs = product(_with_axes(op, values), repeat=2)
    return [(i, j) for (i,), (j,) in pairs if values[i].shape == values[j].shape]


# --- and with what options -----------------------------------------------------------------------


def _none(shape: Shape) -> st.SearchStrategy[Options]:
    return st.just({})


def _axis(shape: Shape) -> st.SearchStrategy[Options]:
    return st.fixed_dictionaries({"axis": st.integers(-len(shape), len(shape) - 1)})


def _axes(shape: Shape) -> st.SearchStrategy[Options]:
    return st.fixed_dictionaries({"axis": axes(len(shape))})


def _reduced(shape: Shape) -> st.SearchStrategy[Options]:
    return st.fixed_dictionaries({"axis": axes(len(shape)), "keepdims": st.booleans()})


def _turned(shape: Shape) -> st.SearchStrategy[Options]:
    return st.fixed_dictionaries({"axes": st.permutations(range(len(shape))).map(tuple)})


def _reshaped(shape: Shape) -> st.SearchStrategy[Options]:
    return st.fixed_dictionaries({"shape": st.sampled_from([(-1,), (1, -1), (*shape, 1)])})


def _broadcast(shape: Shape) -> st.SearchStrategy[Options]:
    longer = st.tuples(*(st.sampled_from([1, 2, 3]) if n == 1 else st.just(n) for n in shape))
    return st.fixed_dictionaries({"shape": longer | longer.map(lambda s: (2, *s))})


def _padded(shape: Shape) -> st.SearchStrategy[Options]:
    widths = st.tuples(*(st.tuples(st.integers(0, 2), st.integers(0, 2)) for _ in shape))
    return st.fixed_dictionaries({"pad_width": widths, "value": st.sampled_from([0.0, -1.5])})


def _indexed(shape: Shape) -> st.SearchStrategy[Options]:
    return st.fixed_dictionaries({"index": indices(shape)})


Chooser: TypeAlias = Callable[[str, list[Any]], Places]
Choice: TypeAlias = Callable[[Shape], st.SearchStrategy[Options]]

STEPS: dict[str, tuple[Chooser, Choice]] = {
    **dict.fromkeys(["neg", "tanh", "sigmoid", "softplus", "relu", "gelu", "abs"], (_any, _none)),
    **dict.fromkeys(["add", "sub", "mul", "maximum", "matmul", "linear", "mse"], (_pairs, _none)),
    **dict.fromkeys(["sum", "mean", "max", "min", "logsumexp"], (_any, _reduced)),
    **dict.fromkeys(["softmax", "log_softmax"], (_with_axes, _axis)),
    **dict.fromkeys(["concatenate", "stack"], (_alike, _axis)),
    "transpose": (_any, _turned),
    "reshape": (_any, _reshaped),
    "broadcast_to": (_any, _broadcast),
    "flip": (_any, _axes),
    "pad": (_with_axes, _padded),
    "getitem": (_any, _indexed),
}
