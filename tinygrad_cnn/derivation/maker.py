"""Construction of a derivation's parts from paths, symbols and numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tinygrad_cnn.core.graph import Node
from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.derivation.layers import LONGEST, MOST_SHOWN, Group, fold
from tinygrad_cnn.derivation.measure import Flow, local_norm
from tinygrad_cnn.derivation.notation import Entry, Formula, Symbol, bind
from tinygrad_cnn.derivation.parts import (
    Factor,
    Gap,
    Item,
    Layer,
    PathSum,
    Quantity,
    SumLine,
)
from tinygrad_cnn.derivation.paths import MOST_TERMS, Bundle, Edge, PathLine, Paths, Place
from tinygrad_cnn.derivation.symbols import Symbols, options_of
from tinygrad_cnn.derivation.written import SUM, Written, write_edge, write_out

__all__ = ["Maker"]

SHOWN_ENDS = 8
"""The number of factors shown at each end of a product without its middle."""

MOST_LINES = 12
"""The number of lines shown of a factored sum."""


class Maker:
    """Make the displayed parts of one derivation.

    Parameters
    ----------
    paths : Paths
    symbols : Symbols
    names : mapping of Variable to str
        The names of the leaves.
    flow : Flow
        The numbers.
    depth : int
        The depth to which modules are folded; 0 folds none.
    whole : bool
        Whether to show every factor, however many there are.
    """

    def __init__(
        self,
        paths: Paths,
        symbols: Symbols,
        names: Mapping[Variable, str],
        flow: Flow,
        depth: int,
        whole: bool,
    ) -> None:
        self.paths = paths
        self.symbols = symbols
        self.names = names
        self.flow = flow
        self.depth = depth
        self.whole = whole
        short = len(paths.edges) <= LONGEST
        self.written: Written | None = write_out(paths, symbols) if short and not depth else None
        self._modules: dict[Place, Symbol] = {}
        self._ops: dict[Place, tuple[str, ...]] = {}
        self._shown: dict[Symbol, None] = {}
        self._places: dict[Symbol, Place] = {}

    def product(self) -> tuple[Item, ...]:
        """Return the factors from the top down."""
        groups = fold(self.paths.steps, self.depth)
        self._name_modules(groups)
        return self._items(groups, None)

    def called(self, place: Place) -> Symbol:
        """Return the symbol of a place."""
        symbol = self._modules.get(place)
        if symbol is None and self.depth and isinstance(place, Variable) and self.names.get(place):
            symbol = Symbol(self.names[place])
        symbol = symbol or self.symbols[place]
        self._shown[symbol] = None
        self._places[symbol] = place
        return symbol

    def quantities(self) -> tuple[Quantity, ...]:
        """Return the quantities of the symbols, in order of appearance."""
        known = {self.symbols[place]: place for place in self.symbols.places} | self._places
        found = []
        for symbol in self._shown:
            place = known.get(symbol)
            defined = self.symbols.definition(symbol)
            if defined is not None:
                formula, shape = defined
                found.append(Quantity(symbol, formula.text(), shape))
            elif place is None:
                found.append(Quantity(symbol, *self.symbols.constants[symbol]))
            elif isinstance(place, Node):
                ops = self._ops.get(place, (place.op.name,))
                shown = ", ".join(ops[:4]) + (", …" if len(ops) > 4 else "")
                module = f" in {place.scope}" if place.scope and place.scope != symbol.name else ""
                found.append(Quantity(symbol, shown + module, tuple(place.shape)))
            else:
                name = self.names.get(place, "")
                origin = name if name != symbol.name else ""
                found.append(Quantity(symbol, origin or "a leaf", tuple(place.shape)))
        return tuple(found)

    # --- items -----------------------------------------------------------------------------------

    def _items(
        self, groups: Sequence[Group], along: Mapping[Edge, float] | None
    ) -> tuple[Item, ...]:
        """Return the displayed items of a product; `along` has its norms if one of several."""
        if self.whole or len(groups) <= MOST_SHOWN:
            return tuple(self._item(group, along) for group in groups)
        first, last = groups[:SHOWN_ENDS], groups[-SHOWN_ENDS:]
        between = groups[SHOWN_ENDS:-SHOWN_ENDS]
        gap = Gap(sum(len(g.edges) for g in between), self._after(between[-1], along))
        return (*self._items(first, along), gap, *self._items(last, along))

    def _item(self, group: Group, along: Mapping[Edge, float] | None) -> Item:
        if not group.module:
            (step,) = group.steps
            return self._sum(step) if isinstance(step, Bundle) else self._factor(step, along)
        ops = [edge.node.op.name for edge in reversed(group.edges)]
        top, bottom = group.top, group.bottom
        self._ops[top] = tuple(dict.fromkeys(ops))
        return Layer(
            self.called(top),
            self.called(bottom),
            self._ops[top],
            (tuple(top.shape), tuple(bottom.shape)),
            len(ops),
            self._after(group, along),
        )

    def _after(self, group: Group, along: Mapping[Edge, float] | None) -> float:
        last = group.steps[-1]
        if along is not None and isinstance(last, Edge):
            return along[last]
        return self.flow.reached[group.bottom]

    def _factor(self, edge: Edge, along: Mapping[Edge, float] | None) -> Factor:
        node, target, derivative = edge.node, edge.target, edge.derivative
        twice = sum(other.target is target for other in self.paths.leaving[node]) > 1
        top, bottom = self.called(node), self.called(target)
        written = self.written or write_edge(edge, self.symbols)
        formula = written.entry(edge)
        self._note(formula)
        bindings = self.symbols.bindings(edge)
        rule = f"g·∂{node.op.name}/∂{derivative.of}"
        stated = node.op.states(options_of(node))
        return Factor(
            top=top,
            bottom=bottom,
            argument=edge.argument if twice else "",
            op=node.op.name,
            scope=node.scope,
            shapes=(node.shape, tuple(target.shape)),
            indices=(written.indices[node], written.indices[target]),
            formula=formula,
            rule=bind(derivative.formula if stated else rule, bindings),
            rule_latex=derivative.latex if stated else "",
            equation=derivative.equation,
            norm=local_norm(edge),
            after=self.flow.reached[target] if along is None else along[edge],
        )

    def _sum(self, bundle: Bundle) -> PathSum:
        terms = bundle.terms
        top, bottom = self.called(bundle.top), self.called(bundle.bottom)
        shown = []
        for term in terms or ():
            along = dict(zip(term, self.flow.along[term], strict=True))
            shown.append(self._items(fold(term, self.depth), along))
        lines = () if terms is not None else bundle.lines
        more = max(len(lines) - MOST_LINES, 0)
        left = lines if not more else (*lines[: MOST_LINES - 1], lines[-1])
        return PathSum(
            top,
            bottom,
            bundle.count,
            tuple(shown),
            tuple(map(self._line, left)),
            more,
            self.flow.reached[bundle.bottom],
        )

    def _line(self, line: PathLine) -> SumLine:
        terms = [
            (self.called(above), self._items(fold(factors, self.depth), None))
            for above, factors in line.terms[:MOST_TERMS]
        ]
        return SumLine(self.called(line.place), tuple(terms), max(len(line.terms) - MOST_TERMS, 0),
                       self.flow.reached[line.place])  # fmt: skip

    def _name_modules(self, groups: Sequence[Group]) -> None:
        """Name the result of each folded module; with a number from the second call on."""
        waiting = list(groups)
        found: list[tuple[int, Place, str]] = []
        while waiting:
            group = waiting.pop()
            if group.module and isinstance(group.top, Node):
                found.append((group.top.seq, group.top, group.module))
                continue
            for step in group.steps:
                if isinstance(step, Bundle):
                    terms = step.terms
                    products = terms if terms is not None else [
                        factors for line in step.lines for _, factors in line.terms
                    ]  # fmt: skip
                    waiting += [g for factors in products for g in fold(factors, self.depth)]
        calls: dict[str, int] = {}
        for _, place, module in sorted(found, key=lambda item: item[0]):
            if place not in self._modules:
                calls[module] = calls.get(module, 0) + 1
                number = f" ({calls[module]})" if calls[module] > 1 else ""
                self._modules[place] = Symbol(module + number)

    def _note(self, formula: Formula) -> None:
        """Record the symbols of a formula as shown."""
        for part in formula.parts:
            if isinstance(part, Entry) and part.symbol != SUM:
                new = part.symbol not in self._shown
                self._shown[part.symbol] = None
                defined = self.symbols.definition(part.symbol)
                if new and defined is not None:
                    self._note(defined[0])
