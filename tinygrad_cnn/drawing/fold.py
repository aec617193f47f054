"""Folding of modules into single nodes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TypeVar

from tinygrad_cnn.drawing.graph import DrawnGraph, DrawnNode, DrawnScope
from tinygrad_cnn.drawing.scopes import ancestors

__all__ = ["fold"]

Number = TypeVar("Number", int, float)

MANY = 4  # a module with more ops than this is not labeled with their names


def fold(
    graph: DrawnGraph, depth: int, opened: Collection[str] = ()
) -> tuple[DrawnGraph, dict[str, str]]:
    """Return the graph with modules folded into nodes, and the new node of each old one.

    Parameters
    ----------
    graph : DrawnGraph
    depth : int
        At least 1. Modules at this depth become nodes, as do shallower ones without submodules; 1
        shows a model's outermost modules.
    opened : collection of str
        The names of scopes that stay unfolded, with those around them.

    Returns
    -------
    graph : DrawnGraph
        The folded graph, with all edges between distinct nodes.
    places : dict of str to str
        The id of the folded node, by the id of the original node.
    """
    chains = ancestors(graph.scopes)
    outer = {scope.parent for scope in graph.scopes}
    shown = {
        scope.name
        for scope in graph.scopes
        if (len(chains[scope.name]) < depth and scope.name in outer) or scope.name in opened
    }
    folded = {
        scope.name: scope
        for scope in graph.scopes
        if scope.name not in shown and shown.issuperset(chains[scope.name][:-1])
    }
    places: dict[str, str] = {}
    members: dict[str, list[DrawnNode]] = {}
    last: dict[str, int] = {}
    for i, node in enumerate(graph.nodes):
        around = next((folded[name] for name in chains[node.scope] if name in folded), None)
        place = node.id if around is None else around.id
        places[node.id] = place
        members.setdefault(place, []).append(node)
        last[place] = i  # all inputs of a module come before its last call
    edges = [
        replace(edge, source=places[edge.source], target=places[edge.target])
        for edge in graph.edges
        if places[edge.source] != places[edge.target]
    ]
    leaving = {edge.source for edge in graph.edges if places[edge.source] != places[edge.target]}
    by_id = {scope.id: scope for scope in folded.values()}
    nodes = [
        _module(by_id[key], inside, leaving) if key in by_id else inside[0]
        for key, inside in sorted(members.items(), key=lambda item: last[item[0]])
    ]
    single = {node.id for node in nodes if node.kind != "module" or node.formula}
    edges = [
        edge if edge.target in single else replace(edge, formula="", latex="", equation="")
        for edge in edges
    ]
    scopes = tuple(
        scope for scope in graph.scopes if not any(n in folded for n in chains[scope.name])
    )
    return DrawnGraph(graph.title, tuple(nodes), tuple(edges), scopes), places


def _module(scope: DrawnScope, inside: Sequence[DrawnNode], leaving: set[str]) -> DrawnNode:
    """Return the node that replaces all nodes of a scope."""
    calls = [node for node in inside if node.step is not None]
    outward = [node for node in calls if node.id in leaving] or calls
    result = outward[-1]
    names = list(dict.fromkeys(node.op for node in calls))
    described = " · ".join(names[:MANY]) + (" …" if len(names) > MANY else "")
    only = calls[0] if len(calls) == 1 else None
    steps = [node.step for node in calls if node.step is not None]
    turns = [node.backward_step for node in calls if node.backward_step is not None]
    return DrawnNode(
        scope.id,
        "module",
        scope.name,
        scope.kind or described,
        scope.parent,
        result.shape,
        result.dtype,
        only.formula if only else "",
        only.latex if only else "",
        only.equation if only else "",
        only.options if only else {},
        _total([node.multiply_adds for node in calls]),
        sum(node.parameters for node in inside),
        min(steps),
        max(turns, default=None),
        result.value,
        result.gradient,
        max((node.dead for node in calls if node.dead is not None), default=None),
        max((node.saturated for node in calls if node.saturated is not None), default=None),
        _total([node.seconds for node in calls]),
        _total([node.backward_seconds for node in calls]),
        _total([node.bytes for node in calls]),
        next((node.error for node in calls if node.error), ""),
        result.scale,
    )


def _total(amounts: Sequence[Number | None]) -> Number | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known else None
