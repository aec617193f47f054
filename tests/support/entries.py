"""Formulas of entries, such as ``Σ[i, k] (Y[i] − y[i])·w²[k, j]``, evaluated for all indices.

Every index is an axis of its own, so that a formula is evaluated for all entries at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import special

from support.numeric import SIGNS
from tinygrad_cnn.check.formula import Tree, parse

Array = np.ndarray[Any, Any]


def quantities(op: str, given: Mapping[str, Any]) -> dict[str, Array]:
    """Return what entries use beside an op's arguments, computed from those by NumPy and SciPy."""
    if op == "cross_entropy":
        logits = np.asarray(given["logits"], float)
        axis = given["axis"]
        return {"S(logits)": special.softmax(
            logits, axis=axis if axis is not None else 1 if logits.ndim > 2 else -1
        )}  # fmt: skip
    if op not in ("batch_norm", "layer_norm", "group_norm"):
        return {}
    x = np.asarray(given["x"], float)
    rows, axes = x, (0, *range(2, x.ndim))
    if op == "layer_norm":
        inner = np.atleast_1d(given["normalized_shape"])
        axes = tuple(range(x.ndim - len(inner), x.ndim))
    if op == "group_norm":
        rows = x.reshape(len(x), given["num_groups"], -1)
        axes = (2,)
    mean, variance = rows.mean(axes, keepdims=True), rows.var(axes, keepdims=True)
    normal = (rows - mean) / np.sqrt(variance + given["eps"])
    return {"x̂": normal.reshape(x.shape), "μ": mean, "v": variance}


class Entries:
    """Evaluates formulas whose indices are letters of given lengths.

    Parameters
    ----------
    arrays : mapping
        By name as the formula has it; axes of length 1, which have no index, are dropped.
    lengths : mapping of str to int
        Of the axes that the letters run along.
    """

    def __init__(self, arrays: Mapping[str, Any], lengths: Mapping[str, int]) -> None:
        named = {"e": np.e, **arrays}
        self.arrays = {name: np.squeeze(np.asarray(array)) for name, array in named.items()}
        self.axes = list(lengths)
        self.grid = {
            letter: np.arange(n).reshape([-1 if axis == letter else 1 for axis in lengths])
            for letter, n in lengths.items()
        }
        self.full = tuple(lengths.values())

    def value(self, formula: str, free: list[str]) -> Array:
        """Return the value, with an axis for each of the `free` letters: all others are summed."""
        tree = parse(formula, {"e", *self.arrays, *self.axes})
        with np.errstate(all="ignore"):  # 0·0⁻¹ has no value
            found = np.asarray(self._value(tree), float)
        found = found.reshape((1,) * (len(self.full) - found.ndim) + found.shape)
        bound = tuple(axis for axis, letter in enumerate(self.axes) if letter not in free)
        assert all(found.shape[axis] == 1 for axis in bound), f"{formula}: not summed"
        here = [letter for letter in self.axes if letter in free]
        lengths = [n for letter, n in zip(self.axes, self.full, strict=True) if letter in free]
        kept = np.broadcast_to(np.squeeze(found, axis=bound), lengths)
        return kept.transpose([here.index(letter) for letter in free])

    def _value(self, tree: Tree) -> Any:
        kind, *rest = tree
        if kind == "number":
            return float(rest[0])
        if kind == "name":
            return self.grid[rest[0]] if rest[0] in self.grid else self.arrays[rest[0]]
        if kind == "entry":
            return self._entry(self.arrays[rest[0]], rest[1])
        if kind == "sum over":
            over = tuple(self.axes.index(letter) for _, letter in rest[0])
            lengths = [n if a in over else 1 for a, n in enumerate(self.full)]
            inner = self._value(rest[1]) * np.ones(lengths)
            return inner.sum(axis=over, keepdims=True)
        if kind == "took":  # all values are different
            return np.equal(*map(self._value, rest))
        return SIGNS[kind](*map(self._value, rest))

    def _entry(self, array: Array, index: tuple[Tree, ...]) -> Any:
        places = [np.asarray(self._value(part), int) for part in index]
        inside = [(p >= 0) & (p < n) for p, n in zip(places, array.shape, strict=True)]
        clipped = [np.clip(p, 0, n - 1) for p, n in zip(places, array.shape, strict=True)]
        found = array[tuple(clipped)]
        if not index:
            return found
        return np.where(np.logical_and.reduce(np.broadcast_arrays(*inside)), found, 0.0)
