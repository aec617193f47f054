"""Which calls stand in which module: the nested scopes of a sequence of calls.

A scope is a stretch of calls that follow each other: a module that is called again after something
else has happened gets a second scope. So a graph in which every scope is folded into one node has
no cycle, whatever the modules are called in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tinygrad_cnn.drawing.graph import Scope

__all__ = ["ancestors", "common", "scopes_of"]


def scopes_of(
    paths: Sequence[str], kinds: Mapping[str, str]
) -> tuple[tuple[Scope, ...], list[str]]:
    """Return the scopes of calls, and the name of the innermost one of each call.

    Parameters
    ----------
    paths : sequence of str
        The scope of each call as it was recorded, such as "features.0".
    kinds : mapping of str to str
        The class of the module that a path names, where it is known.

    Examples
    --------
    >>> scopes, inside = scopes_of(["fc.0", "act", "fc.1", "fc.1", "fc.2"], {})
    >>> [(scope.name, scope.parent) for scope in scopes]
    [('fc.0', ''), ('act', ''), ('fc', ''), ('fc.1', 'fc'), ('fc.2', 'fc')]
    >>> inside
    ['fc.0', 'act', 'fc.1', 'fc.1', 'fc.2']
    """
    opened: list[tuple[str, int]] = []  # path and parent (its place in the list, −1 for none)
    innermost: list[int] = []
    current: list[tuple[str, int]] = []  # the scopes around the last call: path and place
    for path in paths:
        prefixes = _prefixes(path)
        same = 0
        for (before, _), now in zip(current, prefixes, strict=False):
            if before != now:
                break
            same += 1
        del current[same:]
        for prefix in prefixes[same:]:
            opened.append((prefix, current[-1][1] if current else -1))
            current.append((prefix, len(opened) - 1))
        innermost.append(current[-1][1] if current else -1)
    return _named(opened, innermost, kinds)


def _named(
    opened: list[tuple[str, int]], innermost: list[int], kinds: Mapping[str, str]
) -> tuple[tuple[Scope, ...], list[str]]:
    """Leave out scopes that hold nothing but one other; give the rest their names."""
    filled = set(innermost)
    children = [0] * len(opened)
    for _, parent in opened:
        if parent >= 0:
            children[parent] += 1
    names: dict[int, str] = {-1: ""}
    calls: dict[str, int] = {}
    taken: set[str] = set()
    scopes: list[Scope] = []
    for place, (path, parent) in enumerate(opened):
        if place not in filled and children[place] == 1:
            names[place] = names[parent]
            continue
        name = path
        while name in taken or not name:
            calls[path] = calls.get(path, 1) + 1
            name = f"{path} ({calls[path]})"
        taken.add(name)
        names[place] = name
        scopes.append(Scope(f"s{len(scopes)}", name, names[parent], kinds.get(path, "")))
    return tuple(scopes), [names[place] for place in innermost]


def _prefixes(path: str) -> list[str]:
    """Return ["a", "a.b", "a.b.c"] for "a.b.c"."""
    parts = path.split(".") if path else []
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def ancestors(scopes: Sequence[Scope]) -> dict[str, tuple[str, ...]]:
    """Return, for the name of each scope, the names of those around it and its own; "" for none."""
    found: dict[str, tuple[str, ...]] = {"": ()}
    for scope in scopes:
        found[scope.name] = (*found[scope.parent], scope.name)
    return found


def common(chains: Sequence[tuple[str, ...]]) -> str:
    """Return the innermost name that all chains of `ancestors` share; empty if there is none."""
    shared = ""
    for names in zip(*chains, strict=False):
        if len(set(names)) > 1:
            break
        shared = names[0]
    return shared
