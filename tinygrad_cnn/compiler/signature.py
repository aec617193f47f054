"""The signature of a call: all that decides which program can replay it."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import numpy as np

from tinygrad_cnn.core.dtypes import float_dtype
from tinygrad_cnn.core.recording import recording
from tinygrad_cnn.core.tensor import Parameter
from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.engine.configuration import configuration

BY_VALUE = (bool, int, float, complex, str, bytes, type(None), np.dtype)

SignatureKey = tuple[Any, ...]


class CallSignature:
    """The key of a call, and the arrays and Tensors that its program takes.

    Attributes
    ----------
    key : tuple
        Hashable. Equal keys: the same tree of arguments, shapes, dtypes and memory orders, numbers,
        objects, and modes.
    values : list of (ndarray or Tensor)
        The inputs, in order.
    objects : list
        Other arguments, which are in the key by identity.
    """

    __slots__ = ("key", "objects", "values")

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.values: list[Any] = []
        self.objects: list[Any] = []
        options = configuration.get()
        parts: list[Any] = [
            (recording.get().on, float_dtype.get(), options.winograd, options.poison, options.fast)
        ]
        for value in args:
            parts.append(self._of(value))
        if kwargs:
            for name in kwargs:
                parts.append((name, self._of(kwargs[name])))
        if len(self.values) > 1 and len(set(map(id, self.values))) < len(self.values):
            places = {id(value): i for i, value in reversed([*enumerate(self.values)])}
            parts.append(tuple([places[id(value)] for value in self.values]))
        self.key: SignatureKey = tuple(parts)

    def _of(self, value: Any) -> Any:
        kind = type(value)
        if kind is np.ndarray or kind is np.memmap:
            self.values.append(value)
            return value.shape, value.dtype, value.strides
        if isinstance(value, Variable) and not isinstance(value, Parameter):
            self.values.append(value)
            array = value._array
            return kind, array.shape, array.dtype, array.strides, value.requires_grad
        if kind is list or kind is tuple:
            return kind, tuple([self._of(part) for part in value])
        if kind is dict:
            return kind, tuple([(key, self._of(part)) for key, part in value.items()])
        if isinstance(value, np.generic):
            return kind, value.dtype, value.tobytes()
        if kind in BY_VALUE:
            return kind, value.hex() if kind is float else value
        if isinstance(value, list | tuple):
            return kind, tuple([self._of(part) for part in value])
        if isinstance(value, dict):
            return kind, tuple([(key, self._of(part)) for key, part in value.items()])
        self.objects.append(value)
        return kind, id(value)


def with_inputs(
    args: tuple[Any, ...], kwargs: dict[str, Any], change: Callable[[tuple[Any, ...], Any], Any],
    names: list[str],
) -> tuple[tuple[Any, ...], dict[str, Any]]:  # fmt: skip
    """Return the arguments with ``change(path, value)`` in place of each input, in order."""

    def changed(path: tuple[Any, ...], value: Any) -> Any:
        kind = type(value)
        is_array = kind is np.ndarray or kind is np.memmap
        if is_array or (isinstance(value, Variable) and not isinstance(value, Parameter)):
            return change(path, value)
        if isinstance(value, list | tuple):
            parts = [changed((*path, i), part) for i, part in enumerate(value)]
            if isinstance(value, tuple):
                return tuple.__new__(kind, parts)  # also a named tuple
            made: Any = copy(value)  # with the attributes of a subclass
            made[:] = parts
            return made
        if isinstance(value, dict):
            made = copy(value)
            made.update({key: changed((*path, key), part) for key, part in value.items()})
            return made
        return value

    positions = [*names, *[f"argument_{i}" for i in range(len(names), len(args))]]
    return (
        tuple([changed((name,), value) for name, value in zip(positions, args, strict=False)]),
        {name: changed((name,), value) for name, value in kwargs.items()},
    )


def compared(key: SignatureKey, other: SignatureKey, names: list[str]) -> str:
    """Return what differs between two keys, for a message."""
    labels = ["grad mode, default dtype or engine options", *names]
    for place, (one, two) in enumerate(zip(key, other, strict=False)):
        if one != two:
            label = labels[place] if place < len(labels) else f"argument {place - 1}"
            return f"{label}: {_shown(two)} became {_shown(one)}"
    return "the number of arguments"


def _shown(part: Any) -> str:
    shown = repr(part)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
