"""Guards: what must be as in the captured run for a replay to be right."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

import numpy as np

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


class ValuesGuard(StepGuard):
    """The values of a module's attributes, or of a list or dict in them.

    Parameters
    ----------
    view : list or view of dict values
    where : str
    attributes : dict
        Of the module.
    label : str
        The attribute that the list or dict is in; "" for the attributes themselves.
    """

    def __init__(self, view: Any, where: str, attributes: dict[str, Any], label: str) -> None:
        self._view, self._where, self._attributes, self._label = view, where, attributes, label
        self._kept = list(view)
        self._ids = [*map(id, self._kept)]

    def holds(self) -> bool:
        """Compare identities, and numbers that are new objects by value."""
        if [*map(id, self._view)] == self._ids:
            return True
        values = list(self._view)
        if len(values) != len(self._kept) or not all(map(_same, values, self._kept)):
            return False
        self._kept, self._ids = values, [*map(id, values)]
        return True

    def change(self) -> str:
        """Return the name of the attribute that has changed."""
        values = list(self._view)
        if not self._label and len(values) == len(self._kept):
            for name, value, kept in zip(self._attributes, values, self._kept, strict=True):
                if not _same(value, kept):
                    return f"{self._where}.{name}: {_shown(kept)} became {_shown(value)}"
        return f"{self._where}: its contents"


class KeyGuard(StepGuard):
    """A variable of a function: a global, or one of a function around it."""

    def __init__(self, mapping: Any, key: str, value: Any, where: str) -> None:
        self._mapping, self._key, self._value, self._where = mapping, key, value, where

    def holds(self) -> bool:
        """Compare with the value in the captured run."""
        value = self._mapping.get(self._key)
        return value is self._value or _same(value, self._value)

    def change(self) -> str:
        """Return the name of the variable."""
        value = self._mapping.get(self._key)
        return f"{self._where}: {_shown(self._value)} became {_shown(value)}"


class LeavesGuard(StepGuard):
    """Shapes, dtypes and layouts of leaves, and which of them require a gradient."""

    def __init__(self, leaves: Mapping[str, Variable]) -> None:
        self._leaves = list(leaves.items())
        self._tensors = list(leaves.values())
        self._kept = [*map(_kind, self._tensors)]
        self._note()

    def _note(self) -> None:
        self._arrays = [*map(_ARRAY, self._tensors)]  # kept, or an id could be another's
        self._ids = [*map(id, self._arrays)]
        self._others = [*map(_OTHERS, self._tensors)]

    def holds(self) -> bool:
        """Compare all leaves, first by the identity of their arrays."""
        is_same = [*map(id, map(_ARRAY, self._tensors))] == self._ids
        others = [*map(_OTHERS, self._tensors)]
        if is_same and others == self._others and not self._is_hooked():
            return True
        if [*map(_kind, self._tensors)] != self._kept:
            return False
        self._note()
        return True

    def _is_hooked(self) -> bool:
        """Return whether a leaf has, or had, hooks: these may have changed."""
        return any(hooks is not None for _, hooks in self._others)

    def change(self) -> str:
        """Return the name of the leaf that has changed."""
        for (name, leaf), kept in zip(self._leaves, self._kept, strict=True):
            if _kind(leaf) != kept:
                return f"{name}: {kept} became {_kind(leaf)}"
        return "a leaf"


_ARRAY, _OTHERS = attrgetter("_array"), attrgetter("requires_grad", "_hooks")


def _kind(leaf: Variable) -> tuple[Any, ...]:
    array = leaf._array
    hooks = leaf._hooks
    is_hooked = hooks is not None and bool(hooks.functions or hooks.observers())
    return array.shape, array.dtype, array.strides, leaf.requires_grad, is_hooked


def _same(value: Any, kept: Any) -> bool:
    if value is kept:
        return True
    if type(value) is not type(kept) or not isinstance(kept, SAME_BY_VALUE):
        return type(value) is tuple is type(kept) and (
            len(value) == len(kept) and all(map(_same, value, kept))
        )
    return bool(value == kept) or (value != value and kept != kept)  # NaN is NaN


def _shown(value: Any) -> str:
    if isinstance(value, Variable | np.ndarray):
        return f"{type(value).__name__} of shape {value.shape}"
    shown = repr(value)
    return shown if len(shown) <= 60 else type(value).__name__
