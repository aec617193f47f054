"""Entries of losses, softmax and reductions."""

from __future__ import annotations

import math

import numpy as np

from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.derivation.entries.registry import (
    Letters,
    Local,
    at,
    entry,
    equal,
)
from tinygrad_cnn.derivation.notation import Index
from tinygrad_cnn.derivation.paths import Edge
from tinygrad_cnn.derivation.symbols import kept_by, options_of
from tinygrad_cnn.ops.loss import class_axis


def _mean(edge: Edge, difference: str, count: int, factor: str = "") -> str:
    """Return a difference with the factor of the loss's reduction."""
    n = count if options_of(edge.node).get("reduction") == "mean" else 1
    if not factor and n == 1:
        return difference
    return f"{factor}({difference})" + (f" / {n}" if n > 1 else "")


def _each(edge: Edge, y: Index, letters: Letters) -> Index:
    """Return the index of a loss's argument."""
    unreduced = options_of(edge.node).get("reduction") == "none"
    return y if unreduced else letters.index(edge.target.shape)


def _difference(edge: Edge, x: Index) -> str:
    own = edge.derivative.of
    other = "target" if own == "prediction" else "prediction"
    return f"{at(own, x)} − {at(other, x)}"


@entry(("squared_error", "prediction"), ("squared_error", "target"))
def _(edge: Edge, y: Index, letters: Letters) -> Local:
    x = _each(edge, y, letters)
    return x, _mean(edge, _difference(edge, x), math.prod(edge.target.shape))


@entry(("mse", "prediction"), ("mse", "target"))
def _(edge: Edge, y: Index, letters: Letters) -> Local:
    x = _each(edge, y, letters)
    return x, _mean(edge, _difference(edge, x), math.prod(edge.target.shape), "2·")


@entry(("cross_entropy", "logits"))
def _(edge: Edge, y: Index, letters: Letters) -> Local | None:
    shape = edge.target.shape
    options = options_of(edge.node)
    if class_axis(shape, options["axis"]) != len(shape) - 1:
        return None  # S runs over the last axis
    target = kept_by(edge.node)["target"]
    target = np.asarray(target.array if isinstance(target, Variable) else target)
    if target.shape == shape and not np.allclose(target.sum(axis=-1), 1.0):
        return None  # with weights, the softmax is multiplied by their sum
    if options["reduction"] == "none":
        x: Index = (*y, letters.fresh(shape[-1]))
    else:
        x = letters.index(shape)
    difference = f"S({at('logits', x)}) − {at('target', x)}"
    return x, _mean(edge, difference, math.prod(shape[:-1]))


def _along(edge: Edge, y: Index, letters: Letters) -> tuple[str, str, Index]:
    """Return the result's and the argument's letter along the axis, and the argument's index."""
    axis = options_of(edge.node)["axis"] % len(y)
    fresh = letters.fresh(edge.target.shape[axis])
    return y[axis], fresh, (*y[:axis], fresh, *y[axis + 1 :])


def _cooled(edge: Edge, formula: str) -> str:
    """Divide by the temperature."""
    temperature = options_of(edge.node)["temperature"]
    return formula if temperature == 1.0 else f"{formula} / {temperature:g}"


@entry(("softmax", "x"))
def _(edge: Edge, y: Index, letters: Letters) -> Local:
    i, k, x = _along(edge, y, letters)
    return x, _cooled(edge, f"{at('y', y)}·({equal(i, k)} − {at('y', x)})")


@entry(("log_softmax", "x"))
def _(edge: Edge, y: Index, letters: Letters) -> Local:
    i, k, x = _along(edge, y, letters)
    return x, _cooled(edge, f"({equal(i, k)} − exp({at('y', x)}))")


def _reduced(edge: Edge, y: Index, letters: Letters) -> tuple[Index, int]:
    """Return the index of the reduced argument and the number of entries per result."""
    shape = edge.target.shape
    options = options_of(edge.node)
    axis = options["axis"]
    axes = range(len(shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    gone = {a % len(shape) for a in axes}
    if len(gone) == len(shape):
        return letters.index(shape), math.prod(shape)
    left = iter(y if not options["keepdims"] else [
        letter for a, letter in enumerate(y) if a not in gone
    ])  # fmt: skip
    x = tuple(letters.fresh(n) if a in gone else next(left) for a, n in enumerate(shape))
    return x, math.prod(shape[a] for a in gone)


@entry(("sum", "x"))
def _(edge: Edge, y: Index, letters: Letters) -> Local:
    return _reduced(edge, y, letters)[0], "1"


@entry(("mean", "x"))
def _(edge: Edge, y: Index, letters: Letters) -> Local:
    x, count = _reduced(edge, y, letters)
    return x, f"1 / {count}" if count > 1 else "1"


@entry(("max", "x"), ("min", "x"))
def _(edge: Edge, y: Index, letters: Letters) -> Local:
    x, _ = _reduced(edge, y, letters)
    return x, f"[{at('y', y)} took {at('x', x)}]"


@entry(("logsumexp", "x"))
def _(edge: Edge, y: Index, letters: Letters) -> Local:
    x, _ = _reduced(edge, y, letters)
    return x, f"exp({at('x', x)} − {at('y', y)})"
