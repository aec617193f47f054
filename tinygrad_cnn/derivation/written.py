"""The derivative written out entry by entry: one formula, with the sum over every index.

An index belongs to each quantity on the way. What only one path leads to takes it from what is
above; where paths meet, the indices that the paths bring must agree, and where they do not a
bracket ``[i = k]`` makes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.derivation.entries import Letters, at, entry_of, shared_axes
from tinygrad_cnn.derivation.letters import LETTERS
from tinygrad_cnn.derivation.notation import (
    Entry,
    Formula,
    Index,
    Part,
    Symbol,
    bind,
    joined,
    product,
)
from tinygrad_cnn.derivation.paths import Edge, Paths, Place
from tinygrad_cnn.derivation.symbols import Symbols, kept_by

__all__ = ["Term", "Written", "write_edge", "write_out"]


SUM = Symbol("Σ")
LETTER = r"[^\W\d]′*"


@dataclass(frozen=True, slots=True)
class Term:
    """One of several products that are added, with the indices that it alone is summed over."""

    over: tuple[str, ...]
    factors: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """A derivative, entry by entry.

    Attributes
    ----------
    index : tuple of str
        Of the entry that it is the derivative with respect to.
    over : tuple of str
        The indices that all of it is summed over.
    factors : tuple
        The product: each a formula, or a tuple of terms to be added.
    lengths : mapping of str to int
        How many values each index takes, from 0.
    entries : mapping of Edge to Formula
        Each local derivative.
    indices : mapping
        The index of each node and leaf.
    """

    index: Index
    over: tuple[str, ...]
    factors: tuple[Formula | tuple[Term, ...], ...]
    lengths: Mapping[str, int]
    entries: Mapping[Edge, Formula]
    indices: Mapping[Place, Index]

    def entry(self, edge: Edge) -> Formula:
        """Return the entry of a local derivative, with its sum over the indices only it has."""
        formula = self.entries[edge]
        indices = (*self.indices[edge.node], *self.indices[edge.target])
        shared = set(re.findall(LETTER, " ".join(indices)))
        used = {k for part in formula.parts if isinstance(part, Entry) for k in part.index}
        over = tuple(k for k in self.lengths if k in used - shared)
        return _summed(over, [formula])

    @property
    def formula(self) -> Formula:
        """All of it; a sign Σ holds up to the next + outside brackets."""
        factors = [f if isinstance(f, Formula) else _added(f) for f in self.factors]
        return _summed(self.over, factors)


def write_out(paths: Paths, symbols: Symbols) -> Written | None:
    """Return the derivative along all paths, entry by entry; None if they are too many to add."""
    made = _Indices(paths.places, paths.edges, symbols)
    inside: set[str] = set()
    factors: list[Formula | tuple[Term, ...]] = []
    for step in paths.steps:
        if isinstance(step, Edge):
            factors.append(made.entries[step])
            continue
        terms = step.terms
        if terms is None:
            return None
        kept = set(made.indices[step.bottom])
        inside |= {letter for edge in step.edges for letter in made.brought[edge]} - kept
        factors.append(tuple(
            Term(
                tuple(k for edge in term for k in made.brought[edge] if k not in kept),
                tuple(made.entries[edge] for edge in term),
            )
            for term in terms
        ))  # fmt: skip
    free = made.indices[paths.places[-1]]
    lengths = made.letters.lengths
    over = tuple(letter for letter in lengths if letter not in inside and letter not in free)
    return Written(free, over, tuple(factors), lengths, made.entries, made.indices)


def write_edge(edge: Edge, symbols: Symbols) -> Written:
    """Return one local derivative by itself, entry by entry."""
    made = _Indices([edge.node, edge.target], [edge], symbols)
    top, bottom = made.indices[edge.node], made.indices[edge.target]
    lengths = made.letters.lengths
    over = tuple(letter for letter in lengths if letter not in (*top, *bottom))
    factors = (made.entries[edge],)
    return Written(bottom, over, factors, lengths, made.entries, made.indices)


def _added(terms: Sequence[Term]) -> Formula:
    parts: list[Part] = []
    for k, term in enumerate(terms):
        shown = _summed(term.over, list(term.factors))
        parts += [" + "] * (k > 0)
        negative = k > 0 and str(shown.parts[0]).startswith("−")
        parts += ["(", *shown.parts, ")"] if negative else shown.parts
    return joined(*parts)


def _summed(over: Index, factors: list[Formula]) -> Formula:
    whole = product(factors)
    if not over:
        return whole
    return joined(Entry(SUM, over), " ", *whole.as_factor(first=True).parts)


class _Indices:
    """Gives every place its index and every edge its formula, from the top down.

    Attributes
    ----------
    indices : dict
        By place.
    entries : dict
        By edge.
    brought : dict
        The letters that came in with each edge.
    letters : Letters
    """

    def __init__(self, places: Sequence[Place], edges: Sequence[Edge], symbols: Symbols) -> None:
        self.indices: dict[Place, Index] = {}
        self.entries: dict[Edge, Formula] = {}
        self.brought: dict[Edge, tuple[str, ...]] = {}
        self.symbols = symbols
        arriving: dict[Place, list[Edge]] = {}
        for edge in edges:
            arriving.setdefault(edge.target, []).append(edge)
            symbols.bindings(edge)  # constants claim their letters before any index does
        self.letters = Letters(symbols.letters)
        for place in places:
            if place in arriving:
                self._meet(place, arriving[place], last=place is places[-1])
            else:
                self.indices[place] = self.letters.index(place.shape)

    def _meet(self, place: Place, edges: Sequence[Edge], last: bool) -> None:
        """Give a place the index that all edges to it agree on, or new letters."""
        local = [self._local(edge) for edge in edges]
        agreed: list[str] = []
        for axis, length in enumerate(place.shape):
            offered = [one.index[axis] for one in local]
            letter = offered[0]
            plain = bool(re.fullmatch(LETTER, letter)) and letter not in agreed
            if length == 1:
                letter = ""
            elif len(set(offered)) > 1 or (last and not plain):
                own = [k for k, one in zip(offered, local, strict=True) if k in one.new]
                letter = own[0] if own else self.letters.fresh(length)
                for one in local:
                    self.letters.lengths.pop(one.settle(axis, letter), None)
            agreed.append(letter)
        self.indices[place] = tuple(agreed)
        for edge, one in zip(edges, local, strict=True):
            bound = bind(one.formula, self.symbols.bindings(edge), _operands(edge, one.y))
            brackets = [Formula((bracket,)) for bracket in one.brackets]
            self.entries[edge] = product([bound.stripped(), *brackets])
            self.brought[edge] = tuple(one.new)

    def _local(self, edge: Edge) -> _Local:
        """Return what an edge would have by itself."""
        known = set(self.letters.lengths)
        y = self.indices[edge.node]
        found = entry_of(edge, y, self.letters)
        if found is None:
            x = self.letters.index(edge.target.shape)
            found = x, f"∂{at('y', y)}/∂{at(edge.derivative.of, x)}"
        return _Local(y, *found, [k for k in self.letters.lengths if k not in known])


@dataclass(slots=True)
class _Local:
    """What one edge would have: the index of its end, its formula, its new letters."""

    y: Index
    index: Index
    formula: str
    new: list[str]
    brackets: list[str] = field(default_factory=list)

    def settle(self, axis: int, letter: str) -> str:
        """Take `letter` for an axis; return the new letter of its own that is not needed then."""
        mine = self.index[axis]
        self.index = (*self.index[:axis], letter, *self.index[axis + 1 :])
        if mine == letter:
            return ""
        replaced = mine in self.new and mine not in self.index
        if replaced:
            self.new.remove(mine)
            self.formula = _renamed(self.formula, mine, letter)
        else:
            self.brackets.append(f"[{mine or '0'} = {letter}]")
        self.new.append(letter)
        return mine if replaced else ""


def _operands(edge: Edge, y: Index) -> dict[str, Index]:
    """Return the indices of the names in an elementwise formula, which have none behind them."""
    node = edge.node
    if not node.op.elementwise:
        return {}
    shapes = dict.fromkeys([*node.op.operands, "y"], node.shape)
    shapes |= {name: np.shape(_array(value)) for name, value in kept_by(node).items()}
    shapes |= {
        name: parent.shape
        for name, parent in zip(node.op.operands, node.parents, strict=True)
        if parent is not None
    }
    aliases = LETTERS.get(node.op.name, {})
    shapes |= {letter: shapes[name] for letter, name in aliases.items() if name in shapes}
    return {name: shared_axes(y, shape) for name, shape in shapes.items() if len(shape) <= len(y)}


def _array(value: Any) -> Any:
    return value.array if isinstance(value, Variable) else value if np.ndim(value) else 0


def _renamed(formula: str, old: str, new: str) -> str:
    """Return a formula with a letter changed in all its brackets."""
    written = []
    depth = 0
    for token in re.findall(r"[^\W\d]+′*|.", formula, re.DOTALL):
        depth += (token == "[") - (token == "]")
        written.append(new if token == old and depth else token)
    return "".join(written)
