"""Argument checks for classes and commands; messages start with the name of the owner."""

from __future__ import annotations

import math
from collections.abc import Iterable
from types import UnionType
from typing import Any, get_args, get_origin

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.engine.windows import Padding, Pair, borders, pair


def native(array: NDArray[Any]) -> NDArray[Any]:
    """Return `array` in native byte order, without a copy if it already is."""
    return array if array.dtype.isnative else array.astype(np.result_type(array.dtype))


def first_index(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    """Return the index of the first True entry of `mask`, in row-major order."""
    return tuple(np.argwhere(mask)[0].tolist())


def indexed(name: str, index: tuple[int, ...]) -> str:
    """Return an entry as messages name it, such as "x[0, 2]"; "x" without axes."""
    return f"{name}[{', '.join(map(str, index))}]" if index else name


def whole(owner: str, argument: str, value: Any, least: int = 1) -> int:
    """Return an integer of at least `least` as an int; else raise ValueError."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise ValueError(f"{owner}: {argument} is {value!r}, expected an integer >= {least}")
    return int(value)


def wholes(owner: str, argument: str, values: Any) -> tuple[int, ...]:
    """Return a list of positive integers as a tuple; else raise ValueError."""
    if not isinstance(values, tuple | list):
        raise ValueError(f"{owner}: {argument} is {values!r}, expected a list of integers")
    return tuple(whole(owner, f"{argument}[{i}]", value) for i, value in enumerate(values))


def number(
    owner: str, argument: str, value: Any, least: float = 0.0, below: float = math.inf
) -> float:
    """Return a number with least ≤ value < below as a float; else raise ValueError."""
    real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not real or not least <= value < below:
        limit = "" if below == math.inf else f" and < {below:g}"
        raise ValueError(
            f"{owner}: {argument} is {value!r}, expected a finite number >= {least:g}{limit}"
        )
    return float(value)


def positive(owner: str, argument: str, value: Any) -> float:
    """Return a positive finite number as a float; else raise ValueError."""
    try:
        return number(owner, argument, value, math.nextafter(0.0, 1.0))
    except ValueError:
        raise ValueError(
            f"{owner}: {argument} is {value!r}, expected a finite number > 0"
        ) from None


def share(owner: str, argument: str, value: Any) -> float:
    """Return a number from 0 to 1 as a float; else raise ValueError."""
    try:
        return number(owner, argument, value, below=math.nextafter(1.0, 2.0))
    except ValueError:
        raise ValueError(
            f"{owner}: {argument} is {value!r}, expected a number from 0 to 1"
        ) from None


def numbers(owner: str, argument: str, value: Any, least: int) -> Pair:
    """Return an integer or a pair of integers as int or tuple; else raise ValueError."""
    both = pair(owner, argument, value, least)
    return both if isinstance(value, tuple | list) or np.ndim(value) else both[0]


def single(owner: str, argument: str, value: Any, least: int) -> int:
    """Return an integer, or the one of a tuple, as an int; else raise ValueError."""
    one = value[0] if isinstance(value, tuple | list) and len(value) == 1 else value
    return whole(owner, argument, one, least)


def ends(owner: str, padding: Any) -> int | tuple[int, int] | str:
    """Return the padding of a signal, at both ends or at each; else raise ValueError."""
    if isinstance(padding, str):
        return str(choice(owner, "padding", padding, ("same", "valid")))
    if isinstance(padding, tuple | list) and len(padding) == 2:
        return whole(owner, "padding[0]", padding[0], 0), whole(owner, "padding[1]", padding[1], 0)
    return single(owner, "padding", padding, 0)


def border(owner: str, padding: Any) -> Padding:
    """Return the padding of a convolution or pooling as `windows` takes it; else raise."""
    if isinstance(padding, str):
        return str(choice(owner, "padding", padding, ("same", "valid")))
    if np.ndim(padding) == 2 or (isinstance(padding, tuple | list) and any(map(np.ndim, padding))):
        return borders(owner, padding)
    return numbers(owner, "padding", padding, 0)


def flag(owner: str, argument: str, value: Any) -> bool:
    """Return `value` if it is True or False; else raise ValueError."""
    return bool(choice(owner, argument, value, (True, False)))


def choice(owner: str, argument: str, value: Any, options: Iterable[Any]) -> Any:
    """Return `value` if it is one of `options`; else raise ValueError."""
    known = list(options)
    if not any(type(value) is type(option) and value == option for option in known):
        listed = ", ".join(repr(option) for option in known)
        raise ValueError(f"{owner}: {argument} is {value!r}, expected one of {listed}")
    return value


def typed(owner: str, argument: str, value: Any, annotation: Any) -> None:
    """Raise ValueError if `value`, read from JSON, is not of the type that a field declares.

    A list is taken for a tuple, an integer for a float. Numbers must be finite and texts valid
    Unicode, also where anything is allowed: what was read can be written again.
    """
    kind, inner = get_origin(annotation) or annotation, get_args(annotation)
    if kind is UnionType:
        fitting = [each for each in inner if _is(value, get_origin(each) or each)]
        annotation = fitting[0] if fitting else annotation
        kind, inner = get_origin(annotation) or annotation, get_args(annotation)
    many = len(inner) if kind is tuple and inner[-1:] != (...,) else None
    finite = not isinstance(value, float) or math.isfinite(value)
    if not _is(value, kind) or not finite or (many is not None and len(value) != many):
        name = annotation.__name__ if isinstance(annotation, type) else annotation
        name = name if finite else "a finite number"
        raise ValueError(f"{owner}: {argument} is {value!r:.60}, expected {name}")
    if isinstance(value, str):
        value.encode()  # UnicodeEncodeError is a ValueError
    elif isinstance(value, dict):
        for key, entry in value.items():
            typed(owner, f"{argument}: a name", key, str)
            typed(owner, f"{argument}[{key!r}]", entry, inner[1] if inner else Any)
    elif isinstance(value, list | tuple):
        for i, entry in enumerate(value):
            typed(owner, f"{argument}[{i}]", entry, inner[i if many else 0] if inner else Any)


def _is(value: Any, kind: Any) -> bool:
    if kind is Any or isinstance(value, bool):
        return kind in (Any, bool)
    wider = {tuple: (tuple, list), float: (float, int)}.get(kind, kind)
    return isinstance(value, wider)
