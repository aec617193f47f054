"""What a run's figures come from: versions, machine, and the code that did the run."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np

from tinygrad_cnn.bench.machine import describe

__all__ = ["difference", "fingerprint", "provenance"]

SHARED = "tinygrad_cnn.experiments.gallery"
DIGITS = 16


def provenance(run: Callable[..., None], variant: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the figures of a run depend on, as plain data.

    Parameters
    ----------
    run : callable
        Of an experiment.
    variant : mapping
        The arguments that `run` is given.
    """
    return {**_surroundings(), "code": fingerprint(run, variant)}


@cache
def _surroundings() -> dict[str, str]:
    from tinygrad_cnn import __version__

    machine = describe()
    return {
        "tinygrad_cnn": __version__,
        "python": machine.python,
        "numpy": machine.numpy,
        "blas": f"{machine.blas} {machine.kernel}".strip(),
        "machine": f"{machine.processor}, {machine.cores} cores, {machine.system}",
    }


def difference(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return in words how what runs come from differs; empty if it does not.

    Examples
    --------
    >>> difference({"numpy": "2.0", "code": "a"}, {"numpy": "2.1", "code": "b"})
    'numpy 2.0, not 2.1; other code of the experiment'
    >>> difference({"numpy": "2.1"}, {"numpy": "2.1"})
    ''
    """
    found = [
        "other code of the experiment"
        if key == "code"
        else f"{key} {then.get(key, 'unknown')}, not {now.get(key, 'unknown')}"
        for key in dict.fromkeys([*then, *now])
        if then.get(key) != now.get(key)
    ]
    return "; ".join(found)


def fingerprint(run: Callable[..., None], variant: Mapping[str, Any]) -> str:
    """Return a digest of the code that decides a run, and of its arguments.

    That is `run`, and whatever it uses, directly or not, of its own module and of the modules of
    the experiments. Comments, docstrings and layout do not matter, nor does what only draws.

    Examples
    --------
    >>> def run(record, *, seed, rate):
    ...     record(0, loss=rate)
    >>> fingerprint(run, {"rate": 0.1}) == fingerprint(run, {"rate": 0.2})
    False
    """
    seen: dict[int, Any] = {}
    parts = [*_described(run, seen), *_described(dict(variant), seen)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:DIGITS]


def _described(value: Any, seen: dict[int, Any]) -> Iterator[str]:
    """Yield texts that change when a value does: for code, those of what it uses as well."""
    value = inspect.unwrap(value) if callable(value) else value
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield f"{key!r}:"
            yield from _described(item, seen)
    elif isinstance(value, list | tuple | set | frozenset):
        yield f"{type(value).__name__} of {len(value)}"
        for item in sorted(value, key=repr) if isinstance(value, set | frozenset) else value:
            yield from _described(item, seen)
    elif is_dataclass(value) and not isinstance(value, type):
        yield type(value).__qualname__
        for field in fields(value):
            yield from _described(getattr(value, field.name), seen)
    elif isinstance(value, np.ndarray):
        yield hashlib.sha256(value.tobytes()).hexdigest()
    elif inspect.isfunction(value) or inspect.isclass(value):
        followed = _followed(value, seen)  # a file of one's own may be a script or a module
        yield value.__qualname__ if followed else f"{value.__module__}.{value.__qualname__}"
        if followed and id(value) not in seen:
            seen[id(value)] = value
            yield from _code(value, seen)
    elif inspect.ismodule(value):
        yield value.__name__
    elif value is None or isinstance(value, str | bytes | int | float | complex | np.generic):
        yield repr(value)
    else:  # such as an op, which has a name, or a random generator, which has none
        yield f"{type(value).__qualname__} {getattr(value, 'name', '')}"


def _followed(value: Any, seen: dict[int, Any]) -> bool:
    """Return whether code is the experiments' own; `run`, which comes first, always is."""
    home = value.__module__
    first = next(iter(seen.values()), value).__module__
    return bool(home == first or home.startswith(SHARED))


def _code(value: Any, seen: dict[int, Any]) -> Iterator[str]:
    """Yield the source of a function or class, then what the names in it stand for."""
    text, names = _source(value)
    yield text
    module = sys.modules.get(value.__module__)
    around = getattr(value, "__globals__", vars(module) if module else {})
    for name in sorted(names & around.keys()):
        yield f"{name} ="
        yield from _described(around[name], seen)


@cache  # as it was when it was first asked for, should the file change meanwhile
def _source(value: Any) -> tuple[str, frozenset[str]]:
    """Return source without comments and docstrings, and the names in it."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(value)))
    except (OSError, TypeError, SyntaxError):  # typed in at a prompt, or a lambda within a call
        code = getattr(value, "__code__", None)
        return (repr((code.co_code, code.co_names)) if code else ""), frozenset()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            assert isinstance(body, list)
            body[:] = body[1:] or [ast.Pass()]
    names = frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
    return ast.unparse(tree), names
