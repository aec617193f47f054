"""Hooks on gradients: functions that a reverse sweep calls with a gradient, and may replace it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np

from tinygrad_cnn.core.variable import Array, Variable, array_of
from tinygrad_cnn.engine.arrays import read_only

if TYPE_CHECKING:
    from tinygrad_cnn.core.graph import Node
    from tinygrad_cnn.core.observer import Observer

_keys = itertools.count()


class HookHandle:
    """Removes a hook: `remove`, or the end of a ``with`` block.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.Tensor(2.0, requires_grad=True)
    >>> with x.register_hook(lambda g: 10 * g):
    ...     (x * 3).backward()
    >>> (x * 3).backward()
    >>> x.grad
    array(33., dtype=float32)
    """

    def __init__(self, hooks: dict[int, Any], hook: Any) -> None:
        self._hooks, self._key = hooks, next(_keys)
        hooks[self._key] = hook

    def remove(self) -> None:
        """Remove the hook; a second time changes nothing."""
        self._hooks.pop(self._key, None)

    def __enter__(self) -> HookHandle:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


class GradientHooks:
    """The hooks of one result or leaf, and the results that keep their gradient.

    Attributes
    ----------
    functions : dict
        The hooks, in the order in which they are called.
    """

    def __init__(self) -> None:
        self.functions: dict[int, Callable[[Array], Any]] = {}
        self._keeping: list[ref[Variable]] = []
        self._observers: list[ref[Observer]] = []

    @classmethod
    def of(cls, holder: Node | Variable) -> GradientHooks:
        """Return the hooks of a node or leaf; create them if there are none."""
        if holder._hooks is None:
            holder._hooks = cls()
        return holder._hooks

    def keep(self, tensor: Variable) -> None:
        """Give `tensor`, a result, its gradient in ``.grad``. A reference would form a cycle."""
        if all(kept is not tensor for kept in self.keeping()):
            self._keeping.append(ref(tensor))

    def keeping(self) -> Iterator[Variable]:
        """Yield the results that keep their gradient."""
        return (tensor for held in self._keeping if (tensor := held()) is not None)

    def observers(self) -> list[Observer]:
        """Return the observers of this leaf that still exist."""
        return [observer for held in self._observers if (observer := held()) is not None]

    def run(self, gradient: Array, holder: Node | Variable) -> Array:
        """Return the gradient after all hooks."""
        for hook in list(self.functions.values()):
            recorded = isinstance(gradient, Variable)
            value = hook(gradient if recorded else read_only(gradient.copy()))
            if value is not None:
                gradient = _replacement(hook, value, gradient, holder, recorded)
        return gradient


def observe_leaves(observer: Observer, leaves: Iterable[Variable]) -> None:
    """Report each `backward` that reaches one of `leaves` to `observer`, in any thread.

    It calls ``observer.final`` for each leaf, while earlier layers are still to come, and
    ``observer.swept`` at the end. The leaves hold no reference to the observer.
    """
    for leaf in leaves:
        GradientHooks.of(leaf)._observers.append(ref(observer))


def _replacement(
    hook: Any, value: Any, gradient: Array, holder: Node | Variable, recorded: bool
) -> Array:
    """Return what a hook returned, in the dtype of the gradient, as a Tensor if `recorded`."""
    if not (recorded and isinstance(value, Variable)):
        value = np.array(array_of(value))
    if value.shape != gradient.shape or value.dtype.kind not in "fiubc":
        name = getattr(hook, "__qualname__", type(hook).__name__)
        raise ValueError(
            f"the hook {name} on {holder} returned {value.dtype} of shape {value.shape}, expected "
            f"a gradient of shape {gradient.shape}, or None"
        )
    value = value if value.dtype == gradient.dtype else value.astype(gradient.dtype)
    return Variable._tensor._of(value) if recorded and type(value) is np.ndarray else value
