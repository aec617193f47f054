"""Compositions: differentiable functions made of ops, which need no derivative of their own."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from tinygrad_cnn.core.hidden import plain
from tinygrad_cnn.core.observer import announce
from tinygrad_cnn.core.recording import recording
from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.support.nested import parts

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Composition:
    """What the table of ops says of a function made of ops."""

    function: Callable[..., Any]
    formula: str
    differentiable: bool = True


COMPOSITIONS: dict[str, Composition] = {}
"""The functions of `tinygrad_cnn.ops` that are made of ops, by name."""


def composition(*, formula: str, differentiable: bool = True) -> Callable[[F], F]:
    """Declare a function made of ops: it appears in the table of ops, and its check is required.

    Written with ops and operators, the function takes arrays and returns an array, or Tensors and
    returns a Tensor. Observers get its calls whole (`Observer.composed`), after those of its ops.

    Parameters
    ----------
    formula : str
        The function as mathematics or in words.
    differentiable : bool
        Whether the result has derivatives; if not, it is a plain array.
    """

    def declare(function: F) -> F:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if not recording.get().observers:
                return function(*args, **kwargs)
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            if next(parts([args, kwargs], Variable), None) is not None:
                result = function(*args, **kwargs)
            else:  # of arrays alone, NumPy computes it
                result = _unobserved(function, plain(args), plain(kwargs))
            return announce(function.__name__, bound.arguments, result)

        COMPOSITIONS[function.__name__] = Composition(call, formula, differentiable)
        return cast(F, call)

    return declare


def _unobserved(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call a function without observers."""
    state = recording.get()
    try:
        recording.set(state._replace(observers=()))
        return function(*args, **kwargs)
    finally:
        recording.set(state)
