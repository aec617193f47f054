"""The graph behind every drawing and its JSON file.

A `DrawnGraph` has nodes, edges and scopes. Nodes are in order of creation, and each edge leads from
an earlier node to a later one, unless it is a loop. The graph holds `Statistics` of arrays, never
the arrays. It does not depend on the machine or the process: the same computation gives the same
graph and the same JSON text, except for measured seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.engine.arrays import Shape

__all__ = ["SCHEMA", "DrawnEdge", "DrawnGraph", "DrawnNode", "DrawnScope", "NodeKind", "Statistics"]

SCHEMA = "tinygrad-cnn graph 1"
"""The value of the JSON key ``"schema"``; the number counts incompatible changes."""

CANCELED = 1e-3  # relative to the size of its terms: below this, they cancel
NodeKind: TypeAlias = Literal["op", "module", "parameter", "input", "constant", "error"]


@dataclass(frozen=True, slots=True)
class Statistics:
    """Summary statistics of an array. All are finite: NaN and infinite entries are only counted.

    Attributes
    ----------
    shape : tuple of int
    minimum, mean, maximum : float or None
        Over the finite entries; None if there are none.
    norm : float
        The square root of the sum of the squares of the finite entries.
    zero : float
        The share of entries that are 0.
    nan, infinite : int
        The number of NaN entries, and of +∞ or −∞ entries.

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
        """Return the statistics of an array; for complex arrays, those of |x|."""
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
        scaled = x / unit  # keeps the squares within the range of float64
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
class DrawnNode:
    """A call of an op, a folded module, or an array that is not a call's result.

    Attributes
    ----------
    id : str
        "n0", "n1", ... in order of creation; for a folded module, the id of its scope.
    kind : {"op", "module", "parameter", "input", "constant", "error"}
        A parameter is an array that requires a gradient, an input is one that does not, and a
        constant is a single number. An error marks where a forward pass stopped outside any op.
    name : str
        The name in the model, such as "conv1.weight"; for an op, its own name unless the user gave
        one.
    op : str
        The name of the op; the class of a folded module if known; else empty.
    scope : str
        The name of the innermost `DrawnScope` around it; empty if there is none.
    shape : tuple of int or None
        The shape of the array or result; None if the call failed.
    dtype : str
    formula, latex, equation : str
        The op's forward, as declared; the equation is its number in the text.
    options : dict
        The non-array arguments that differ from their defaults, as JSON values.
    multiply_adds : int or None
        The count for the call, or for all calls in the module; None if unknown.
    parameters : int
        The number of learned entries of a parameter or a module.
    step : int or None
        Its position in the forward pass, from 0; None if it is not a call's result.
    backward_step : int or None
        Its position in the backward pass, from 0; None if it received no gradient.
    value, gradient : Statistics or None
        Statistics of the array, and of its gradient, summed over all outgoing edges; of a leaf in a
        trace, its ``.grad`` after the last sweep.
    differs : bool
        Whether that is not the sum over the edges: it had a value before, or a hook changed it.
    dead : float or None
        For a ReLU, or another op that is `dead_at_zero`, the share of results that are 0 and block
        the gradient.
    saturated : float or None
        For a sigmoid, a tanh, or another op with `saturates_at`, the share of results within 1e-3
        of a limit.
    seconds, backward_seconds : float or None
        The time of the forward call and of its backward step; None if not measured.
    bytes : int or None
        The memory that the call allocated for its result and its saved values.
    error : str
        The error that the call raised; empty if it succeeded.
    uses : int
        How many calls of its module use a parameter that is drawn once for each of them.
    scale : float or None
        The norm that the gradient would have if its terms did not cancel; see `cancels`. None if
        there is no gradient.
    """

    id: str
    kind: NodeKind
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
    uses: int = 1
    differs: bool = False

    @property
    def size(self) -> float:
        """The norm of the gradient, or of its terms where they cancel; 0 without a gradient."""
        return max(self.gradient.norm if self.gradient else 0.0, self.scale or 0.0)

    @property
    def cancels(self) -> bool:
        """Whether the terms of the gradient cancel to under a thousandth of their size.

        The gradient of a bias before a batch norm is exactly 0 in theory: the batch norm subtracts
        the bias again.
        """
        return self.gradient is not None and self.gradient.norm < CANCELED * self.size


@dataclass(frozen=True, slots=True)
class DrawnEdge:
    """An argument of a call: ``x * x`` has two edges.

    Attributes
    ----------
    id : str
        "e0", "e1", ... in the order of the calls and of their arguments.
    source, target : str
        The ids of the node that gives the argument, and of the call.
    argument : str
        The name of the op's parameter; with an index in a list, such as "arrays[1]".
    formula, latex, equation : str
        The op's derivative with respect to the argument, as declared; empty if there is none.
    gradient : Statistics or None
        Statistics of the gradient sent back along this edge; None if there was none.
    loop : bool
        Whether it leads from a repeated part to the next repeat, which is drawn as the same nodes.
    """

    id: str
    source: str
    target: str
    argument: str
    formula: str = ""
    latex: str = ""
    equation: str = ""
    gradient: Statistics | None = None
    loop: bool = False


@dataclass(frozen=True, slots=True)
class DrawnScope:
    """A frame around the nodes of a module's call, or of several consecutive calls.

    Attributes
    ----------
    id : str
        "s0", "s1", ... in order of their first calls.
    name : str
        Unique in the graph: the name in the model, such as "features.0"; from the second call on,
        with the number of the call, such as "cell (2)".
    parent : str
        The name of the enclosing scope; empty at the top.
    kind : str
        The class of the module; empty if unknown.
    path : str
        The name of the module in the model, the same for each of its calls.
    repeat : int
        The number of repeats, if only the first of several equal blocks is in the graph.
    """

    id: str
    name: str
    parent: str = ""
    kind: str = ""
    path: str = ""
    repeat: int = 1


@dataclass(frozen=True, slots=True)
class DrawnGraph:
    """The graph of a computation, for drawing.

    Attributes
    ----------
    title : str
    nodes : tuple of DrawnNode
        In order of creation.
    edges : tuple of DrawnEdge
    scopes : tuple of DrawnScope
        Each after its enclosing scope.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.Tensor(3.0, requires_grad=True, name="x")
    >>> graph = tg.draw(x * x).graph
    >>> [node.name for node in graph.nodes], [(e.source, e.target) for e in graph.edges]
    (['x', 'mul'], [('n0', 'n1'), ('n0', 'n1')])
    >>> DrawnGraph.from_json(graph.to_json()) == graph
    True
    """

    title: str
    nodes: tuple[DrawnNode, ...]
    edges: tuple[DrawnEdge, ...]
    scopes: tuple[DrawnScope, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the graph as a dict for ``json.dumps``.

        Returns
        -------
        dict
            ``"schema"`` and the attributes of the graph. Nodes, edges, scopes and statistics are
            dicts of their attributes; tuples are lists.
        """
        return {"schema": SCHEMA, **_plain(asdict(self))}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DrawnGraph:
        """Return the graph from the dict that `to_json` gave.

        Raises
        ------
        ValueError
            If `data` does not follow the schema.
        """
        came = data.get("schema") if isinstance(data, Mapping) else type(data).__name__
        if came != SCHEMA:
            raise ValueError(f"DrawnGraph.from_json: schema is {came!r}, expected {SCHEMA!r}")
        try:
            return cls(
                data["title"],
                tuple(_node(node) for node in data["nodes"]),
                tuple(_made(DrawnEdge, edge) for edge in data["edges"]),
                tuple(DrawnScope(**scope) for scope in data["scopes"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"DrawnGraph.from_json: {error}, expected {SCHEMA!r}") from error


def _node(data: Mapping[str, Any]) -> DrawnNode:
    shape = data.get("shape")
    node: DrawnNode = _made(DrawnNode, {**data, "shape": None if shape is None else tuple(shape)})
    return node


def _made(kind: Any, data: Mapping[str, Any]) -> Any:
    """Return a DrawnNode or a DrawnEdge from its dict, statistics included."""
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
