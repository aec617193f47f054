"""Repeated parts of a graph, drawn once with their count."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

from tinygrad_cnn.drawing.graph import DrawnEdge, DrawnGraph, DrawnNode, DrawnScope

__all__ = ["fold_repeats"]

LONGEST = 32  # calls: the longest part searched for


def fold_repeats(graph: DrawnGraph) -> DrawnGraph:
    """Return the graph with each series of equal parts shown once, as ``× n``.

    Two parts are equal if they have the same ops or modules with the same shapes and options,
    connected in the same way, whatever their values. They are in series if the outputs of one are
    used by the next and nowhere else.
    """
    calls = [node for node in graph.nodes if node.step is not None]
    parts = _Parts(graph, calls)
    scopes = list(graph.scopes)
    gone: dict[str, str] = {}  # removed node id to its counterpart in the first part
    inside: dict[str, str] = {}  # node id to its new scope
    dropped: set[str] = set()
    i = 0
    while i < len(calls):
        length, times = parts.repeats_at(i)
        if times == 1:
            i += 1
            continue
        first = calls[i : i + length]
        name = f"{first[0].name} … {calls[i + length * times - 1].name}"
        while any(scope.name == name for scope in scopes):
            name += "′"
        scopes.append(DrawnScope(f"r{i}", name, first[0].scope, repeat=times))
        for j in range(i, i + length * times):
            node = calls[j]
            leaves = parts.own_leaves[node.id]
            if j < i + length:
                inside |= dict.fromkeys([node.id, *leaves], name)
            else:
                gone[node.id] = calls[i + (j - i) % length].id
                dropped |= {node.id, *leaves}
        i += length * times
    if not gone:
        return graph
    nodes = tuple(
        replace(node, scope=inside.get(node.id, node.scope))
        for node in graph.nodes
        if node.id not in dropped
    )
    edges = tuple(
        replace(edge, source=gone.get(edge.source, edge.source))
        for edge in graph.edges
        if edge.target not in dropped
    )
    return DrawnGraph(graph.title, nodes, edges, tuple(scopes))


class _Parts:
    """Find repeated parts in a sequence of calls."""

    def __init__(self, graph: DrawnGraph, calls: Sequence[DrawnNode]) -> None:
        self.calls = calls
        self.place = {node.id: i for i, node in enumerate(calls)}
        learned = {node.id: node for node in graph.nodes if node.kind == "parameter"}
        into: dict[str, list[DrawnEdge]] = {node.id: [] for node in graph.nodes}
        self.users: dict[str, list[int]] = {node.id: [] for node in graph.nodes}
        for edge in graph.edges:
            into[edge.target].append(edge)
            self.users[edge.source].append(self.place[edge.target])
        self.own_leaves = {
            node.id: [
                edge.source
                for edge in into[node.id]
                if edge.source in learned and len(self.users[edge.source]) == 1
            ]
            for node in calls
        }
        self.kinds = [self._kind(node, into[node.id], learned) for node in calls]
        self.sources = [
            [self.place[edge.source] for edge in into[node.id] if edge.source in self.place]
            for node in calls
        ]

    def repeats_at(self, start: int) -> tuple[int, int]:
        """Return the length and count of the repeated parts from `start`; (1, 1) if none."""
        left = len(self.calls) - start
        for length in range(1, min(LONGEST, left // 2) + 1):
            times = 1
            while start + (times + 1) * length <= len(self.calls) and self._follows(
                start + (times - 1) * length, length, times == 1
            ):
                times += 1
            if times > 1:
                return length, times
        return 1, 1

    def _follows(self, start: int, length: int, is_first: bool) -> bool:
        """Return whether an equal part follows the one at `start` and alone uses its outputs."""
        following = start + length
        for i in range(start, following):
            if self.kinds[i] != self.kinds[i + length]:
                return False
            if any(user >= following + length for user in self.users[self.calls[i].id]):
                return False
            if self._inner(i, start) != self._inner(i + length, following):
                return False
            if any(source < start for source in self.sources[i + length]):
                return False
            if not is_first and self._outer(i, start) != self._outer(i + length, following):
                return False
        return True

    def _inner(self, i: int, start: int) -> list[int]:
        """Return the distances from call `i` back to its sources within its part."""
        return [i - source for source in self.sources[i] if source >= start]

    def _outer(self, i: int, start: int) -> list[int]:
        """Return the distances from call `i` back to its sources before its part."""
        return [i - source for source in self.sources[i] if source < start]

    def _kind(
        self, node: DrawnNode, into: Sequence[DrawnEdge], learned: dict[str, DrawnNode]
    ) -> Hashable:
        given = [
            (edge.argument, leaf.shape, leaf.dtype, len(self.users[leaf.id]) == 1)
            for edge in into
            if (leaf := learned.get(edge.source)) is not None
        ]
        options = sorted((name, str(value)) for name, value in node.options.items())
        return (
            node.kind, node.op, node.scope, node.shape, node.dtype, node.formula, node.parameters,
            node.multiply_adds, node.error, str(options), str(given),
        )  # fmt: skip
