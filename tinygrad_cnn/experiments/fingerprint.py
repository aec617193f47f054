"""Provenance of a run: versions, machine, and a digest of its code."""

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
from tinygrad_cnn.support.version import __version__

__all__ = ["difference", "fingerprint", "provenance"]

SHARED = "tinygrad_cnn.experiments.gallery"
DIGITS = 16


def provenance(run: Callable[..., None], variant: Mapping[str, Any]) -> dict[str, Any]:
    """Return the versions, machine and code that a run's figures depend on, as plain data.

    Parameters
    ----------
    run : callable
        The `run` of an experiment.
    variant : mapping
        The keyword arguments of `run`.
    """
    return {**_surroundings(), "code": fingerprint(run, variant)}


@cache
def _surroundings() -> dict[str, str]:
    machine = describe()
    return {
        "tinygrad_cnn": __version__,
        "python": machine.python,
        "numpy": machine.numpy,
        "blas": f"{machine.blas} {machine.kernel}".strip(),
        "machine": f"{machine.processor}, {machine.cores} cores, {machine.system}",
    }


def difference(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Describe how two provenances differ; empty if they agree.

    Examples
    --------
    >>> difference({"numpy": "2.0", "code": "a"}, {"numpy": "2.1", "code": "b"})
    'numpy 2.0, not 2.1; other code or arguments of the experiment'
    >>> difference({"numpy": "2.1"}, {"numpy": "2.1"})
    ''
    """
    found = [
        "other code or arguments of the experiment"
        if key == "code"
        else f"{key} {then.get(key, 'unknown')}, not {now.get(key, 'unknown')}"
        for key in dict.fromkeys([*then, *now])
        if then.get(key) != now.get(key)
    ]
    return "; ".join(found)


def fingerprint(run: Callable[..., None], variant: Mapping[str, Any]) -> str:
    """Return a digest of a run's code and arguments.

    It covers `run` and everything that it uses, directly or not, from its own module and from the
    experiments' modules. Comments, docstrings, formatting and drawing code do not matter.

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
    """Yield texts that change with a value; for code, also the texts of everything that it uses."""
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
        followed = _followed(value, seen)  # a user's own file may be a script or a module
        yield value.__qualname__ if followed else f"{_package(value)}.{value.__qualname__}"
        if followed and id(value) not in seen:
            seen[id(value)] = value
            yield from _code(value, seen)
    elif inspect.ismodule(value):
        yield value.__name__
    elif value is None or isinstance(value, str | bytes | int | float | complex | np.generic):
        yield repr(value)
    else:  # such as an op, which has a name, or a random generator, which has none
        yield f"{type(value).__qualname__} {getattr(value, 'name', '')}"


def _package(value: Any) -> str:
    """Return the package of a function or class: the file inside it may change its name."""
    return ".".join(value.__module__.split(".")[:2])


def _followed(value: Any, seen: dict[int, Any]) -> bool:
    """Return whether code belongs to the experiment; `run`, which comes first, always does."""
    home = value.__module__
    first = next(iter(seen.values()), value).__module__
    return bool(home == first or home.startswith(SHARED))


def _code(value: Any, seen: dict[int, Any]) -> Iterator[str]:
    """Yield the source of a function or class, then the values of the names in it."""
    text, names = _source(value)
    yield text
    module = sys.modules.get(value.__module__)
    around = getattr(value, "__globals__", vars(module) if module else {})
    for name in sorted(names & around.keys()):
        yield f"{name} ="
        yield from _described(around[name], seen)


@cache  # keeps the first version, in case the file changes meanwhile
def _source(value: Any) -> tuple[str, frozenset[str]]:
    """Return the source without comments and docstrings, and the names in it."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(value)))
    except (OSError, TypeError, SyntaxError):  # typed at a prompt, or a lambda within a call
        code = getattr(value, "__code__", None)
        return (repr((code.co_code, code.co_names)) if code else ""), frozenset()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            assert isinstance(body, list)
            body[:] = body[1:] or [ast.Pass()]
    names = frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
    return ast.unparse(tree), names
