"""Values in nested lists, tuples, dicts and slices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["mapped", "parts"]


def parts(value: Any, kind: Any) -> Iterator[Any]:
    """Yield the instances of `kind` that a value is or contains, at any depth.

    Examples
    --------
    >>> [*parts({"x": [1, 2.0, (3,)], "y": slice(4, None)}, int)]
    [1, 3, 4]
    """
    if isinstance(value, kind):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from parts(part, kind)
    elif isinstance(value, dict):
        for part in value.values():
            yield from parts(part, kind)
    elif isinstance(value, slice):
        yield from parts((value.start, value.stop, value.step), kind)


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return a value with ``change(part)`` in place of each part that is not a container.

    Containers are lists, tuples, named tuples, dicts and slices, and are made new. An instance of
    another subclass of these is a part.

    Examples
    --------
    >>> mapped({"x": [1, 2], "y": (3,)}, lambda part: part * 10)
    {'x': [10, 20], 'y': (30,)}
    """
    kind = type(value)
    if kind is list or kind is tuple:
        return kind([mapped(part, change) for part in value])
    if kind is dict:
        return {key: mapped(part, change) for key, part in value.items()}
    if kind is slice:
        return slice(*[mapped(part, change) for part in (value.start, value.stop, value.step)])
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return kind(*[mapped(part, change) for part in value])
    return change(value)
