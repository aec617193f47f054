"""Unique symbols for all quantities of a computation."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_cnn.core.graph import Node, nodes_of
from tinygrad_cnn.core.op import Op
from tinygrad_cnn.core.tensor import Parameter
from tinygrad_cnn.core.variable import Variable, array_of
from tinygrad_cnn.derivation.letters import (
    behind,
    constant_letter,
    has_weights,
    is_name,
    layers_of,
    leaf_letter,
    node_letters,
)
from tinygrad_cnn.derivation.notation import Formula, Symbol, bind
from tinygrad_cnn.derivation.paths import Edge, Place

__all__ = ["Symbols", "arrays_of", "asked", "leaf_names", "options_of"]


def leaf_names(root: Node, names: Mapping[int, str]) -> dict[Variable, str]:
    """Return the leaves that require a gradient, in order of use, with their names.

    Parameters
    ----------
    root : Node
    names : mapping of int to str
        Names by leaf id, which take precedence over the names in the graph.

    Returns
    -------
    dict
        The name of a parameter begins with the module that used it first; "" if it has none.
    """
    found: dict[Variable, str] = {}
    for node in nodes_of(root):
        for parent in node.parents:
            if isinstance(parent, Variable) and parent not in found:
                own = parent.name or ""
                scoped = own and isinstance(parent, Parameter) and node.scope
                found[parent] = names.get(id(parent), f"{node.scope}.{own}" if scoped else own)
    return found


def arrays_of(node: Node) -> dict[str, Any]:
    """Return the values that a node saved for its derivatives, by name; Tensors as arrays."""
    return dict(zip(node.plan.names, node.values(), strict=True))


def options_of(node: Node) -> dict[str, Any]:
    """Return the static arguments of a call, by name."""
    return dict(zip(node.op.static, node.static, strict=True))


def asked(edge: Edge, function: Callable[..., Any], after: int = 0) -> dict[str, Any]:
    """Return the arguments that an op's declaration asks for by name, after its first ones."""
    return {name: _value(edge, name) for name in [*inspect.signature(function).parameters][after:]}


def _value(edge: Edge, name: str) -> Any:
    """Return the value that an entry's function asks for by `name`."""
    node, of = edge.node, edge.derivative.of
    options = options_of(node)
    known: dict[str, Any] = {
        "static": options,
        "position": edge.number,
        "y_shape": node.shape,
        f"{of}_shape": edge.target.shape,
        **options,
        **arrays_of(node),
    }
    if name in known:
        return known[name]
    parameter = name.removesuffix("_shape")
    if parameter == name or parameter not in known:
        raise TypeError(
            f"op {node.op.name}: the entry of the derivative with respect to {of} asks for "
            f"{name!r}, expected one of {', '.join(known)}, or the shape of one"
        )
    return np.shape(known[parameter])


class Symbols:
    """The symbols of all quantities in the computation of a result.

    Parameters
    ----------
    root : Node
        The call that computed the result.
    names : mapping of Variable to str
        The names of the leaves, from `leaf_names`.
    given : mapping of int to str
        Names of results, by node id.

    Attributes
    ----------
    constants : dict
        The origin and the shape of each array without a gradient, by symbol.
    letters : set of str
        The letters in use, which no index may use.
    """

    def __init__(self, root: Node, names: Mapping[Variable, str], given: Mapping[int, str]) -> None:
        self._used: set[str] = set()
        self.letters: set[str] = set()
        self._counts: dict[str, int] = {}
        self._symbols: dict[Place, Symbol] = {}
        self._constants: dict[Any, Symbol] = {}
        self.constants: dict[Symbol, tuple[str, tuple[int, ...]]] = {}
        self._definitions: dict[Symbol, tuple[Formula, tuple[int, ...]]] = {}
        nodes = nodes_of(root)
        layers = self._layers = layers_of(nodes)
        for node in nodes:
            if is_name(given.get(id(node), "")):
                self._symbols[node] = self._claim(given[id(node)])
        if root not in self._symbols:
            self._symbols[root] = self._claim("E")
        self._name_leaves(nodes, layers, names)
        self._claim_all([
            wish for wish in node_letters(nodes, layers) if wish[0] not in self._symbols
        ])  # fmt: skip

    def __getitem__(self, place: Place) -> Symbol:
        return self._symbols[place]

    @property
    def places(self) -> Iterable[Place]:
        """All places with a symbol, except constants."""
        return self._symbols

    def bindings(self, edge: Edge) -> dict[str, Symbol | str]:
        """Return the symbols of the names in the formulas of a derivative."""
        node = edge.node
        op = node.op
        bound: dict[str, Symbol | str] = {"y": self[node]}
        kept = dict(zip(node.plan.names, node.kept(), strict=True))
        options = options_of(node)
        parents = {} if op.sequence else dict(zip(op.operands, node.parents, strict=True))
        for parameter in op.parameters:
            parent = parents.get(parameter)
            if parent is not None:
                bound[parameter] = self[parent]
            elif parameter in options:
                bound[parameter] = _literal(parameter, options[parameter])
            elif _is_array(kept.get(parameter)):
                bound[parameter] = self.constant(op, parameter, kept[parameter])
            elif op.elementwise and re.search(rf"\b{parameter}\b", edge.derivative.formula):
                origin = f"given to {op.name} as {parameter}"  # the call did not save it
                bound[parameter] = self._constant((node, parameter), origin, node.shape, "c")
        if op.sequence:
            bound[edge.derivative.of] = self[edge.target]
        bound |= {alias: bound[name] for name, alias in op.aliases.items() if name in bound}
        return bound | self._lettered(edge, bound)

    def definition(self, symbol: Symbol) -> tuple[Formula, tuple[int, ...]] | None:
        """Return the definition and the shape of a quantity that only entries use, such as x̂."""
        return self._definitions.get(symbol)

    def _lettered(self, edge: Edge, bound: Mapping[str, Symbol | str]) -> dict[str, Symbol | str]:
        """Return the symbols of the quantities that the op declares for its entries."""
        node, declared = edge.node, edge.node.op.quantities
        if declared is None:
            return {}
        quantities = declared(**asked(edge, declared))
        found: dict[str, Symbol | str] = {}
        for letter in quantities:
            if (node, letter) not in self._constants:
                name, _, argument = letter.removesuffix(")").partition("(")
                of = bound.get(argument)
                self._constants[node, letter] = (
                    Symbol(name, argument=of)
                    if isinstance(of, Symbol)
                    else self._claim(name, self._layers[node] or None)
                )
            found[letter] = self._constants[node, letter]
        for letter, (shape, text) in quantities.items():
            self._definitions[self._constants[node, letter]] = bind(text, {**bound, **found}), shape
        return found

    def constant(self, op: Op[..., Any], parameter: str, value: Any) -> Symbol | str:
        """Return the symbol of an array without a gradient; the digits of a single number."""
        array = np.asarray(array_of(value))
        if array.size == 1 and parameter != "target":
            return _literal(parameter, array.reshape(-1)[0])
        key: Any = value
        if not isinstance(value, Variable):
            key = (array.shape, array.dtype.char, array.tobytes())
        name = value.name if isinstance(value, Variable) else None
        labels = op.role == "loss of logits" and array.dtype.kind in "iu"
        origin = "the labels, one-hot" if labels else f"given to {op.name} as {parameter}"
        return self._constant(key, origin, array.shape, constant_letter(op, parameter), name)

    def _constant(
        self, key: Any, origin: str, shape: tuple[int, ...], letter: str, name: str | None = None
    ) -> Symbol:
        if key not in self._constants:
            symbol = self._claim(name if name and is_name(name) else letter)
            self._constants[key] = symbol
            self.constants[symbol] = origin, shape
        return self._constants[key]

    # --- naming ----------------------------------------------------------------------------------

    def _claim(self, name: str, number: int | None = None) -> Symbol:
        """Return a unique symbol, with primes or digits if necessary."""
        symbol = Symbol(name, number)
        while symbol.plain() in self._used and symbol.primes < 3:
            symbol = Symbol(name, number, symbol.primes + 1)
        while symbol.plain() in self._used:
            self._counts[name] = self._counts.get(name, 0) + 1
            symbol = Symbol(f"{name}{self._counts[name]}", number)
        self._used.add(symbol.plain())
        if len(symbol.name) == 1:
            self.letters.add(symbol.name)
        return symbol

    def _claim_all(self, wanted: Sequence[tuple[Place, str, int | None]]) -> None:
        """Give each place its letter and number; places without a number are counted if several."""
        total = Counter(letter for _, letter, number in wanted if number is None)
        count: Counter[str] = Counter()
        for place, letter, number in wanted:
            if number is None and total[letter] > 1:
                count[letter] += 1
                number = count[letter]
            self._symbols[place] = self._claim(letter, number)

    def _name_leaves(
        self, nodes: list[Node], layers: dict[Node, int], names: Mapping[Variable, str]
    ) -> None:
        lettered: dict[Place, tuple[str, int | None]] = {}
        inside = {node.scope: layers[node] for node in reversed(nodes) if has_weights(node)}
        uses = [
            (node, number, behind(parent))
            for node in nodes
            if has_weights(node)
            for number, parent in enumerate(node.parents)
            if isinstance(parent, Node)
        ]
        for node, number, leaf in uses:  # a weight that is transposed or reshaped before its use
            if isinstance(leaf, Variable) and leaf not in lettered:
                letter = leaf_letter(node, number, leaf, layers[node], names[leaf])
                if letter == "w":
                    lettered[leaf] = letter, layers[node]
        for node in nodes:
            layer = inside.get(node.scope, layers[node]) if node.scope else layers[node]
            for number, parent in enumerate(node.parents):
                if not isinstance(parent, Variable) or parent in lettered:
                    continue
                if parent not in self._symbols:
                    letter = leaf_letter(node, number, parent, layer, names[parent])
                    if letter:
                        lettered[parent] = letter, (layer if letter in "wbγβ" else 0) or None
                    else:
                        self._symbols[parent] = self._claim(names[parent])
        self._claim_all([(leaf, *wish) for leaf, wish in lettered.items()])


def _is_array(value: Any) -> bool:
    """Return whether a saved value is a numeric array, and not an index or an option."""
    if isinstance(value, Variable):
        return True
    return (
        isinstance(value, np.ndarray | list | int | float)
        and np.asarray(value).dtype.kind in "fiub"
    )


def _literal(parameter: str, value: Any) -> str:
    """Return a static argument in the notation of formulas."""
    if value is None:
        return {"low": "−∞", "high": "∞"}.get(parameter, "none")
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    if isinstance(value, int | float | np.number):
        exact = str(value)  # all digits of its dtype, as "=" says
        digits = exact.removesuffix(".0").replace("-", "−")
        return f"({digits})" if digits.startswith("−") else digits
    return str(value)
