"""Repeated parts of a graph, drawn once with their count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tinygrad_cnn.core.op import OPS
from tinygrad_cnn.drawing.graph import DrawnEdge, DrawnGraph, DrawnNode, DrawnScope
from tinygrad_cnn.drawing.scopes import ancestors, common

__all__ = ["Unfolded", "fold_repeats"]

LONGEST = 32  # calls: the longest part searched for


@dataclass(frozen=True)
class Unfolded:
    """The graph that a folded graph was made from.

    Attributes
    ----------
    graph : DrawnGraph
    places : mapping of str to str
        The id of the folded node, by the id of the unfolded one.
    originals : mapping of str to str
        The id of a shared parameter, by the id of each copy of it.
    """

    graph: DrawnGraph
    places: Mapping[str, str]
    originals: Mapping[str, str]


def fold_repeats(graph: DrawnGraph, unfolded: Unfolded) -> DrawnGraph:
    """Return the graph with each series of equal parts shown once, as ``× n``.

    Two parts are equal if they have the same ops or modules with the same shapes and options,
    connected in the same way, whatever their values. Their parameters are the same, or each has its
    own that nothing else uses. They are in series if the outputs of one are used by the next, and
    otherwise only by ops that collect those of all parts. If the parameters are the same, as in the
    time steps of an RNN, edges lead from the part to its next repeat (`DrawnEdge.loop`).
    """
    parts = _Parts(graph, unfolded)
    found = _Folded(graph, parts)
    i = 0
    while i < len(parts.calls):
        length, times = parts.repeats_at(i)
        if times > 1:
            found.add(i, length, times)
        i += length * times
    return found.graph()


class _Parts:
    """Find repeated parts in the calls of a graph."""

    def __init__(self, graph: DrawnGraph, unfolded: Unfolded) -> None:
        self.calls = [node for node in graph.nodes if node.step is not None]
        self.place = {node.id: i for i, node in enumerate(self.calls)}
        self.leaf = {node.id: node for node in graph.nodes if node.step is None}
        self.chains = ancestors(graph.scopes)
        self.path = {"": "", **{scope.name: scope.path for scope in graph.scopes}}
        self.module = {scope.id: scope.path for scope in unfolded.graph.scopes}
        self.extent = _extents(self.calls, self.chains)
        self.into: dict[str, list[DrawnEdge]] = {node.id: [] for node in graph.nodes}
        self.users: dict[str, list[int]] = {node.id: [] for node in graph.nodes}
        for edge in graph.edges:
            self.into[edge.target].append(edge)
            self.users[edge.source].append(self.place[edge.target])
        inside: dict[str, list[DrawnNode]] = {}
        for node in unfolded.graph.nodes:
            inside.setdefault(unfolded.places[node.id], []).append(node)
        self.learned = [
            [
                unfolded.originals.get(leaf, leaf)
                for leaf in (
                    *(n.id for n in inside[node.id] if n.kind == "parameter"),
                    *(e.source for e in self.into[node.id] if self._is_learned(e.source)),
                )
            ]
            for node in self.calls
        ]
        self.uses = Counter(key for own in self.learned for key in own)
        self.kinds = [self._kind(node, inside[node.id]) for node in self.calls]

    def repeats_at(self, start: int) -> tuple[int, int]:
        """Return the length and count of the repeated parts from `start`; (1, 1) if none."""
        left = len(self.calls) - start
        for length in range(1, min(LONGEST, left // 2) + 1):
            times, seen = 1, set(self.parameters(start, length))
            while start + (times + 1) * length <= len(self.calls):
                following = start + times * length
                if not self._follows(start, following, length) or not self._shares_like(
                    start, following, length, seen
                ):
                    break
                seen.update(self.parameters(following, length))
                times += 1
            if times > 1 and self._is_series(start, length, times):
                return length, times
        return 1, 1

    def parameters(self, start: int, length: int) -> list[str]:
        """Return the parameters of a part, in order, each as often as it is used."""
        return [key for own in self.learned[start : start + length] for key in own]

    def are_calls_of_one(self, start: int, length: int) -> bool:
        """Return whether the part at `start` and the next have the same parameters."""
        own = self.parameters(start, length)
        return bool(own) and own == self.parameters(start + length, length)

    def leaves(self, start: int, length: int) -> set[str]:
        """Return the leaves that only the part at `start` uses."""
        within = range(start, start + length)
        used = [edge.source for i in within for edge in self.into[self.calls[i].id]]
        return {
            key for key in used if key in self.leaf and all(u in within for u in self.users[key])
        }

    def name(self, i: int) -> str:
        """Return the name of a call: of a module, the same for each of its calls."""
        node = self.calls[i]
        return self.module.get(node.id, node.name)

    def _is_learned(self, key: str) -> bool:
        return key in self.leaf and self.leaf[key].kind == "parameter"

    def _follows(self, start: int, following: int, length: int) -> bool:
        """Return whether the part at `following` is equal to the first one of the series."""
        before = following - length
        for i in range(length):
            if self.kinds[start + i] != self.kinds[following + i]:
                return False
            if not self._in_like_scopes(start + i, following + i, start, following, length):
                return False
            ours = self._sources(before + i, start, before)
            theirs = self._sources(following + i, start, following)
            if len(ours) != len(theirs):
                return False
            for a, b in zip(ours, theirs, strict=True):
                starts = before == start and a[0] == b[0] and a[1] in ("far", "input")
                if a != b and not (starts and b[1] == "part before"):
                    return False
        return True

    def _sources(self, i: int, series: int, start: int) -> list[tuple[Hashable, ...]]:
        """Return where each argument of call `i`, in the part at `start`, comes from."""
        found: list[tuple[Hashable, ...]] = []
        for edge in self.into[self.calls[i].id]:
            place = self.place.get(edge.source)
            if place is None:
                alone = len(self.users[edge.source]) == 1 or self._is_learned(edge.source)
                found.append((*self.looks(edge), "" if alone else edge.source))
            elif place >= start:
                found.append((edge.argument, "part", i - place))
            elif place >= series:
                found.append((edge.argument, "part before", i - place))
            else:
                found.append((edge.argument, "far", place))
        return found

    def looks(self, edge: DrawnEdge) -> tuple[Hashable, ...]:
        """Return what makes two leaves of an argument equal; () for the result of a call."""
        leaf = self.leaf.get(edge.source)
        if leaf is None:
            return ()
        kind = "learned" if leaf.kind == "parameter" else "input"
        return edge.argument, kind, leaf.shape, leaf.dtype

    def _shares_like(self, start: int, following: int, length: int, seen: set[str]) -> bool:
        """Return whether the parameters are those of the first part, or none seen before."""
        ours, theirs = self.parameters(start, length), self.parameters(following, length)
        if following > start + length and ours and self.are_calls_of_one(start, length):
            return ours == theirs
        if ours == theirs:
            return following == start + length or not ours
        like = [ours.index(key) for key in ours] == [theirs.index(key) for key in theirs]
        alone = all(
            self.uses[key] == n for part in (ours, theirs) for key, n in Counter(part).items()
        )
        return like and alone and seen.isdisjoint(theirs)

    def _is_series(self, start: int, length: int, times: int) -> bool:
        """Return whether each part's outputs go to the next, or to a call that collects them."""
        end = start + times * length
        for i in range(start, start + length):
            beyond = []
            for k in range(times):
                following = start + (k + 1) * length
                users = self.users[self.calls[i + k * length].id]
                if any(following + length <= user < end for user in users):
                    return False
                beyond.append({user for user in users if user >= max(end, following)})
            *earlier, last = beyond
            if any(users != earlier[0] for users in earlier) or not earlier[0] <= last:
                return False
            if not all(getattr(OPS.get(self.calls[u].op), "sequence", False) for u in earlier[0]):
                return False
        return True

    def _in_like_scopes(self, i: int, j: int, first: int, second: int, length: int) -> bool:
        """Return whether two calls are in one scope, or in two calls of a module.

        The calls of the module must lie within the parts.
        """
        ours, theirs = self.chains[self.calls[i].scope], self.chains[self.calls[j].scope]
        if len(ours) != len(theirs):
            return False
        for a, b in zip(ours, theirs, strict=True):
            if a == b:
                continue
            if not self.path[a] or self.path[a] != self.path[b]:
                return False
            for scope, start in ((a, first), (b, second)):
                low, high = self.extent[scope]
                if low < start or high >= start + length:
                    return False
        return True

    def _kind(self, node: DrawnNode, inside: Iterable[DrawnNode]) -> Hashable:
        """Return what makes two calls equal, apart from their arguments."""
        calls = [
            (call.op, call.shape, call.dtype, call.formula, _options(call), call.error)
            for call in inside
            if call.step is not None
        ]
        return node.kind, node.op, self.path[node.scope], node.parameters, str(calls)


class _Folded:
    """A graph whose repeats are folded one after the other."""

    def __init__(self, graph: DrawnGraph, parts: _Parts) -> None:
        self.before = graph
        self.parts = parts
        self.scopes = {scope.name: scope for scope in graph.scopes}
        self.gone: dict[str, str] = {}  # removed node id to its counterpart in the first part
        self.kept: dict[str, DrawnNode] = {}  # changed nodes of first parts, by id
        self.loops: dict[str, DrawnEdge] = {}  # edges between the first two parts, by id

    def add(self, i: int, length: int, times: int) -> None:
        """Fold the `times` parts of `length` calls from call `i` on."""
        parts, chains = self.parts, self.parts.chains
        first = parts.calls[i : i + length]
        second = parts.calls[i + length : i + 2 * length]
        again = parts.are_calls_of_one(i, length)
        around = common([chains[node.scope] for node in (*first, *second)])
        depth = len(chains[around])
        inner = {chains[node.scope][depth : depth + 1] for node in first}
        only = next(iter(inner))
        if len(inner) == 1 and only:  # the part is a call of a module: it has a frame
            self.scopes[only[0]] = replace(self.scopes[only[0]], repeat=times)
        else:
            ends = first[0].name, parts.calls[i + length * times - 1].name
            if again:
                ends = parts.name(i), parts.name(i + length - 1)
            frame = self._framed(f"r{i}", ends, around, times, {name for (name,) in inner - {()}})
            leaves = [parts.leaf[key] for key in self._repeated_leaves(i, length)]
            for moved in (*first, *leaves):
                if moved.scope == around or moved.scope == "":
                    self.kept[moved.id] = replace(moved, scope=frame)
        for offset, node in enumerate(first):
            others = (parts.calls[i + k * length + offset] for k in range(1, times))
            if any(other.options != node.options for other in others):
                self.kept[node.id] = replace(self.kept.get(node.id, node), options={})
        for j in range(i + length, i + length * times):
            self.gone[parts.calls[j].id] = parts.calls[i + (j - i) % length].id
        if again:
            ours, theirs = {node.id for node in first}, {node.id for node in second}
            self.loops |= {
                edge.id: replace(edge, target=self.gone[edge.target], loop=True)
                for edge in self.before.edges
                if edge.source in ours and edge.target in theirs
            }

    def _repeated_leaves(self, start: int, length: int) -> list[str]:
        """Return the own leaves of the first part that take an argument in the next part, too."""
        parts = self.parts
        found: dict[str, None] = {}
        own = parts.leaves(start, length)
        for i in range(start, start + length):
            again = [parts.looks(edge) for edge in parts.into[parts.calls[i + length].id]]
            for edge in parts.into[parts.calls[i].id]:
                if edge.source in own and parts.looks(edge) in again:
                    again.remove(parts.looks(edge))
                    found[edge.source] = None
        return list(found)

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
        edges = [
            self.loops.get(edge.id) or replace(edge, source=self.gone.get(edge.source, edge.source))
            for edge in self.before.edges
            if edge.target not in self.gone or edge.id in self.loops
        ]
        used = {edge.source for edge in edges}
        nodes = [
            self.kept.get(node.id, node)
            for node in self.before.nodes
            if node.id not in self.gone
            and (node.step is not None or node.id in used or not self.parts.users[node.id])
        ]
        filled = {node.scope for node in nodes}
        for scope in reversed(self.scopes.values()):
            if scope.name in filled:
                filled.add(scope.parent)
        scopes = tuple(scope for scope in self.scopes.values() if scope.name in filled)
        return DrawnGraph(self.before.title, tuple(nodes), tuple(edges), scopes)


def _extents(
    calls: Sequence[DrawnNode], chains: dict[str, tuple[str, ...]]
) -> dict[str, tuple[int, int]]:
    """Return the places of the first and the last call in each scope."""
    found: dict[str, tuple[int, int]] = {}
    for i, node in enumerate(calls):
        for scope in chains[node.scope]:
            found[scope] = (found.get(scope, (i, i))[0], i)
    return found


def _options(call: DrawnNode) -> str:
    """Return the options of a call; each time step reads at another index of its input."""
    return str(sorted((name, str(v)) for name, v in call.options.items() if name != "index"))
