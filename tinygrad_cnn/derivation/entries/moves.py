"""Entries of ops that move values: reshaping, indexing, joining."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_cnn.derivation.entries.registry import (
    Letters,
    Local,
    Shape,
    entry,
    equal,
    place,
    shared_axes,
)
from tinygrad_cnn.derivation.notation import Index
from tinygrad_cnn.derivation.paths import Edge
from tinygrad_cnn.derivation.symbols import kept_by, options_of


def _flat(index: Index, shape: Shape) -> str:
    """Return the flat index of an entry in row-major order."""
    strides = [math.prod(shape[a + 1 :]) for a in range(len(shape))]
    return place(*zip(strides, index, strict=True))


@entry(("reshape", "x"))
def _(edge: Edge, y: Index, letters: Letters) -> Local:
    old, new = edge.target.shape, edge.node.shape
    same = 0
    while same < min(len(old), len(new)) and old[same] == new[same]:
        same += 1
    flat = _flat(y[same:], new[same:])
    if math.prod(old[same:]) == max(old[same:], default=1):  # one axis: no new letter is needed
        return (*y[:same], *(flat if n > 1 else "" for n in old[same:])), "1"
    rest = letters.index(old) if not same else tuple(letters.fresh(n) for n in old[same:])
    return (*y[:same], *rest), equal(flat, _flat(rest, old[same:]))


@entry(("transpose", "x"))
def _(edge: Edge, y: Index, letters: Letters) -> Local:
    axes = options_of(edge.node)["axes"]
    order = [a % len(y) for a in (range(len(y))[::-1] if axes is None else axes)]
    return tuple(y[order.index(a)] for a in range(len(y))), "1"


@entry(("broadcast_to", "x"))
def _(edge: Edge, y: Index, letters: Letters) -> Local:
    return shared_axes(y, edge.target.shape), "1"


@entry(("sum_to", "x"))
def _(edge: Edge, y: Index, letters: Letters) -> Local:
    shape = edge.target.shape
    kept = ("",) * (len(shape) - len(y)) + y
    lengths = (1,) * (len(shape) - len(y)) + edge.node.shape
    return tuple(
        letters.fresh(n) if before != n else letter
        for letter, before, n in zip(kept, lengths, shape, strict=True)
    ), "1"


@entry(("flip", "x"))
def _(edge: Edge, y: Index, letters: Letters) -> Local:
    axis = options_of(edge.node)["axis"]
    axes = range(len(y)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    turned = {a % len(y) for a in axes}
    return tuple(
        f"{n - 1} − " + (f"({letter})" if " " in letter else letter)
        if a in turned and letter else letter
        for a, (letter, n) in enumerate(zip(y, edge.target.shape, strict=True))
    ), "1"  # fmt: skip


@entry(("getitem", "x"))
def _(edge: Edge, y: Index, letters: Letters) -> Local | None:
    index = kept_by(edge.node)["index"]
    parts = index if isinstance(index, tuple) else (index,)
    shape = edge.target.shape
    if not all(map(_is_step, parts)):
        return None
    spent = sum(part is not None and part is not Ellipsis for part in parts)
    whole = (slice(None),) * (len(shape) - spent)
    cut = next((k for k, part in enumerate(parts) if part is Ellipsis), len(parts))
    left, axes = iter(y), iter(shape)
    x = []
    for part in (*parts[:cut], *whole, *parts[cut + 1 :]):
        if part is None:
            next(left)
            continue
        length = next(axes)
        if isinstance(part, slice):
            start, _, step = part.indices(length)
            written = place((step, next(left)), constant=start) or "0"
        else:
            written = str(int(part) % length)
        x.append("" if length == 1 else written)
    return tuple(x), "1"


def _is_step(part: Any) -> bool:
    """Return whether an index part is an integer, None, an ellipsis or a forward slice."""
    if isinstance(part, slice):
        return part.step is None or part.step > 0
    whole = isinstance(part, int | np.integer) and not isinstance(part, bool)
    return part is None or part is Ellipsis or whole


@entry(("concatenate", "arrays"))
def _(edge: Edge, y: Index, letters: Letters) -> Local:
    node = edge.node
    axis = options_of(node)["axis"] % len(y)
    before = sum(shape[axis] for shape in kept_by(node)["arrays_shape"][: edge.number])
    fresh = letters.fresh(edge.target.shape[axis])
    x = (*y[:axis], fresh, *y[axis + 1 :])
    return x, equal(y[axis], place((1, fresh), constant=before))


@entry(("stack", "arrays"))
def _(edge: Edge, y: Index, letters: Letters) -> Local:
    axis = options_of(edge.node)["axis"] % len(y)
    return (*y[:axis], *y[axis + 1 :]), equal(y[axis], str(edge.number))
