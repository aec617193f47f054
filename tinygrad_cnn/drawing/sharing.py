"""Shared parameters, drawn once for each call of the module that they belong to."""

from __future__ import annotations

from dataclasses import replace

from tinygrad_cnn.drawing.graph import DrawnEdge, DrawnGraph, DrawnNode

__all__ = ["per_call"]


def per_call(graph: DrawnGraph) -> tuple[DrawnGraph, dict[str, str]]:
    """Return the graph with a copy of each parameter for each call of its module.

    A cell that is called thirty times has one weight, with thirty edges that cross the picture. The
    copies stand inside the calls instead, and say how often the parameter is used. A parameter that
    different modules share is drawn once, as the place where they meet, and so is an input that
    requires a gradient.

    Returns
    -------
    graph : DrawnGraph
        The first copy has the id of the original, "n5"; the others are "n5u2", "n5u3", ...
    originals : dict of str to str
        The id of the original, by the id of each further copy.
    """
    path = {scope.name: scope.path for scope in graph.scopes}
    calls = {node.id: node for node in graph.nodes if node.step is not None}
    users: dict[str, list[DrawnEdge]] = {}
    for edge in graph.edges:
        users.setdefault(edge.source, []).append(edge)
    source: dict[str, str] = {}  # the copy that an edge begins at, by the id of the edge
    before: dict[str, list[DrawnNode]] = {}  # the copies drawn before the call that takes them
    moved: set[str] = set()
    originals: dict[str, str] = {}
    for node in graph.nodes:
        if node.kind != "parameter" or len(users.get(node.id, ())) < 2:
            continue
        groups: dict[str, list[DrawnEdge]] = {}
        for edge in users[node.id]:
            groups.setdefault(calls[edge.target].scope, []).append(edge)
        modules = {path.get(scope, "") for scope in groups}
        if len(groups) < 2 or len(modules) > 1 or not _belongs(node, modules.pop()):
            continue
        moved.add(node.id)
        for i, (scope, edges) in enumerate(groups.items(), start=1):
            own = node.id if i == 1 else f"{node.id}u{i}"
            copy = replace(node, id=own, scope=scope, uses=len(groups))
            before.setdefault(edges[0].target, []).append(copy)
            source |= {edge.id: own for edge in edges}
            if i > 1:
                originals[own] = node.id
    if not moved:
        return graph, {}
    nodes = [
        placed
        for node in graph.nodes
        if node.id not in moved
        for placed in (*before.get(node.id, ()), node)
    ]
    edges = [replace(edge, source=source.get(edge.id, edge.source)) for edge in graph.edges]
    return DrawnGraph(graph.title, tuple(nodes), tuple(edges), graph.scopes), originals


def _belongs(parameter: DrawnNode, path: str) -> bool:
    """Return whether a parameter is an attribute of the module at `path`."""
    return bool(path) and parameter.name.startswith(f"{path}.")
