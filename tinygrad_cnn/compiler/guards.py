"""Guards: what must be as in the captured run for a replay to be right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygrad_cnn.core.hidden import HiddenNumber
from tinygrad_cnn.core.variable import Variable

SAME_BY_VALUE = (bool, int, float, complex, str, bytes, type(None), np.generic, np.dtype)


class StepGuard:
    """Something that must not change."""

    def holds(self) -> bool:
        """Return whether it is as it was."""
        raise NotImplementedError

    def change(self) -> str:
        """Return what it is and what has changed, for a message."""
        raise NotImplementedError


class LeavesGuard(StepGuard):
    """Shapes, dtypes and layouts of leaves, and which of them require a gradient."""

    def __init__(self, leaves: Mapping[str, Variable]) -> None:
        self._leaves = list(leaves.items())
        self._tensors = list(leaves.values())
        self._kept = [*map(_kind, self._tensors)]
        self._note()

    def _note(self) -> None:
        self._noted = [(leaf, leaf._array, leaf.requires_grad) for leaf in self._tensors]

    def holds(self) -> bool:
        """Compare all leaves, first by the identity of their arrays."""
        for leaf, array, wants in self._noted:
            if (
                leaf._array is not array
                or leaf.requires_grad is not wants
                or leaf._hooks is not None  # it has hooks, or had, and they may have changed
            ):
                break
        else:
            return True
        if [*map(_kind, self._tensors)] != self._kept:
            return False
        self._note()
        return True

    def change(self) -> str:
        """Return the name of the leaf that has changed."""
        for (name, leaf), kept in zip(self._leaves, self._kept, strict=True):
            if _kind(leaf) != kept:
                return f"{name}: {kept} became {_kind(leaf)}"
        return "a leaf"


def _kind(leaf: Variable) -> tuple[Any, ...]:
    array = leaf._array
    hooks = leaf._hooks
    is_hooked = hooks is not None and bool(hooks.functions or hooks.observers())
    return array.shape, array.dtype, array.strides, leaf.requires_grad, is_hooked


def same_value(value: Any, kept: Any) -> bool:
    """Return whether a value is the same object, or an equal number, text or tuple of them."""
    if value is kept:
        return True
    if type(value) is not type(kept) or not isinstance(kept, SAME_BY_VALUE):
        return type(value) is tuple is type(kept) and (
            len(value) == len(kept) and all(map(same_value, value, kept))
        )
    if isinstance(kept, HiddenNumber):
        return False
    if isinstance(kept, float | complex | np.generic):  # NaN is NaN, and 0.0 is not -0.0
        return repr(value) == repr(kept)
    return bool(value == kept)


def shown_value(value: Any) -> str:
    """Return a short text for a value."""
    if isinstance(value, Variable | np.ndarray):
        return f"{type(value).__name__} of shape {value.shape}"
    if isinstance(value, HiddenNumber):
        return "a number of the step"
    shown = repr(value)
    return shown if len(shown) <= 60 else type(value).__name__
