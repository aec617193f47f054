"""Nested state, arrays and plain values, in one safetensors file; never a pickle.

Each file has a checksum: the SHA-256 of the file with zeros in place of the checksum.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.support.files import atomic_write
from tinygrad_cnn.train.errors import RunError

__all__ = ["check_bytes", "pack_arrays", "read_arrays", "read_state", "read_weights",
           "unpack_arrays", "write_arrays", "write_state", "write_weights"]  # fmt: skip

_ARRAY = "$array"
_KEY = "state"
_OWN = "own"
_SHA256 = "sha256"
_CHECKSUM = re.compile(rb'"sha256":"([^"]*)"')  # in a string, quotes would be escaped
_NO_CHECKSUM = "0" * 64


def pack_arrays(
    arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None
) -> bytes:
    """Return named arrays as the bytes of a safetensors file, with a checksum in its header.

    The same arrays give the same bytes, whatever their memory layout.
    """
    from safetensors.numpy import save  # here, because a command's help does without

    # safetensors ignores the strides of a transposed array.
    contents = save({name: np.asarray(array, order="C") for name, array in arrays.items()})
    entries, data = _header(contents)
    # safetensors itself writes the metadata in random order.
    header = {"__metadata__": {**(metadata or {}), _SHA256: _NO_CHECKSUM}, **entries}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    contents = b"".join((len(text).to_bytes(8, "little"), text, data))
    before, _, after = _around_checksum(contents)
    return b"".join((before, _checksum(before, after).encode(), after))


def unpack_arrays(contents: bytes, name: str) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return the arrays and the metadata of a safetensors file.

    Parameters
    ----------
    contents : bytes
        From `pack_arrays`, or from earlier versions, without a checksum.
    name : str
        The file name in the message.

    Raises
    ------
    RunError
        If it is truncated or not a safetensors file, or the checksum is wrong.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        check_bytes(contents)
        arrays = load(contents)
        metadata = _header(contents)[0].get("__metadata__") or {}
    except (SafetensorError, ValueError, KeyError) as error:
        raise RunError(
            f"{name}: is damaged, truncated or not a safetensors file: {error}"
        ) from error
    metadata.pop(_SHA256, None)
    return arrays, metadata


def check_bytes(contents: bytes) -> None:
    """Raise ValueError if a file of `pack_arrays` was changed.

    A file without a checksum passes: earlier versions wrote none.
    """
    before, expected, after = _around_checksum(contents)
    if expected and _checksum(before, after) != expected:
        raise ValueError(
            f"its SHA-256 is {_checksum(before, after)}, expected {expected}: it has changed since "
            "it was written"
        )


def _header(contents: bytes) -> tuple[dict[str, Any], memoryview]:
    stop = 8 + int.from_bytes(contents[:8], "little")
    return json.loads(contents[8:stop]), memoryview(contents)[stop:]


def _around_checksum(contents: bytes) -> tuple[memoryview, str, memoryview]:
    """Return the bytes before the checksum, the checksum or "", and the bytes after."""
    whole = memoryview(contents)
    stop = 8 + int.from_bytes(contents[:8], "little")
    found = _CHECKSUM.search(whole[:stop])
    if found is None:
        return whole, "", whole[:0]
    return whole[: found.start(1)], bytes(found[1]).decode("latin-1"), whole[found.end(1) :]


def _checksum(before: memoryview, after: memoryview) -> str:
    digest = hashlib.sha256(before)
    digest.update(_NO_CHECKSUM.encode())
    digest.update(after)
    return digest.hexdigest()


def write_arrays(
    path: str | os.PathLike[str],
    arrays: Mapping[str, NDArray[Any]],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write named arrays to a safetensors file, atomically.

    Parameters
    ----------
    path : str or path-like
        The file.
    arrays : mapping of str to ndarray
        In any memory layout.
    metadata : mapping of str to str, optional
        Stored in the file's header, with the checksum ``sha256``.

    Raises
    ------
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_arrays(folder + "/w.safetensors", {"w": np.arange(6).reshape(2, 3).T})
    ...     read_arrays(folder + "/w.safetensors")["w"].tolist()
    [[0, 3], [1, 4], [2, 5]]
    """
    contents = pack_arrays(arrays, metadata)
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
        If it is missing, truncated or not a safetensors file, or the checksum is wrong.
    """
    return _read(path)[0]


def write_weights(
    path: str | os.PathLike[str],
    arrays: Mapping[str, NDArray[Any]],
    own: Mapping[str, Any],
    metadata: Mapping[str, str],
) -> None:
    """Write a model's ``state_dict()`` and its own state, nested as in `write_state`."""
    inside: dict[str, NDArray[Any]] = {}
    plain = _without_arrays(own, "", inside)  # with names that start with "/"
    extra = {_OWN: json.dumps(plain)} if own else {}
    write_arrays(path, {**arrays, **inside}, {**metadata, **extra})


def read_weights(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read the ``state_dict()`` and the own state from `write_weights`.

    Raises
    ------
    RunError
        As `read_arrays`.
    """
    arrays, metadata = _read(path)
    own = _with_arrays(json.loads(metadata.get(_OWN, "{}")), arrays)
    return {name: array for name, array in arrays.items() if not name.startswith("/")}, own


def write_state(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write nested dicts and lists of arrays and plain values, atomically.

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
        If it contains anything else.
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
    """Read a file written by `write_state`.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    dict
        Bit-identical to the state that was written.

    Raises
    ------
    RunError
        If it is missing or truncated, its checksum is wrong, or its contents are invalid.
    """
    arrays, metadata = _read(path)
    try:
        state = _with_arrays(json.loads(metadata[_KEY]), arrays)
        if isinstance(state, dict):
            return state
    except (KeyError, ValueError):
        pass
    raise RunError(f"{path}: has arrays but no state; expected a file from write_state()")


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    if not os.path.isfile(path):
        raise RunError(f"{path}: there is no such file")
    return unpack_arrays(Path(path).read_bytes(), os.fspath(path))


def _without_arrays(value: Any, name: str, arrays: dict[str, NDArray[Any]]) -> Any:
    """Move the arrays of `value` to `arrays`; return it with names in their place.

    A name is the path to the array as a JSON pointer (RFC 6901).
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
