"""The intermediate form: what every drawing is made of, and what its JSON file holds.

A `Graph` is nodes, edges and scopes. Nodes stand in the order in which they came to be, and each
edge leads from an earlier node to a later one. It holds numbers about arrays (`Statistics`), never
the arrays, and nothing in it depends on the machine or the process: the same computation gives the
same graph, and the same JSON text, except for seconds where they were measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["SCHEMA", "Edge", "Graph", "Kind", "Node", "Scope", "Statistics"]

SCHEMA = "tinygrad-cnn graph 1"
"""What the key ``"schema"`` of the JSON holds; the number counts incompatible changes."""

CANCELED = 1e-3  # of the size of its terms: a gradient below it is a difference of equals
Kind: TypeAlias = Literal["op", "module", "parameter", "input", "constant", "error"]
Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Statistics:
    """Numbers that describe an array. All are finite: NaN and infinite entries are only counted.

    Attributes
    ----------
    shape : tuple of int
    minimum, mean, maximum : float or None
        Of the finite entries; None if there are none.
    norm : float
        The square root of the sum of the squares of the finite entries.
    zero : float
        The share of entries that are 0.
    nan, infinite : int
        How many entries are NaN, and how many +∞ or −∞.

    Examples
    --------
    >>> s = Statistics.of(np.array([0.0, 3.0, -4.0, np.nan]))
    >>> s.minimum, s.maximum, s.norm, s.zero, s.nan
    (-4.0, 3.0, 5.0, 0.25, 1)
    """

    shape: Shape
    minimum: float | None
    mean: float | None
    maximum: float | None
    norm: float
    zero: float
    nan: int
    infinite: int

    @classmethod
    def of(cls, array: NDArray[Any]) -> Statistics:
        """Return the statistics of an array of numbers; of complex ones, those of |x|."""
        x = np.abs(array) if array.dtype.kind == "c" else array
        x = x.astype(np.float64, copy=False).reshape(-1)
        nan = infinite = 0
        low, high = (float(x.min()), float(x.max())) if x.size else (0.0, 0.0)
        if not (math.isfinite(low) and math.isfinite(high)):
            nan = int(np.isnan(x).sum())
            infinite = int(np.isinf(x).sum())
            x = x[np.isfinite(x)]
            low, high = (float(x.min()), float(x.max())) if x.size else (0.0, 0.0)
        if x.size == 0:
            return cls(array.shape, None, None, None, 0.0, 0.0, nan, infinite)
        largest = max(abs(low), abs(high))
        unit = largest or 1.0
        scaled = x / unit  # so that no square is too large or too small for float64
        return cls(
            shape=array.shape,
            minimum=low,
            mean=min(max(float(np.add.reduce(scaled)) / x.size * unit, low), high),
            maximum=high,
            norm=largest * math.sqrt(scaled @ scaled),
            zero=(x.size - int(np.count_nonzero(x))) / array.size,
            nan=nan,
            infinite=infinite,
        )


@dataclass(frozen=True, slots=True)
class Node:
    """A call of an op, a folded module, or an array that no call computed.

    Attributes
    ----------
    id : str
        "n0", "n1", ... in the order of creation; of a folded module the id of its scope.
    kind : {"op", "module", "parameter", "input", "constant", "error"}
        A parameter is an array that a gradient is wanted of, an input one of which none is, a
        constant a single number. An error is where a forward stopped outside any op.
    name : str
        As in the model, such as "conv1.weight"; of an op its own unless the user has given one.
    op : str
        The name of the op; the class of a folded module if it is known; else empty.
    scope : str
        The name of the innermost `Scope` it is in; empty outside all.
    shape : tuple of int or None
        Of the array or result. None if the call failed.
    dtype : str
    formula, latex, equation : str
        Of the op's forward, as declared; the equation is the text's number.
    options : dict
        The arguments that are not arrays and not left at their default, as JSON values.
    multiply_adds : int or None
        Of the call, or of all calls in the module; None if unknown.
    parameters : int
        How many numbers it learns: of a parameter, or of all that a module holds.
    step : int or None
        Its turn in the forward, from 0; None for what no call computed.
    backward_step : int or None
        Its turn in the reverse sweep, from 0; None if no gradient came.
    value, gradient : Statistics or None
        Of the array, and of the gradient with respect to it: the sum over all edges that leave.
    dead : float or None
        Of a ReLU, the share of its results that are 0 and so let no gradient through.
    saturated : float or None
        Of a sigmoid or tanh, the share of its results within 1e-3 of its limits.
    seconds, backward_seconds : float or None
        What the call, and its turn in the sweep, took; None if nobody measured.
    bytes : int or None
        The memory that the call took for its result and for what its derivatives need.
    error : str
        What the call raised; empty if it succeeded.
    scale : float or None
        The norm that the gradient would have if the terms that it sums did not cancel; see
        `cancels`. None if no gradient came.
    """

    id: str
    kind: Kind
    name: str
    op: str = ""
    scope: str = ""
    shape: Shape | None = None
    dtype: str = ""
    formula: str = ""
    latex: str = ""
    equation: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    multiply_adds: int | None = None
    parameters: int = 0
    step: int | None = None
    backward_step: int | None = None
    value: Statistics | None = None
    gradient: Statistics | None = None
    dead: float | None = None
    saturated: float | None = None
    seconds: float | None = None
    backward_seconds: float | None = None
    bytes: int | None = None
    error: str = ""
    scale: float | None = None

    @property
    def size(self) -> float:
        """How large the gradient is, or its terms where they cancel; 0 if none came."""
        return max(self.gradient.norm if self.gradient else 0.0, self.scale or 0.0)

    @property
    def cancels(self) -> bool:
        """Whether the terms of the gradient cancel to under a thousandth of their size.

        The gradient of a bias before a batch norm is 0 by mathematics: the batch norm takes off
        whatever the bias adds.
        """
        return self.gradient is not None and self.gradient.norm < CANCELED * self.size


@dataclass(frozen=True, slots=True)
class Edge:
    """An argument of a call. There is one for each argument: ``x * x`` has two.

    Attributes
    ----------
    id : str
        "e0", "e1", ... in the order of the calls and of their arguments.
    source, target : str
        The ids of the node the argument came from, and of the call.
    argument : str
        The name of the op's parameter; with an index, such as "arrays[1]", in a list.
    formula, latex, equation : str
        Of the op's derivative with respect to it, as declared; empty if it has none.
    gradient : Statistics or None
        Of what the call sent back along this edge; None if nothing was.
    """

    id: str
    source: str
    target: str
    argument: str
    formula: str = ""
    latex: str = ""
    equation: str = ""
    gradient: Statistics | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """A module's call, or several that follow each other, as a frame around nodes.

    Attributes
    ----------
    id : str
        "s0", "s1", ... in the order of the first call in each.
    name : str
        Unique in the graph: as in the model, such as "features.0"; from its second call on with the
        number of the call behind it: "cell (2)".
    parent : str
        The name of the scope it stands in; empty at the top.
    kind : str
        The class of the module; empty if it is not known.
    repeat : int
        How often the part repeats of which only the first is in the graph.
    """

    id: str
    name: str
    parent: str = ""
    kind: str = ""
    repeat: int = 1


@dataclass(frozen=True, slots=True)
class Graph:
    """A computation, as it is drawn.

    Attributes
    ----------
    title : str
    nodes : tuple of Node
        In the order in which they came to be.
    edges : tuple of Edge
    scopes : tuple of Scope
        Each behind the one it stands in.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.Tensor(3.0, requires_grad=True, name="x")
    >>> graph = tg.draw(x * x).graph
    >>> [node.name for node in graph.nodes], [(e.source, e.target) for e in graph.edges]
    (['x', 'mul'], [('n0', 'n1'), ('n0', 'n1')])
    >>> Graph.from_json(graph.to_json()) == graph
    True
    """

    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    scopes: tuple[Scope, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the graph as ``json.dumps`` takes it.

        Returns
        -------
        dict
            With ``"schema"`` and the attributes of the graph. Nodes, edges, scopes and statistics
            are dicts of their attributes; tuples are lists.
        """
        return {"schema": SCHEMA, **_plain(asdict(self))}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Graph:
        """Return the graph that `to_json` was called on.

        Raises
        ------
        ValueError
            If `data` is not of the schema.
        """
        came = data.get("schema") if isinstance(data, Mapping) else type(data).__name__
        if came != SCHEMA:
            raise ValueError(f"Graph.from_json: schema is {came!r}, expected {SCHEMA!r}")
        try:
            return cls(
                data["title"],
                tuple(_node(node) for node in data["nodes"]),
                tuple(_made(Edge, edge) for edge in data["edges"]),
                tuple(Scope(**scope) for scope in data["scopes"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"Graph.from_json: {error}, expected {SCHEMA!r}") from error


def _node(data: Mapping[str, Any]) -> Node:
    shape = data.get("shape")
    node: Node = _made(Node, {**data, "shape": None if shape is None else tuple(shape)})
    return node


def _made(kind: Any, data: Mapping[str, Any]) -> Any:
    """Return a Node or an Edge, its statistics made from their dicts."""
    made = dict(data)
    for name in {"value", "gradient"} & {attribute.name for attribute in fields(kind)}:
        numbers = made.get(name)
        if numbers is not None:
            made[name] = Statistics(**{**numbers, "shape": tuple(numbers["shape"])})
    return kind(**made)


def _plain(value: Any) -> Any:
    """Return `value` with its tuples as lists."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value
