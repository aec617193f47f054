"""Compositions: differentiable functions made of ops, which need no derivative of their own."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from tinygrad_cnn.core.hidden import HiddenArray, plain
from tinygrad_cnn.core.observer import announce
from tinygrad_cnn.core.recording import recording
from tinygrad_cnn.core.variable import Variable

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
            kind = next((v._tensor for v in bound.arguments.values() if _is_tensor(v)), None)
            result = function(
                *(_shown(value, kind) for value in args),
                **{name: _shown(value, kind) for name, value in kwargs.items()},
            )
            return announce(function.__name__, bound.arguments, result)

        COMPOSITIONS[function.__name__] = Composition(call, formula, differentiable)
        return cast(F, call)

    return declare


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Variable)


def _shown(value: Any, kind: Any) -> Any:
    """Return an argument with values that can be read.

    Beside a Tensor, a hidden array of floats becomes one of the class `kind`: then observers see
    the ops on it, too.
    """
    shown = plain(value)
    is_array = kind is not None and type(value) is HiddenArray and value.dtype.kind == "f"
    return kind._of(shown) if is_array else shown
