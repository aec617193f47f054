"""The arrangement of nodes: parameters beside their calls, and the rows of a U-Net."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from itertools import pairwise

from tinygrad_cnn.drawing.graph import DrawnEdge, DrawnGraph

__all__ = ["Arrangement", "bundles"]


@dataclass(frozen=True)
class Arrangement:
    """The nodes that share a rank, and the edges that are drawn against the ranks.

    Attributes
    ----------
    beside : dict of str to list of str
        The nodes in line with a call in its frame, by the call's id: its first parameter on its
        left and its second on its right. So the path through a chain of layers stays straight.
    rows : list of list of str
        The nodes of each resolution of a U-Net, from left to right; empty for other graphs.
    reversed : set of str
        The ids of the edges whose target is left of, or above, their source.
    level : set of str
        The ids of the edges within the rows.
    """

    beside: Mapping[str, list[str]] = field(default_factory=dict)
    rows: list[list[str]] = field(default_factory=list)
    reversed: Set[str] = frozenset()
    level: Set[str] = frozenset()

    @classmethod
    def of(cls, graph: DrawnGraph, unframed: Set[str]) -> Arrangement:
        """Return the arrangement of a graph, given the scopes that have no frame."""
        if all(scope.name in unframed for scope in graph.scopes):
            rows, raised = _levels(graph)
            if rows:
                row_of = {key: i for i, row in enumerate(rows) for key in row}
                level = {
                    edge.id
                    for edge in graph.edges
                    if row_of.get(edge.source, -1) == row_of.get(edge.target)
                }
                return cls({}, rows, raised, level)
        return _sides(graph, unframed)


def bundles(graph: DrawnGraph) -> list[list[DrawnEdge]]:
    """Return the edges in order, with parallel edges at a folded module together.

    The arguments of a single call are apart: ``x * x`` has two arrows.
    """
    modules = {node.id for node in graph.nodes if node.kind == "module"}
    found: dict[object, list[DrawnEdge]] = {}
    for edge in graph.edges:
        way = (edge.source, edge.target)
        joined = not edge.loop and modules.intersection(way)
        found.setdefault(way if joined else edge.id, []).append(edge)
    return list(found.values())


def _sides(graph: DrawnGraph, unframed: Set[str]) -> Arrangement:
    nodes = {node.id: node for node in graph.nodes}
    uses = Counter(edge.source for edge in graph.edges)
    beside: dict[str, list[str]] = {}
    backward: set[str] = set()
    for edge in graph.edges:
        leaf, call = nodes[edge.source], nodes[edge.target]
        if leaf.step is not None or uses[leaf.id] > 1 or leaf.scope != call.scope:
            continue
        if not leaf.scope or leaf.scope in unframed:
            continue
        row = beside.setdefault(call.id, [call.id])
        if len(row) == 1:
            row.insert(0, leaf.id)
        elif len(row) == 2:
            row.append(leaf.id)
            backward.add(edge.id)
    return Arrangement(beside, [], backward)


def _levels(graph: DrawnGraph) -> tuple[list[list[str]], set[str]]:
    """Return the rows of a U-Net and the ids of the edges that lead up; both empty if it is none.

    A U-Net's resolution falls, then rises, and an edge joins both sides at equal resolution. Nodes
    that change the resolution, such as poolings, are between the rows.
    """
    area = {
        node.id: math.prod(node.shape[2:])
        for node in graph.nodes
        if node.shape is not None and len(node.shape) == 4
    }
    calls = [node.id for node in graph.nodes if node.step is not None and node.id in area]
    sizes = [area[key] for key in calls]
    if not sizes:
        return [], set()
    bottom = sizes.index(min(sizes))
    falls = all(a >= b for a, b in pairwise(sizes[: bottom + 1]))
    rises = all(a <= b for a, b in pairwise(sizes[bottom:]))
    place = {key: i for i, key in enumerate(calls)}
    edges = [
        edge
        for edge in graph.edges
        if edge.source in area and edge.target in area and not edge.loop
    ]
    joined = any(
        place.get(edge.source, bottom) < bottom < place[edge.target]
        and area[edge.source] == area[edge.target]
        for edge in edges
    )
    if not (falls and rises and joined and sizes[-1] > sizes[bottom]):
        return [], set()
    changing = {edge.target for edge in edges if area[edge.source] != area[edge.target]}
    rising = {edge.target for edge in edges if area[edge.source] < area[edge.target]}
    rows: dict[int, list[str]] = {}
    for node in graph.nodes:
        if node.id in area and node.id not in changing:
            rows.setdefault(area[node.id], []).append(node.id)
    raised = {edge.id for edge in edges if edge.target in rising or edge.source in rising}
    return [rows[size] for size in sorted(rows, reverse=True)], raised
