"""A variable: an array, and the node of the call that computed it. `Tensor` adds the operators."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tinygrad_cnn.core.graph import Node
    from tinygrad_cnn.core.tensor import Tensor

Array: TypeAlias = Any
"""An ndarray; where an op or a derivative rule is called, a Tensor as well."""

calls = itertools.count(1)
"""Counts the calls of ops and the changes in place, so that their order is known."""


class Variable:
    """The part of a `Tensor` that the graph needs: an array and, if an op computed it, the node.

    Attributes
    ----------
    array : ndarray
        The value. Package code reads it here; all others through ``Tensor.data``.
    node : Node or None
        The call that computed it; None for a leaf and for a result that was not recorded.
    origin : Variable or None
        The leaf whose memory `array` is a view of, for a result that is one.
    unrecorded : bool
        Whether it was computed under ``no_grad()`` from values that require a gradient.
    requires_grad : bool
        Whether gradients flow to (a leaf) or through (a result) it.
    changed : int
        The ``seq`` at the last in-place change of `array`, 0 if there was none: a node with a
        smaller ``seq`` has seen another value.
    """

    __slots__ = ("__weakref__", "array", "changed", "grad", "name", "node", "origin",
                 "requires_grad", "unrecorded")  # fmt: skip

    tensor: ClassVar[type[Tensor]]  # set to `Tensor`: the class of results

    array: NDArray[Any]
    grad: NDArray[Any] | None
    name: str | None
    node: Node | None
    origin: Variable | None
    requires_grad: bool
    changed: int
    unrecorded: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the array."""
        return self.array.dtype

    @property
    def is_leaf(self) -> bool:
        """Whether it owns its memory, which may be written to: no op computed it from others."""
        return self.node is None and self.origin is None and not self.unrecorded

    @property
    def owner(self) -> Variable | None:
        """The leaf whose memory the array is; None if the memory belongs to a result."""
        return self if self.is_leaf else self.origin

    def mark_changed(self) -> None:
        """Record that `array` has been changed in place."""
        self.changed = next(calls)


def holds_gradient(value: Any) -> bool:
    """Return whether a Tensor that requires a gradient is in a list or tuple, at any depth."""
    if isinstance(value, list | tuple):
        return any(map(holds_gradient, value))
    return isinstance(value, Variable) and value.requires_grad
