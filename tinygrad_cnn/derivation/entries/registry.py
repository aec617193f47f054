"""The registry of local-derivative entries: ∂y[…]/∂x[…] for each op, as a formula.

The derivative of an elementwise op is read from its declaration: the factor of g. Other ops have a
rule here, a function of the edge and of the index of the result. It returns the formula and the
index of the argument, with new letters on the axes that the two do not share. For an op without a
rule, the derivative is written as ∂y[…]/∂x[…].

An index may be an expression, such as ``"2·i + k"``, if it always stays within its axis. A bracket,
such as ``[i = k]``, is 1 where its condition holds and 0 elsewhere; ``[y[i] took x[k]]`` is 1 if a
maximum chose that entry. An entry outside its array is 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from tinygrad_cnn.derivation.notation import Index
from tinygrad_cnn.derivation.paths import Edge

__all__ = ["ENTRIES", "Letters", "Local", "at", "entry_of", "shared_axes", "without_gradient"]

Shape: TypeAlias = tuple[int, ...]
Local: TypeAlias = tuple[Index, str]
"""The index of the argument, and the formula."""

ORDER = "ikjplmorstuvhe"


class Letters:
    """Letters for indices, in the text's order: i, k, j, p.

    Parameters
    ----------
    taken : set of str
        Letters that no index may use.

    Attributes
    ----------
    lengths : dict of str to int
        The axis lengths, by letter.
    """

    def __init__(self, taken: set[str]) -> None:
        self.lengths: dict[str, int] = {}
        self._batch = "n" not in taken
        self._free = [letter for letter in ORDER if letter not in taken]
        self._next = 0

    def fresh(self, length: int) -> str:
        """Return a new letter for an axis; "" for an axis of length 1."""
        if length == 1:
            return ""
        primes, place = divmod(self._next, len(self._free))
        self._next += 1
        letter = self._free[place] + "′" * primes
        self.lengths[letter] = length
        return letter

    def index(self, shape: Shape) -> Index:
        """Return new letters for all axes; the first index with several begins with n (batch)."""
        if len(shape) > 1 and self._batch and shape[0] != 1:
            self._batch = False
            self.lengths["n"] = shape[0]
            return ("n", *map(self.fresh, shape[1:]))
        return tuple(map(self.fresh, shape))


Rule: TypeAlias = Callable[[Edge, Index, Letters], Local | None]

ENTRIES: dict[tuple[str, str], Rule] = {}
"""The rules, by op and parameter."""


def entry_of(edge: Edge, y: Index, letters: Letters) -> Local | None:
    """Return the index of an edge's argument and the formula; None if there is no rule."""
    node = edge.node
    if node.op.elementwise:
        return shared_axes(y, edge.target.shape), without_gradient(edge.derivative.formula)
    rule = ENTRIES.get((node.op.name, edge.derivative.of))
    return rule(edge, y, letters) if rule else None


def without_gradient(formula: str) -> str:
    """Return the factor of g in the derivative of an elementwise op.

    Examples
    --------
    >>> without_gradient("g·y·(1 − y)"), without_gradient("−g·a / b²"), without_gradient("g")
    ('y·(1 − y)', '−a / b²', '1')
    """
    return re.sub(r"\bg\b", "1", re.sub(r"\bg·|·g\b", "", formula))


def shared_axes(y: Index, shape: Shape) -> Index:
    """Return the index of an argument that was broadcast to a result with index `y`."""
    axes = y[len(y) - len(shape) :] if shape else ()
    return tuple("" if n == 1 else letter for letter, n in zip(axes, shape, strict=True))


def at(name: str, index: Index) -> str:
    """Return an entry in the notation of formulas.

    Examples
    --------
    >>> at("w", ("i", "", "p")), at("w", ())
    ('w[i, p]', 'w')
    """
    shown = ", ".join(filter(None, index))
    return f"{name}[{shown}]" if shown else name


def entry(*keys: tuple[str, str]) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        ENTRIES.update(dict.fromkeys(keys, rule))
        return rule

    return register


def shape_of(value: Any) -> Shape:
    return np.shape(value) if isinstance(value, np.ndarray) else tuple(value.shape)


def equal(i: str, k: str) -> str:
    """Return the factor that requires two indices to be equal; "" stands for index 0.

    Examples
    --------
    >>> equal("i", "k"), equal("", "0"), equal("1", "0")
    ('[i = k]', '1', '0')
    """
    left, right = i or "0", k or "0"
    if left.isdigit() and right.isdigit():
        return "1" if left == right else "0"
    return f"[{left} = {right}]"


def place(*terms: tuple[int, str], constant: int = 0) -> str:
    """Return an index such as 2·i + k − 1; "" stands for 0.

    Examples
    --------
    >>> place((2, "i + k"), (1, "l"), constant=-1), place((3, ""), constant=0)
    ('2·(i + k) + l − 1', '')
    """
    written = ""
    for factor, letter in terms:
        if letter and factor:
            inner = f"({letter})" if factor != 1 and " " in letter else letter
            written += " + " * bool(written) + (inner if factor == 1 else f"{factor}·{inner}")
    if constant:
        sign = (" − " if constant < 0 else " + ") if written else ("−" if constant < 0 else "")
        written += f"{sign}{abs(constant)}"
    return written
