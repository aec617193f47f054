"""Makers of the Tensor's methods: each calls an op or a ufunc with the Tensor as an argument."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeAlias, TypeVar

import numpy as np

from tinygrad_cnn.core.numpy_dispatch import discrete
from tinygrad_cnn.core.observer import is_functional
from tinygrad_cnn.core.op import Op
from tinygrad_cnn.core.recording import recording

if TYPE_CHECKING:
    from tinygrad_cnn.core.tensor import Tensor, TensorLike

P = ParamSpec("P")
R = TypeVar("R")
BinaryMethod: TypeAlias = "Callable[[Tensor, TensorLike], Tensor]"


def method(function: Callable[Concatenate[Tensor, P], R]) -> Callable[Concatenate[Tensor, P], R]:
    """Return a method that calls `function` with the Tensor as its first argument."""

    @functools.wraps(function)
    def call(self: Tensor, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return function(self, *args, **kwargs)

    return call


def operators(op: Callable[[Any, Any], Tensor]) -> tuple[BinaryMethod, BinaryMethod]:
    """Return the methods for ``tensor ∘ other`` and ``other ∘ tensor``."""
    return (lambda self, other: op(self, other)), (lambda self, other: op(other, self))


def in_place_operator(op: Op[..., Any]) -> BinaryMethod:
    """Return the method for ``tensor ∘= other``, which changes a leaf in place under `no_grad`."""

    def change(self: Tensor, other: TensorLike) -> Tensor:
        leaf, recorded = self.is_leaf, recording.get().on
        if leaf and self.requires_grad and recorded:
            raise RuntimeError(
                f"{op.name}: {self.name or 'this leaf'} requires a gradient; change it in place "
                "under no_grad(), or through its data, as in p.data -= rate * p.grad"
            )
        result: Tensor = op(self, other)
        if recorded or not leaf or is_functional():
            return result
        self.data = result._array
        return self

    return change


def discrete_operators(ufunc: np.ufunc) -> tuple[BinaryMethod, BinaryMethod]:
    """Return the methods of a comparison or logical operation; the result has no gradient."""
    return (lambda self, other: discrete(ufunc, self, other)), (
        lambda self, other: discrete(ufunc, other, self)
    )
