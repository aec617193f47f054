"""Mistakes put into the package's own functions, one at a time, and taken out again."""

from __future__ import annotations

import importlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.check import check_op


@dataclass(frozen=True)
class Mistake:
    """A line of the package that somebody could have got wrong.

    Attributes
    ----------
    title : str
        What the mistake is.
    where : str
        ``op.parameter`` for a derivative's rule, ``op.residual``, ``op.intermediate``,
        ``op.forward``, or
        ``module:function`` for what is none of these.
    right, wrong : str
        A piece of that function, which stands in it once, and what is put in its place.
    says : str
        A regular expression that the error has to match.
    op : str
        The op that is checked; by default the one in `where`.
    convention : str
        ``module:function``, the test that says what is right here, for what no derivative can tell:
        which of its slopes an op has at a kink.
    """

    title: str
    where: str
    right: str
    wrong: str
    says: str = ""
    op: str = ""
    convention: str = ""

    def __str__(self) -> str:
        return f"{self.checked}: {self.title}"

    @property
    def checked(self) -> str:
        """The name of the op whose check has to fail."""
        return self.op or self.where.partition(".")[0]

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Make the mistake inside ``with mistake.planted():``, wherever the function is called."""
        function = found(self.where)
        right, names = function.__code__, set(function.__globals__)
        function.__code__ = edited(function, self.right, self.wrong)
        forget(function)
        try:
            yield
        finally:
            function.__code__ = right
            forget(function)
            for name in set(function.__globals__) - names:
                del function.__globals__[name]


def caught(mistake: Mistake) -> AssertionError:
    """Return the error that a check raises while `mistake` is made."""
    with mistake.planted(), pytest.raises(AssertionError) as raised:
        if mistake.convention:
            follow_convention(mistake)
        else:
            check_op(tg.OPS[mistake.checked])
    return raised.value


def follow_convention(mistake: Mistake) -> None:
    """Run the test that says what is right at a kink."""
    module, _, name = mistake.convention.partition(":")
    test = getattr(importlib.import_module(f"ops.{module}"), name)
    takes_op = "op" in inspect.signature(test).parameters
    with np.errstate(all="ignore"):
        test(**{"op": tg.OPS[mistake.checked]} if takes_op else {})


def found(where: str) -> FunctionType:
    """Return the function that `where` names."""
    module, colon, path = where.partition(":")
    value: Any
    if colon:
        value = importlib.import_module(f"{tg.__name__}.{module}")
        for name in path.split("."):
            value = getattr(value, name)
    else:
        op_name, name = where.split(".")
        op = tg.OPS[op_name]
        parts: dict[str, Callable[..., Any]] = {
            **{of: derivative.rule for of, derivative in op.derivatives.items()},
            **op.residuals,
            **op.intermediates,
        }
        value = op.forward if name == "forward" else parts[name]
    value = inspect.unwrap(value)  # of a function that computes in chunks
    assert isinstance(value, FunctionType)
    return value


def forget(function: FunctionType) -> None:
    """Empty the caches of the module of `function`: they hold what was computed without it."""
    for value in function.__globals__.values():
        if hasattr(value, "cache_clear"):
            value.cache_clear()


def edited(function: FunctionType, right: str, wrong: str) -> CodeType:
    """Return the code of `function` with `wrong` in place of `right` in its source."""
    lines = textwrap.dedent(inspect.getsource(function)).splitlines(keepends=True)
    definition = next(k for k, line in enumerate(lines) if line.startswith("def "))
    source = "".join(lines[definition:])  # without decorators
    assert source.count(right) == 1, f"{right!r} does not stand once in\n{source}"
    edit = source.replace(right, wrong)
    names = dict(function.__globals__)
    exec(compile(edit, f"<{wrong}>", "exec"), names)
    made = names[function.__name__]
    assert made.__code__.co_freevars == function.__code__.co_freevars == ()
    assert inspect.signature(made) == inspect.signature(function)
    return made.__code__
