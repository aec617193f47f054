"""The base class of Tensor: an array and the graph node that computed it, without operators."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.effects import clears, effect
from tinygrad_cnn.core.step_observer import reads, step_observers

if TYPE_CHECKING:
    from tinygrad_cnn.core.graph import Node
    from tinygrad_cnn.core.hooks import GradientHooks
    from tinygrad_cnn.core.tensor import Tensor

Array: TypeAlias = Any
"""An ndarray; in calls of ops and derivative rules, also a Tensor (not in `engine.arrays`)."""

calls = itertools.count(1)
"""Numbers the calls of ops and the in-place changes in order."""


class Variable:
    """The part of a `Tensor` that the graph needs: an array and its node.

    Attributes
    ----------
    _array : ndarray
        The value, for use inside the package; users read ``Tensor.data``.
    node : Node or None
        The call that computed it; None for a leaf and for an unrecorded result.
    _origin : Variable or None
        The leaf that owns the memory, for a result that is a view of a leaf.
    _unrecorded : bool
        Whether it was computed under ``no_grad()`` from values that require a gradient.
    requires_grad : bool
        Whether gradients flow to it (a leaf) or through it (a result).
    _hooks : GradientHooks or None
        Of a leaf.
    _changed : int
        The ``seq`` of the last in-place change of `_array`, or 0. A node with a smaller ``seq`` has
        seen another value.
    """

    __slots__ = (
        "__weakref__",
        "_array",
        "_changed",
        "_grad",
        "_hooks",
        "_origin",
        "_unrecorded",
        "name",
        "node",
        "requires_grad",
    )  # fmt: skip

    _tensor: ClassVar[type[Tensor]]  # the class of results: `Tensor`, or that of a subclass

    _array: NDArray[Any]
    _grad: NDArray[Any] | None
    name: str | None
    node: Node | None
    _hooks: GradientHooks | None
    _origin: Variable | None
    requires_grad: bool
    _changed: int
    _unrecorded: bool

    @property
    def grad(self) -> NDArray[Any] | None:
        """The accumulated gradient; a subclass may show `_grad` in another way."""
        for observer in step_observers():
            if (gradient := observer.gradient_of(self)) is not None:
                return gradient
        return self._grad

    @grad.setter
    def grad(self, value: NDArray[Any] | None) -> None:
        if value is None:
            clear_gradient(self)
            return
        reads(self, "assignment to .grad")
        self._grad = value

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return self._array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the array."""
        return self._array.dtype

    @property
    def is_leaf(self) -> bool:
        """Whether no op computed it. A leaf owns its memory, which may be written to."""
        return self.node is None and self._origin is None and not self._unrecorded

    @property
    def _owner(self) -> Variable | None:
        """The leaf that owns the memory; None if a result owns it."""
        return self if self.is_leaf else self._origin

    def _read(self, what: str) -> NDArray[Any]:
        """Return the array to `what`, a function that reads its values; a capture refuses."""
        reads(self, what)
        return self._array

    def _mark_changed(self) -> None:
        """Record an in-place change of `_array`."""
        self._changed = next(calls)


@effect
@clears(lambda tensor: [tensor])
def clear_gradient(tensor: Variable) -> None:
    """Forget the gradient of a Tensor."""
    tensor._grad = None


def array_of(value: Any) -> Any:
    """Return the array of a Tensor; any other value unchanged."""
    return value._array if isinstance(value, Variable) else value


def holds_gradient(value: Any) -> bool:
    """Return whether `value` is, or contains at any depth, a Tensor that requires a gradient."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return any(map(holds_gradient, value))
    return isinstance(value, Variable) and value.requires_grad
