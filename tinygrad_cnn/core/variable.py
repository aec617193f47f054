"""The base class of Tensor: an array and the graph node that computed it, without operators."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tinygrad_cnn.core.graph import Node
    from tinygrad_cnn.core.tensor import Tensor

Array: TypeAlias = Any
"""An ndarray; in calls of ops and derivative rules, also a Tensor."""

calls = itertools.count(1)
"""Numbers the calls of ops and the in-place changes in order."""


class Variable:
    """The part of a `Tensor` that the graph needs: an array and its node.

    Attributes
    ----------
    array : ndarray
        The value, for use inside the package; users read ``Tensor.data``.
    node : Node or None
        The call that computed it; None for a leaf and for an unrecorded result.
    origin : Variable or None
        The leaf that owns the memory, for a result that is a view of a leaf.
    unrecorded : bool
        Whether it was computed under ``no_grad()`` from values that require a gradient.
    requires_grad : bool
        Whether gradients flow to it (a leaf) or through it (a result).
    changed : int
        The ``seq`` of the last in-place change of `array`, or 0. A node with a smaller ``seq`` has
        seen another value.
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
        """Whether no op computed it. A leaf owns its memory, which may be written to."""
        return self.node is None and self.origin is None and not self.unrecorded

    @property
    def owner(self) -> Variable | None:
        """The leaf that owns the memory; None if a result owns it."""
        return self if self.is_leaf else self.origin

    def mark_changed(self) -> None:
        """Record an in-place change of `array`."""
        self.changed = next(calls)


def holds_gradient(value: Any) -> bool:
    """Return whether `value` is, or contains at any depth, a Tensor that requires a gradient."""
    if isinstance(value, list | tuple):
        return any(map(holds_gradient, value))
    return isinstance(value, Variable) and value.requires_grad
