"""Nested values as JSON, with their arrays apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.variable import array_of

__all__ = ["UnwritableError", "with_arrays", "without_arrays"]

_ARRAY, _TUPLE, _DICT, _COMPLEX = "$array", "$tuple", "$dict", "$complex"


class UnwritableError(TypeError):
    """A value that cannot be written; the message begins with its path."""


def without_arrays(value: Any, name: str, arrays: dict[str, NDArray[Any]]) -> Any:
    """Move the arrays of `value` to `arrays`; return it as JSON, with names in their place.

    A name is the path to the array as a JSON pointer (RFC 6901).
    """

    def inner(value: Any, step: Any) -> Any:
        step = str(step).replace("~", "~0").replace("/", "~1")
        return without_arrays(value, f"{name}/{step}", arrays)

    value = array_of(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        arrays[name] = value
        return {_ARRAY: name}
    if isinstance(value, np.ndarray) and value.dtype.kind == "c":
        return {_COMPLEX: inner(np.stack([value.real, value.imag], axis=-1), "parts")}
    if hasattr(value, "state_dict") and not isinstance(value, type):
        return without_arrays(value.state_dict(), name, arrays)
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: inner(item, key) for key, item in value.items()}
        return {_DICT: [inner(pair, f"{_DICT}{i}") for i, pair in enumerate(value.items())]}
    if isinstance(value, list):
        return [inner(item, i) for i, item in enumerate(value)]
    if isinstance(value, tuple):
        return {_TUPLE: [inner(item, i) for i, item in enumerate(value)]}
    if isinstance(value, complex):
        return {_COMPLEX: [value.real, value.imag]}
    if value is None or isinstance(value, str | int | float):
        return value
    kind = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
    raise UnwritableError(
        f"{name} is {kind}; expected numbers, texts, arrays, Tensors, None, or dicts, lists and "
        "tuples of them, or what has a state_dict()"
    )


def with_arrays(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    """Return the value of which `without_arrays` made JSON."""
    if isinstance(value, list):
        return [with_arrays(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    key, held = next(iter(value.items())) if len(value) == 1 else ("", None)
    if key == _ARRAY:
        return arrays[str(held)]
    if key == _TUPLE:
        return tuple(with_arrays(held, arrays))
    if key == _DICT:
        return dict(with_arrays(held, arrays))
    if key == _COMPLEX:
        parts = with_arrays(held, arrays)
        if isinstance(parts, list):
            return complex(*parts)
        joined = np.ascontiguousarray(parts).view(np.result_type(parts.dtype, np.complex64))
        return joined.reshape(parts.shape[:-1])
    return {key: with_arrays(item, arrays) for key, item in value.items()}
