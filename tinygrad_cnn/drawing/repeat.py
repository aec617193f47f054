"""Repeated parts of a graph, drawn once with their count."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace

from tinygrad_cnn.drawing.graph import DrawnEdge, DrawnGraph, DrawnNode, DrawnScope
from tinygrad_cnn.drawing.scopes import ancestors, common

__all__ = ["fold_repeats"]

LONGEST = 32  # calls: the longest part searched for
COLLECTING = ("concatenate", "stack")  # ops that may use the outputs of all parts


def fold_repeats(graph: DrawnGraph) -> DrawnGraph:
    """Return the graph with each series of equal parts shown once, as ``× n``.

    Two parts are equal if they have the same ops or modules with the same shapes and options,
    connected in the same way, whatever their values. They are in series if the outputs of one are
    used by the next, and otherwise only by ops that collect those of all parts. If the parts are
    calls of the same modules, as the time steps of an RNN are, an edge leads back from the part to
    itself (`DrawnEdge.loop`).
    """
    calls = [node for node in graph.nodes if node.step is not None]
    parts = _Parts(graph, calls)
    found = _Folded(graph)
    i = 0
    while i < len(calls):
        length, times = parts.repeats_at(i)
        if times > 1:
            found.add(parts, i, length, times)
        i += length * times
    return found.graph()


class _Folded:
    """A graph whose repeats are folded one after the other."""

    def __init__(self, graph: DrawnGraph) -> None:
        self.before = graph
        self.chains = ancestors(graph.scopes)
        self.scopes = {scope.name: scope for scope in graph.scopes}
        self.gone: dict[str, str] = {}  # removed node id to its counterpart in the first part
        self.kept: dict[str, DrawnNode] = {}  # changed nodes of first parts, by id
        self.dropped: set[str] = set()
        self.loops: dict[str, DrawnEdge] = {}  # edges between the first two parts, by id

    def add(self, parts: _Parts, i: int, length: int, times: int) -> None:
        """Fold the `times` parts of `length` calls from call `i` on."""
        first, second = parts.calls[i : i + length], parts.calls[i + length : i + 2 * length]
        again = parts.are_of_one_module(first, second)
        around = common([self.chains[node.scope] for node in (*first, *second)])
        depth = len(self.chains[around])
        inner = {self.chains[node.scope][depth : depth + 1] for node in first}
        only = next(iter(inner))
        if len(inner) == 1 and only:  # the part is a call of a module: it has a frame
            self.scopes[only[0]] = replace(self.scopes[only[0]], repeat=times)
        else:
            ends = first[0].name, parts.calls[i + length * times - 1].name
            if again:
                ends = _of_module(first[0]), _of_module(first[-1])
            own = self._framed(f"r{i}", ends, around, times, {name for (name,) in inner - {()}})
            for node in first:
                if node.scope == around:
                    for moved in (node, *parts.repeated_leaves(node, length)):
                        self.kept[moved.id] = replace(moved, scope=own)
        for node in first:
            if any(options != node.options for options in parts.options_at(node, length, times)):
                self.kept[node.id] = replace(self.kept.get(node.id, node), options={})
        for j in range(i + length, i + length * times):
            node = parts.calls[j]
            self.gone[node.id] = parts.calls[i + (j - i) % length].id
            self.dropped |= {node.id, *parts.own_leaves[node.id]}
        if again:
            ours, theirs = {node.id for node in first}, {node.id for node in second}
            self.loops |= {
                edge.id: replace(edge, target=self.gone[edge.target], loop=True)
                for edge in self.before.edges
                if edge.source in ours and edge.target in theirs
            }

    def _framed(
        self, key: str, ends: tuple[str, str], around: str, times: int, inner: set[str]
    ) -> str:
        """Add a scope around the scopes `inner`, before them, and return its name."""
        name = " … ".join(dict.fromkeys(ends))
        while name in self.scopes:
            name += "′"
        own = DrawnScope(key, name, around, repeat=times)
        scopes: dict[str, DrawnScope] = {}
        for other, scope in self.scopes.items():
            if other in inner:
                scopes.setdefault(name, own)
                scope = replace(scope, parent=name)
            scopes[other] = scope
        scopes.setdefault(name, own)
        self.scopes = scopes
        return name

    def graph(self) -> DrawnGraph:
        """Return the folded graph."""
        if not self.gone:
            return self.before
        nodes = [self.kept.get(n.id, n) for n in self.before.nodes if n.id not in self.dropped]
        edges = [
            self.loops.get(edge.id) or replace(edge, source=self.gone.get(edge.source, edge.source))
            for edge in self.before.edges
            if edge.target not in self.dropped or edge.id in self.loops
        ]
        filled = {node.scope for node in nodes}
        for scope in reversed(self.scopes.values()):
            if scope.name in filled:
                filled.add(scope.parent)
        scopes = tuple(scope for scope in self.scopes.values() if scope.name in filled)
        return DrawnGraph(self.before.title, tuple(nodes), tuple(edges), scopes)


class _Parts:
    """Find repeated parts in a sequence of calls."""

    def __init__(self, graph: DrawnGraph, calls: Sequence[DrawnNode]) -> None:
        self.calls = calls
        self.place = {node.id: i for i, node in enumerate(calls)}
        self.leaf = {node.id: node for node in graph.nodes if node.step is None}
        self.path = {"": "", **{scope.name: scope.path for scope in graph.scopes}}
        self.chains = ancestors(graph.scopes)
        self.extent = _extents(calls, self.chains)
        into: dict[str, list[DrawnEdge]] = {node.id: [] for node in graph.nodes}
        self.users: dict[str, list[int]] = {node.id: [] for node in graph.nodes}
        for edge in graph.edges:
            into[edge.target].append(edge)
            self.users[edge.source].append(self.place[edge.target])
        self.own_leaves = {
            node.id: [
                edge.source
                for edge in into[node.id]
                if edge.source in self.leaf and len(self.users[edge.source]) == 1
            ]
            for node in calls
        }
        self.kinds = [self._kind(node, into[node.id]) for node in calls]
        self.inputs = [self._given(into[node.id], learned=False) for node in calls]
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
            if times > 1 and self._is_series(start, length, times):
                return length, times
        return 1, 1

    def are_of_one_module(self, first: Sequence[DrawnNode], second: Sequence[DrawnNode]) -> bool:
        """Return whether two equal parts are calls of the same modules, or share parameters."""
        return any(
            a.scope != b.scope
            or (a.name != b.name and _of_module(a) == _of_module(b))
            or any(self.leaf[leaf].uses > 1 for leaf in self.own_leaves[a.id])
            for a, b in zip(first, second, strict=True)
        )

    def options_at(self, node: DrawnNode, length: int, times: int) -> Iterator[object]:
        """Yield the options of the counterparts of a node of the first part."""
        place = self.place[node.id]
        for k in range(1, times):
            yield self.calls[place + k * length].options

    def repeated_leaves(self, node: DrawnNode, length: int) -> list[DrawnNode]:
        """Return the own leaves of a node of the first part that the next part has as well."""
        other = self.calls[self.place[node.id] + length]
        waiting = Counter(_looks(self.leaf[leaf]) for leaf in self.own_leaves[other.id])
        found = []
        for leaf in (self.leaf[leaf] for leaf in self.own_leaves[node.id]):
            if waiting[_looks(leaf)]:
                waiting[_looks(leaf)] -= 1
                found.append(leaf)
        return found

    def _follows(self, start: int, length: int, is_first: bool) -> bool:
        """Return whether an equal part follows the one at `start`."""
        following = start + length
        for i in range(start, following):
            if self.kinds[i] != self.kinds[i + length]:
                return False
            if not (  # only the first part may begin from inputs, such as a state of zeros
                self.inputs[i] == self.inputs[i + length]
                or (is_first and self.inputs[i] > self.inputs[i + length])
            ):
                return False
            if not self._in_like_scopes(i, start, length):
                return False
            if self._inner(i, start) != self._inner(i + length, following):
                return False
            if any(source < start for source in self.sources[i + length]):
                return False
            if not is_first and self._outer(i, start) != self._outer(i + length, following):
                return False
        return True

    def _is_series(self, start: int, length: int, times: int) -> bool:
        """Return whether each part's outputs go to the next, or to a call that collects them."""
        end = start + times * length
        for i in range(start, end - length):
            following = start + ((i - start) // length + 1) * length
            for user in self.users[self.calls[i].id]:
                collected = user >= end and self.calls[user].op in COLLECTING
                if user >= following + length and not collected:
                    return False
        return True

    def _in_like_scopes(self, i: int, start: int, length: int) -> bool:
        """Return whether a call and its counterpart are in one scope, or in two calls of a module.

        The calls of the module must lie within the parts.
        """
        ours = self.chains[self.calls[i].scope]
        theirs = self.chains[self.calls[i + length].scope]
        if ours == theirs:
            return True
        if len(ours) != len(theirs):
            return False
        for a, b in zip(ours, theirs, strict=True):
            if a == b:
                continue
            if not self.path[a] or self.path[a] != self.path[b]:
                return False
            for scope, first in ((a, start), (b, start + length)):
                low, high = self.extent[scope]
                if low < first or high >= first + length:
                    return False
        return True

    def _inner(self, i: int, start: int) -> list[int]:
        """Return the distances from call `i` back to its sources within its part."""
        return [i - source for source in self.sources[i] if source >= start]

    def _outer(self, i: int, start: int) -> list[int]:
        """Return the distances from call `i` back to its sources before its part."""
        return [i - source for source in self.sources[i] if source < start]

    def _kind(self, node: DrawnNode, into: Sequence[DrawnEdge]) -> Hashable:
        options = sorted((name, str(value)) for name, value in node.options.items())
        if node.op == "getitem":  # each time step reads another part of its input
            options = []
        given = sorted(map(str, self._given(into, learned=True).items()))
        return (
            node.kind, node.op, self.path[node.scope], node.shape, node.dtype, node.formula,
            node.parameters, node.multiply_adds, node.error, str(options), str(given),
        )  # fmt: skip

    def _given(self, into: Sequence[DrawnEdge], learned: bool) -> Counter[Hashable]:
        """Return what distinguishes the parameters, or the other leaves, counted."""
        return Counter(
            (edge.argument, *_looks(leaf), len(self.users[leaf.id]) == 1)
            for edge in into
            if (leaf := self.leaf.get(edge.source)) is not None
            and (leaf.kind == "parameter") == learned
        )


def _extents(
    calls: Sequence[DrawnNode], chains: dict[str, tuple[str, ...]]
) -> dict[str, tuple[int, int]]:
    """Return the places of the first and the last call in each scope."""
    found: dict[str, tuple[int, int]] = {}
    for i, node in enumerate(calls):
        for scope in chains[node.scope]:
            found[scope] = (found.get(scope, (i, i))[0], i)
    return found


def _looks(leaf: DrawnNode) -> tuple[Hashable, ...]:
    return leaf.kind, leaf.shape, leaf.dtype


def _of_module(node: DrawnNode) -> str:
    """Return the name of a node without the number of the call, such as "cell" for "cell (2)"."""
    return re.sub(r" \(\d+\)$", "", node.name)
