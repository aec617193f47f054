"""The derivative written out entry by entry: one formula, with the sum over every index.

Each quantity on the paths has an index. A quantity on a single path takes its index from the one
above. Where paths meet, their indices must agree; a bracket ``[i = k]`` enforces this if they
differ.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tinygrad_cnn.derivation.entries import entry_of
from tinygrad_cnn.derivation.notation import (
    Entry,
    Formula,
    Part,
    Symbol,
    bind,
    joined,
    product,
)
from tinygrad_cnn.derivation.paths import Edge, Paths, Place
from tinygrad_cnn.derivation.symbols import Symbols, arrays_of
from tinygrad_cnn.ops.entries import Index, Letters, at, shared_axes

__all__ = ["Term", "Written", "write_edge", "write_out"]


SUM = Symbol("Σ")
LETTER = r"[^\W\d]′*"


@dataclass(frozen=True, slots=True)
class Term:
    """One of several added products, with the indices that only it is summed over."""

    over: tuple[str, ...]
    factors: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """A derivative, entry by entry.

    Attributes
    ----------
    index : tuple of str
        The index of the entry to differentiate by.
    over : tuple of str
        The indices that the whole product is summed over.
    factors : tuple
        The product: each factor a formula, or a tuple of terms to add.
    lengths : mapping of str to int
        The number of values of each index, from 0.
    entries : mapping of Edge to Formula
        The entry of each local derivative.
    indices : mapping
        The index of each node or leaf.
    """

    index: Index
    over: tuple[str, ...]
    factors: tuple[Formula | tuple[Term, ...], ...]
    lengths: Mapping[str, int]
    entries: Mapping[Edge, Formula]
    indices: Mapping[Place, Index]

    def entry(self, edge: Edge) -> Formula:
        """Return the entry of a local derivative, summed over the indices that only it has."""
        formula = self.entries[edge]
        indices = (*self.indices[edge.node], *self.indices[edge.target])
        shared = set(re.findall(LETTER, " ".join(indices)))
        used = {k for part in formula.parts if isinstance(part, Entry) for k in part.index}
        over = tuple(k for k in self.lengths if k in used - shared)
        return _summed(over, [formula])

    @property
    def formula(self) -> Formula:
        """The whole formula; a Σ extends to the next + outside brackets."""
        factors = [f if isinstance(f, Formula) else _added(f) for f in self.factors]
        return _summed(self.over, factors)


def write_out(paths: Paths, symbols: Symbols) -> Written | None:
    """Return the derivative along all paths, entry by entry; None if there are too many."""
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
    """Assign an index to every place and a formula to every edge, from the top down.

    Attributes
    ----------
    indices : dict
        The indices, by place.
    entries : dict
        The formulas, by edge.
    brought : dict
        The letters that each edge introduces.
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
            symbols.bindings(edge)  # constants claim their letters before indices do
        self.letters = Letters(symbols.letters)
        for place in places:
            if place in arriving:
                self._meet(place, arriving[place], last=place is places[-1])
            else:
                self.indices[place] = self.letters.index(place.shape)

    def _meet(self, place: Place, edges: Sequence[Edge], last: bool) -> None:
        """Assign to a place the index that all edges into it agree on, or new letters."""
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
        """Return the index and formula of an edge on its own."""
        known = set(self.letters.lengths)
        y = self.indices[edge.node]
        found = entry_of(edge, y, self.letters)
        if found is None:
            x = self.letters.index(edge.target.shape)
            found = x, f"∂{at('y', y)}/∂{at(edge.derivative.of, x)}"
        return _Local(y, *found, [k for k in self.letters.lengths if k not in known])


@dataclass(slots=True)
class _Local:
    """The result for one edge on its own: index of its end, formula, new letters."""

    y: Index
    index: Index
    formula: str
    new: list[str]
    brackets: list[str] = field(default_factory=list)

    def settle(self, axis: int, letter: str) -> str:
        """Use `letter` for an axis; return the edge's own new letter if it becomes unused."""
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
    """Return the indices of the names in an elementwise formula, which has none."""
    node = edge.node
    if not node.op.elementwise:
        return {}
    shapes = dict.fromkeys([*node.op.operands, "y"], node.shape)
    shapes |= {name: np.shape(value) for name, value in arrays_of(node).items()}
    shapes |= {
        name: parent.shape
        for name, parent in zip(node.op.operands, node.parents, strict=True)
        if parent is not None
    }
    shapes |= {alias: shapes[name] for name, alias in node.op.aliases.items() if name in shapes}
    return {name: shared_axes(y, shape) for name, shape in shapes.items() if len(shape) <= len(y)}


def _renamed(formula: str, old: str, new: str) -> str:
    """Return a formula with a letter replaced in all its brackets."""
    written = []
    depth = 0
    for token in re.findall(r"[^\W\d]+′*|.", formula, re.DOTALL):
        depth += (token == "[") - (token == "]")
        written.append(new if token == old and depth else token)
    return "".join(written)
