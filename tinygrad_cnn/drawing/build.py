"""Build the graph of a drawing from steps: ids, names, scopes and statistics."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.op import Op
from tinygrad_cnn.drawing.graph import DrawnEdge, DrawnGraph, DrawnNode, NodeKind, Statistics
from tinygrad_cnn.drawing.names import Namer, Names
from tinygrad_cnn.drawing.scopes import ancestors, common, scopes_of
from tinygrad_cnn.drawing.steps import Argument, Leaf, Step, StepOrLeaf, with_sources
from tinygrad_cnn.nn import Module
from tinygrad_cnn.support.text import printable

__all__ = ["Arrays", "build"]

NEAR_A_LIMIT = 1e-3  # distance to a limit of sigmoid or tanh at which the derivative is nearly 0


@dataclass(frozen=True)
class Arrays:
    """The arrays of a drawing, by graph id.

    Attributes
    ----------
    values, gradients : dict of str to ndarray
        By node id, where known.
    contributions : dict of str to ndarray
        By edge id: the gradient sent back along the edge.
    """

    values: dict[str, NDArray[Any]] = field(default_factory=dict)
    gradients: dict[str, NDArray[Any]] = field(default_factory=dict)
    contributions: dict[str, NDArray[Any]] = field(default_factory=dict)


def build(
    steps: list[Step],
    last: Step | None,
    names: Names | None,
    modules: Mapping[str, Module],
    title: str,
) -> tuple[DrawnGraph, Arrays]:
    """Return the graph of `steps`, or of the computation of `last`, with its arrays."""
    sources = list(with_sources(steps, last))
    calls = [source for source in sources if isinstance(source, Step)]
    namer = Namer(names, modules, calls)
    scopes, inside = scopes_of([step.scope for step in calls], namer.kinds)
    scope_of: dict[StepOrLeaf, str] = dict(zip(calls, inside, strict=True))
    around = ancestors(scopes)
    users: dict[StepOrLeaf, list[tuple[str, ...]]] = {}
    for step in calls:
        for argument in step.arguments:
            users.setdefault(argument.source, []).append(around[scope_of[step]])
    arrays = Arrays()
    costs = _Costs()
    nodes: list[DrawnNode] = []
    edges: list[DrawnEdge] = []
    ids: dict[StepOrLeaf, str] = {}
    turn = 0
    for source in sources:
        own = ids[source] = f"n{len(ids)}"
        if source.array is not None:
            arrays.values[own] = source.array
        if source.gradient is not None:
            arrays.gradients[own] = source.gradient
        if isinstance(source, Leaf):
            scope = common(users[source]) if namer.is_inside(source) else ""
            nodes.append(_leaf(own, source, printable(namer.leaf(source)), scope))
            continue
        work = costs.of(source)
        name = printable(namer.step(source))
        nodes.append(_call(own, source, name, scope_of[source], turn, work))
        turn += 1
        for argument in source.arguments:
            edge = _edge(f"e{len(edges)}", argument, ids[argument.source], own)
            if argument.gradient is not None:
                arrays.contributions[edge.id] = argument.gradient
            edges.append(edge)
    return DrawnGraph(printable(title), tuple(nodes), tuple(edges), scopes), arrays


def _leaf(own: str, leaf: Leaf, name: str, scope: str) -> DrawnNode:
    kind: NodeKind = "parameter" if leaf.learned else "input"
    if leaf.origin is None and leaf.shape == ():
        kind = "constant"
    return DrawnNode(
        own,
        kind,
        name,
        scope=scope,
        shape=leaf.shape,
        dtype=_named(leaf.dtype),
        parameters=math.prod(leaf.shape) if leaf.learned else 0,
        value=_statistics(leaf.array),
        gradient=_statistics(leaf.gradient),
        scale=_scale(leaf),
        differs=leaf.differs,
    )


def _call(
    own: str, step: Step, name: str, scope: str, turn: int, multiply_adds: int | None
) -> DrawnNode:
    op = step.op
    value = _statistics(step.array)
    dead = step.dead
    if op is not None and op.dead_at_zero and value is not None:
        dead = value.zero
    return DrawnNode(
        own,
        "error" if op is None else "op",
        name,
        "" if op is None else op.name,
        scope,
        step.shape,
        "" if step.dtype is None else _named(step.dtype),
        "" if op is None else op.formula,
        "" if op is None else op.latex,
        "" if op is None else op.equation,
        step.options,
        multiply_adds,
        step=turn,
        backward_step=step.backward_step,
        value=value,
        gradient=_statistics(step.gradient),
        dead=dead,
        saturated=_saturated(step),
        seconds=step.seconds,
        backward_seconds=step.backward_seconds,
        bytes=step.bytes,
        error=printable(step.error),
        scale=_scale(step),
    )


class _Costs:
    """Count the multiply-adds of calls, cached by shapes and options."""

    def __init__(self) -> None:
        self.known: dict[Hashable, int | None] = {}

    def of(self, step: Step) -> int | None:
        """Return the multiply-adds of a step; None if a shape is unknown."""
        if step.op is None or step.shape is None:
            return None
        shapes = tuple([(argument.name, argument.source.shape) for argument in step.arguments])
        key = (step.op, shapes, str(step.options), step.shape)
        if key not in self.known:
            self.known[key] = self._counted(step.op, dict(shapes), step.options, step.shape)
        return self.known[key]

    def _counted(
        self,
        op: Op[..., Any],
        shapes: dict[str, Any],
        options: dict[str, Any],
        shape: tuple[int, ...],
    ) -> int | None:
        arguments = {
            name: options.get(name, parameter.default)
            for name, parameter in op.signature.parameters.items()
        }
        arguments |= {name: _of_shape(given) for name, given in shapes.items()}
        if op.sequence:
            arguments[op.parameters[0]] = [_of_shape(given) for given in shapes.values()]
        try:
            return op.cost(arguments, _of_shape(shape))
        except (AttributeError, IndexError, TypeError, ValueError):
            return None


def _of_shape(shape: tuple[int, ...]) -> NDArray[Any]:
    """Return a broadcast array of this shape, which takes no memory."""
    return np.broadcast_to(np.float32(0), shape)


def _edge(own: str, argument: Argument, source: str, target: str) -> DrawnEdge:
    rule = argument.derivative
    texts = ("", "", "") if rule is None else (rule.formula, rule.latex, rule.equation)
    return DrawnEdge(own, source, target, argument.name, *texts, _statistics(argument.gradient))


def _saturated(step: Step) -> float | None:
    """Return the share of results that are near the limits of an op that saturates."""
    y, limits = step.array, None if step.op is None else step.op.saturates_at
    if limits is None or y is None or not y.size:
        return None
    low, high = limits
    return int(np.count_nonzero((y < low + NEAR_A_LIMIT) | (y > high - NEAR_A_LIMIT))) / y.size


@cache
def _named(dtype: np.dtype[Any]) -> str:
    return dtype.name  # NumPy builds the name on each access


def _scale(source: StepOrLeaf) -> float | None:
    return None if source.gradient is None else source.scale


def _statistics(array: NDArray[Any] | None) -> Statistics | None:
    return None if array is None else Statistics.of(array)
