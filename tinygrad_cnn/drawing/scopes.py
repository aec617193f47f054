"""The nested module scopes of a sequence of calls.

A scope is a run of consecutive calls within one call of a module: a module that is called again
gets a second scope, and so does one whose calls continue after others. So folding every scope into
one node never creates a cycle, whatever the order of the calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from tinygrad_cnn.core.recording import Scope
from tinygrad_cnn.drawing.graph import DrawnScope
from tinygrad_cnn.support.text import printable

__all__ = ["ancestors", "common", "scopes_of"]

_Place: TypeAlias = tuple[str, int]  # a path, and the id of the call of a module; 0 for none


def scopes_of(
    paths: Sequence[str], kinds: Mapping[str, str]
) -> tuple[tuple[DrawnScope, ...], list[str]]:
    """Return the scopes of calls, and the name of each call's innermost scope.

    Parameters
    ----------
    paths : sequence of str
        The recorded scope of each call, such as "features.0".
    kinds : mapping of str to str
        The class of the module at a path, where known.

    Examples
    --------
    >>> scopes, inside = scopes_of(["fc.0", "act", "fc.1", "fc.1", "fc.2"], {})
    >>> [(scope.name, scope.parent) for scope in scopes]
    [('fc.0', ''), ('act', ''), ('fc', ''), ('fc.1', 'fc'), ('fc.2', 'fc')]
    >>> inside
    ['fc.0', 'act', 'fc.1', 'fc.1', 'fc.2']
    """
    opened: list[tuple[str, int]] = []  # path and parent (index in this list, −1 for none)
    innermost: list[int] = []
    current: list[tuple[_Place, int]] = []  # the scopes around the last call, and their index
    for path in paths:
        prefixes = _prefixes(path)
        same = 0
        for (before, _), now in zip(current, prefixes, strict=False):
            if before != now:
                break
            same += 1
        del current[same:]
        for prefix in prefixes[same:]:
            opened.append((prefix[0], current[-1][1] if current else -1))
            current.append((prefix, len(opened) - 1))
        innermost.append(current[-1][1] if current else -1)
    return _named(opened, innermost, kinds)


def _named(
    opened: list[tuple[str, int]], innermost: list[int], kinds: Mapping[str, str]
) -> tuple[tuple[DrawnScope, ...], list[str]]:
    """Drop scopes that hold only one other scope, and name the rest."""
    filled = set(innermost)
    children = [0] * len(opened)
    for _, parent in opened:
        if parent >= 0:
            children[parent] += 1
    names: dict[int, str] = {-1: ""}
    calls: dict[str, int] = {}
    taken: set[str] = set()
    scopes: list[DrawnScope] = []
    for place, (path, parent) in enumerate(opened):
        if place not in filled and children[place] == 1:
            names[place] = names[parent]
            continue
        name = shown = printable(path)
        while name in taken or not name:
            calls[shown] = calls.get(shown, 1) + 1
            name = f"{shown} ({calls[shown]})"
        taken.add(name)
        names[place] = name
        scopes.append(
            DrawnScope(f"s{len(scopes)}", name, names[parent], kinds.get(path, ""), shown)
        )
    return tuple(scopes), [names[place] for place in innermost]


def _prefixes(path: str) -> list[_Place]:
    """Return "a", "a.b", "a.b.c" for "a.b.c", each with the call of a module that it belongs to."""
    calls: dict[str, int] = {}
    call = path
    while isinstance(call, Scope):
        calls[str(call)] = id(call)
        call = call.outer
    parts = path.split(".") if path else []
    found: list[_Place] = []
    innermost = 0
    for i in range(len(parts)):
        prefix = ".".join(parts[: i + 1])
        innermost = calls.get(prefix, innermost)
        found.append((prefix, innermost))
    return found


def ancestors(scopes: Sequence[DrawnScope]) -> dict[str, tuple[str, ...]]:
    """Return the chain of scope names down to each scope, by name; "" for no scope."""
    found: dict[str, tuple[str, ...]] = {"": ()}
    for scope in scopes:
        found[scope.name] = (*found[scope.parent], scope.name)
    return found


def common(chains: Sequence[tuple[str, ...]]) -> str:
    """Return the innermost name shared by all chains of `ancestors`; empty if none."""
    shared = ""
    for names in zip(*chains, strict=False):
        if len(set(names)) > 1:
            break
        shared = names[0]
    return shared
