"""Random compositions of ops, on values of any shape, as functions that can be checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_cnn as tg

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
        values = list(arguments)
        for step in self.steps:
            values.append(step(values))
        return tg.concatenate([tg.reshape(value, -1) for value in values])

    def arguments(self, seed: int = 0) -> list[Any]:
        """Return random arguments."""
        rng = np.random.default_rng(seed)
        return [rng.standard_normal(shape) for shape in self.shapes]


@st.composite
def compositions(draw: st.DrawFn) -> Composition:
    """Return a strategy for compositions of one to three arguments and up to seven steps."""
    longest = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=4))
    shapes = [longest]
    for _ in range(draw(st.integers(0, 2))):  # that broadcast against it
        part = longest[draw(st.integers(0, len(longest))) :]
        shapes.append(tuple(draw(st.sampled_from(sorted({1, n}))) for n in part))
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
        if result.size <= MOST:
            steps.append(step)
            values.append(result)
    return Composition(tuple(shapes), tuple(steps))


# --- which values an op takes, and with what options ---------------------------------------------

Places: TypeAlias = Callable[[str, list[Any]], list[tuple[int, ...]]]
Choice: TypeAlias = Callable[[Shape], st.SearchStrategy[Options]]


def _any(op: str, values: list[Any]) -> list[tuple[int, ...]]:
    return [(i,) for i in range(len(values))]


def _with_axes(op: str, values: list[Any]) -> list[tuple[int, ...]]:
    return [(i,) for i, value in enumerate(values) if value.ndim]


def _pairs(op: str, values: list[Any]) -> list[tuple[int, ...]]:
    def fit(i: int, j: int) -> bool:
        try:
            tg.OPS[op](values[i], values[j])
        except ValueError:
            return False
        return True

    return [(i, j) for i, j in product(range(len(values)), repeat=2) if fit(i, j)]


def _alike(op: str, values: list[Any]) -> list[tuple[int, ...]]:
    pairs = product(_with_axes(op, values), repeat=2)
    return [(i, j) for (i,), (j,) in pairs if values[i].shape == values[j].shape]


def _one_axis(shape: Shape) -> st.SearchStrategy[int]:
    return st.integers(-len(shape), len(shape) - 1)


def _several_axes(shape: Shape) -> st.SearchStrategy[Any]:
    axes = st.integers(0, len(shape) - 1)
    return st.lists(axes, unique=True, min_size=1, max_size=len(shape)).map(tuple)


def _none(shape: Shape) -> st.SearchStrategy[Options]:
    return st.just({})


def _axis(shape: Shape) -> st.SearchStrategy[Options]:
    return st.fixed_dictionaries({"axis": _one_axis(shape)})


def _axes(shape: Shape) -> st.SearchStrategy[Options]:
    some = [_one_axis(shape), _several_axes(shape)] if shape else []
    return st.fixed_dictionaries({"axis": st.one_of(st.none(), *some), "keepdims": st.booleans()})


def _flipped(shape: Shape) -> st.SearchStrategy[Options]:
    return st.fixed_dictionaries({"axis": _several_axes(shape)})


def _turned(shape: Shape) -> st.SearchStrategy[Options]:
    return st.fixed_dictionaries({"axes": st.permutations(range(len(shape))).map(tuple)})


def _reshaped(shape: Shape) -> st.SearchStrategy[Options]:
    return st.fixed_dictionaries({"shape": st.sampled_from([(-1,), (1, -1), (*shape, 1)])})


def _broadcast(shape: Shape) -> st.SearchStrategy[Options]:
    longer = st.tuples(*(st.sampled_from([1, 2, 3]) if n == 1 else st.just(n) for n in shape))
    return st.fixed_dictionaries({"shape": longer | longer.map(lambda s: (2, *s))})


def _padded(shape: Shape) -> st.SearchStrategy[Options]:
    widths = st.tuples(*(st.tuples(st.integers(0, 2), st.integers(0, 2)) for _ in shape))
    return st.fixed_dictionaries({"widths": widths, "value": st.sampled_from([0.0, -1.5])})


def _indexed(shape: Shape) -> st.SearchStrategy[Options]:
    basic = hnp.basic_indices(shape, allow_newaxis=True, min_dims=0)
    several = hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2))
    return st.fixed_dictionaries({"index": basic | several})


STEPS: dict[str, tuple[Places, Choice]] = {
    **dict.fromkeys(["neg", "tanh", "sigmoid", "softplus", "relu", "abs"], (_any, _none)),
    **dict.fromkeys(["add", "sub", "mul", "maximum", "matmul", "linear", "mse"], (_pairs, _none)),
    **dict.fromkeys(["sum", "mean", "max", "min", "logsumexp"], (_any, _axes)),
    **dict.fromkeys(["softmax", "log_softmax"], (_with_axes, _axis)),
    **dict.fromkeys(["concatenate", "stack"], (_alike, _axis)),
    "transpose": (_any, _turned),
    "reshape": (_any, _reshaped),
    "broadcast_to": (_any, _broadcast),
    "flip": (_with_axes, _flipped),
    "pad": (_with_axes, _padded),
    "getitem": (_with_axes, _indexed),
}
