"""Compositions: differentiable functions made of ops, which need no derivative of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

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

    The function itself is returned. Written with ops and operators, it takes arrays and returns an
    array, or Tensors and returns a Tensor.

    Parameters
    ----------
    formula : str
        The function as mathematics or in words.
    differentiable : bool
        Whether the result has derivatives; if not, it is a plain array.
    """

    def declare(function: F) -> F:
        COMPOSITIONS[function.__name__] = Composition(function, formula, differentiable)
        return function

    return declare
