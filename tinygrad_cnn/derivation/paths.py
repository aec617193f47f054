"""The paths from a result down to a Tensor, as a product of factors and sums.

Every edge on a path is a local derivative. At a node on all paths, the derivative is the product of
the part above and the part below. Between two such nodes, it is one edge or a `Bundle`, the sum
over the paths between them. Only `Bundle.terms` enumerates paths, and only if there are few.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

from tinygrad_cnn.core.declaration import Derivative
from tinygrad_cnn.core.graph import Node, nodes_of
from tinygrad_cnn.core.variable import Variable

__all__ = ["MOST_TERMS", "Bundle", "Edge", "EdgePath", "PathLine", "Paths", "Place", "Segment"]

Place: TypeAlias = Node | Variable
"""A node of the paths: a call, or the leaf at their end."""

MOST_TERMS = 6
"""Sums of more paths than this are written in factored form, line by line."""


@dataclass(frozen=True, slots=True, eq=False)
class Edge:
    """One local derivative: of the result of a call with respect to one of its arguments.

    Attributes
    ----------
    node : Node
        The call.
    target : Node or Variable
        The source of the argument.
    number : int
        The position of the argument among the node's parents.
    derivative : Derivative
    """

    node: Node
    target: Place
    number: int
    derivative: Derivative

    @property
    def argument(self) -> str:
        """The name of the op's parameter; with an index if it is a list."""
        name = self.derivative.of
        return f"{name}[{self.number}]" if self.node.op.sequence else name

    @property
    def edges(self) -> tuple[Edge]:
        """The edge itself, as a `Bundle` has several."""
        return (self,)


EdgePath: TypeAlias = tuple[Edge, ...]
"""The factors along one path, from the top down."""


@dataclass(frozen=True, slots=True)
class PathLine:
    """The derivative of a bundle's top with respect to one place in it, as a sum.

    Attributes
    ----------
    place : Node or Variable
    terms : tuple of (Node, EdgePath)
        Each term is the derivative with respect to a node further up, times the factors from there
        down. For the top itself, that derivative is 1.
    """

    place: Place
    terms: tuple[tuple[Node, EdgePath], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """All paths between two nodes that share no node but these two.

    Attributes
    ----------
    top : Node
    bottom : Node or Variable
    edges : tuple of Edge
        From the top down.
    count : int
        The number of paths.
    """

    top: Node
    bottom: Place
    edges: tuple[Edge, ...]
    count: int

    @property
    def terms(self) -> tuple[EdgePath, ...] | None:
        """The paths; None if there are more than `MOST_TERMS`."""
        if self.count > MOST_TERMS:
            return None
        leaving = _grouped(self.edges)
        found: list[EdgePath] = []
        waiting: list[EdgePath] = [(edge,) for edge in reversed(leaving[self.top])]
        while waiting:
            path = waiting.pop()
            end = path[-1].target
            if end is self.bottom:
                found.append(path)
            else:
                waiting += [(*path, edge) for edge in reversed(leaving[end])]
        return tuple(found)

    @property
    def lines(self) -> tuple[PathLine, ...]:
        """The sum, factored where paths split or meet: a line for each node, the whole sum last.

        Together, the lines contain each edge once.
        """
        leaving = _grouped(self.edges)
        arriving: dict[Place, list[Edge]] = {}
        for edge in self.edges:
            arriving.setdefault(edge.target, []).append(edge)
        lines = []
        for place, last_edges in arriving.items():
            if len(last_edges) == 1 and len(leaving.get(place, ())) == 1:
                continue
            terms = []
            for last in last_edges:
                factors = [last]
                above = last.node
                while len(leaving[above]) == len(arriving.get(above, ())) == 1:
                    factors += arriving[above]
                    above = factors[-1].node
                terms.append((above, tuple(reversed(factors))))
            lines.append(PathLine(place, tuple(terms)))
        lines.sort(key=lambda line: line.place is self.bottom)
        return tuple(lines)


Segment: TypeAlias = Edge | Bundle


class Paths:
    """The paths between a result and the Tensor to differentiate by.

    Attributes
    ----------
    places : list of Node or Variable
        The nodes on the paths, newest first, and finally the end.
    leaving : dict
        The edges of each node that are on a path, in the order of the op's derivatives.
    steps : list of Edge or Bundle
        The product.
    count : int
        The number of paths; 0 if the result does not depend on the end.
    """

    def __init__(self, root: Node, end: Place) -> None:
        self.leaving = _leading(root, end)
        ordered = sorted(self.leaving, key=lambda node: -node.seq)
        self.places: list[Place] = [*ordered, end] if ordered else []
        self.steps = _series(self.places, self.leaving)
        counts = [step.count if isinstance(step, Bundle) else 1 for step in self.steps]
        self.count = math.prod(counts) if self.steps else 0

    @property
    def edges(self) -> list[Edge]:
        """All edges, from the top down."""
        return [edge for edges in self.leaving.values() for edge in edges]


def _leading(root: Node, end: Place) -> dict[Node, list[Edge]]:
    """Return the edges on paths from `root` to `end`, by the node they leave."""
    leading: dict[Node, list[Edge]] = {}
    for node in nodes_of(root):
        edges = [
            edge
            for edge in _edges(node)
            if edge.target is end or (isinstance(edge.target, Node) and edge.target in leading)
        ]
        if edges:
            leading[node] = edges
    return dict(sorted(leading.items(), key=lambda item: -item[0].seq))


def _edges(node: Node) -> list[Edge]:
    parents = node.parents
    found = []
    for place, derivative, _ in node.plan.derivatives:
        for number in range(len(parents)) if node.op.sequence else (place,):
            parent = parents[number]
            if parent is not None:
                found.append(Edge(node, parent, number, derivative))
    return found


def _series(places: list[Place], leaving: dict[Node, list[Edge]]) -> list[Segment]:
    """Return the product, split at every place that no edge skips."""
    position = {place: k for k, place in enumerate(places)}
    steps: list[Segment] = []
    start = furthest = 0
    for k, place in enumerate(places):
        if k and furthest == k:
            between = [edge for node in places[start:k] for edge in leaving[node]]  # type: ignore[index]  # a leaf is the last place
            steps.append(_step(between, place))
            start = k
        if isinstance(place, Node):
            furthest = max([furthest, *(position[e.target] for e in leaving.get(place, []))])
    return steps


def _step(edges: list[Edge], bottom: Place) -> Segment:
    if len(edges) == 1:
        return edges[0]
    counts: dict[Place, int] = {edges[0].node: 1}
    for edge in edges:
        counts[edge.target] = counts.get(edge.target, 0) + counts[edge.node]
    return Bundle(edges[0].node, bottom, tuple(edges), counts[bottom])


def _grouped(edges: tuple[Edge, ...]) -> dict[Place, list[Edge]]:
    leaving: dict[Place, list[Edge]] = {}
    for edge in edges:
        leaving.setdefault(edge.node, []).append(edge)
    return leaving
