"""Nested state, arrays and plain values mixed, in one safetensors file: never a pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from tinygrad_cnn.files import atomic_write
from tinygrad_cnn.train.errors import RunError

__all__ = ["read_arrays", "read_state", "write_arrays", "write_state"]

_ARRAY = "$array"
_KEY = "state"


def write_arrays(
    path: str | os.PathLike[str],
    arrays: Mapping[str, NDArray[Any]],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write arrays by name to a safetensors file, whole or not at all.

    Parameters
    ----------
    path : str or path-like
        The file.
    arrays : mapping of str to ndarray
        Of any layout in memory: safetensors writes the bytes of a transposed array as they lie,
        so each is made contiguous first.
    metadata : mapping of str to str, optional
        Goes into the file's header.

    Raises
    ------
    OSError
        If it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_arrays(folder + "/w.safetensors", {"w": np.arange(6).reshape(2, 3).T})
    ...     read_arrays(folder + "/w.safetensors")["w"].tolist()
    [[0, 3], [1, 4], [2, 5]]
    """
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    contents = save(contiguous, dict(metadata or {}))
    with atomic_write(path) as file:
        file.write(contents)


def read_arrays(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """Read the arrays of a safetensors file.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    dict of str to ndarray
        The arrays by name.

    Raises
    ------
    RunError
        If it is missing, truncated or no safetensors file.
    """
    return _read(path)[0]


def write_state(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write nested dicts and lists of arrays and plain values, whole or not at all.

    Parameters
    ----------
    path : str or path-like
        The file: the arrays as safetensors, the rest as JSON in its header.
    state : mapping
        Dicts with str keys, lists, tuples (read back as lists), arrays, str, int, float, bool
        and None.

    Raises
    ------
    TypeError
        If there is anything else in it.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_state(folder + "/s", {"step": 3, "moments": [np.zeros(2), np.ones(1)]})
    ...     read_state(folder + "/s")
    {'step': 3, 'moments': [array([0., 0.]), array([1.])]}
    """
    arrays: dict[str, NDArray[Any]] = {}
    plain = _without_arrays(state, "", arrays)
    write_arrays(path, arrays, {_KEY: json.dumps(plain)})


def read_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what `write_state` wrote.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    dict
        Equal to what was written, bit by bit.

    Raises
    ------
    RunError
        If it is missing, truncated or holds something else.
    """
    arrays, metadata = _read(path)
    try:
        state = _with_arrays(json.loads(metadata[_KEY]), arrays)
        if isinstance(state, dict):
            return state
    except (KeyError, ValueError):
        pass
    raise RunError(f"{path}: holds arrays but no state; expected a file of write_state()")


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    if not os.path.isfile(path):
        raise RunError(f"{path}: there is no such file")
    try:
        with safe_open(os.fspath(path), framework="np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118  # no dict
    except (SafetensorError, ValueError) as error:
        raise RunError(
            f"{path}: is damaged or truncated, or no safetensors file: {error}"
        ) from error


def _without_arrays(value: Any, name: str, arrays: dict[str, NDArray[Any]]) -> Any:
    """Move the arrays of `value` to `arrays` and return it with their names in their places.

    A name is the way to the array, written as a JSON pointer (RFC 6901).
    """
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return {_ARRAY: name}
    if isinstance(value, Mapping) and _ARRAY not in value:
        steps = {key: str(key).replace("~", "~0").replace("/", "~1") for key in value}
        return {
            key: _without_arrays(item, f"{name}/{steps[key]}", arrays)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_without_arrays(item, f"{name}/{i}", arrays) for i, item in enumerate(value)]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"write_state: state{name} is a {type(value).__name__}; expected plain values")


def _with_arrays(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_ARRAY}:
            return arrays[value[_ARRAY]]
        return {key: _with_arrays(item, arrays) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_arrays(item, arrays) for item in value]
    return value
