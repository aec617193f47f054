"""Models and nested state, arrays and plain values, in one safetensors file; never a pickle.

The arrays are safetensors, the rest is JSON in the header. Each file has a checksum: the SHA-256
of the file with zeros in place of the checksum.
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

from tinygrad_cnn.core.variable import array_of
from tinygrad_cnn.support.files import atomic_write
from tinygrad_cnn.train.errors import RunError
from tinygrad_cnn.train.nested_values import UnwritableError, with_arrays, without_arrays
from tinygrad_cnn.train.weight_files import DTYPES, decoded, other_kind

__all__ = ["check_bytes", "load", "pack_arrays", "pack_own", "read_arrays", "read_state",
           "read_weights", "save", "unpack_arrays", "unpack_own", "write_arrays", "write_state",
           "write_weights"]  # fmt: skip

_KEY = "state"
_OWN = "own"
_SHA256 = "sha256"
_CHECKSUM = re.compile(rb'"sha256":"([^"]*)"')  # in a string, quotes would be escaped
_NO_CHECKSUM = "0" * 64


def save(path: str | os.PathLike[str], weights: Any = None, /, **contents: Any) -> None:
    """Write a model's weights, ``save(path, model)``, or values, ``save(path, model=model, ...)``.

    Parameters
    ----------
    path : str or path-like
        The file, such as "model.safetensors".
    weights : Module, or mapping of str to array or Tensor, optional
        Written under the names of its ``state_dict()``, so that PyTorch reads the file by
        ``safetensors.torch.load_file(path)``.
    **contents
        By name: modules, optimizers and all that has a ``state_dict()``, which is stored; Tensors
        and arrays of numbers; str, int, float, complex, bool and None; and dicts, lists and tuples
        of them.

    Raises
    ------
    TypeError
        If there is nothing to write, or something else, or both `weights` and `contents`.
    OSError
        If the file cannot be written. After an error, an earlier file is as it was.

    See Also
    --------
    load : Read the file.

    Notes
    -----
    The file is written under a temporary name, flushed and renamed. It holds no pickle, so reading
    it runs no code; other programs read its arrays as safetensors.

    Examples
    --------
    >>> import tempfile
    >>> import tinygrad_cnn as tg
    >>> model = tg.nn.Linear(2, 1)
    >>> optimizer = tg.optim.Adam(model.parameters())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tg.save(folder + "/m.safetensors", model=model, optimizer=optimizer, epoch=3)
    ...     saved = tg.load(folder + "/m.safetensors")
    >>> model.load_state_dict(saved["model"])
    ([], [])
    >>> optimizer.load_state_dict(saved["optimizer"])
    >>> saved["epoch"]
    3

    The weights alone, for PyTorch too:

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tg.save(folder + "/m.safetensors", model)
    ...     model.load_state_dict(tg.load(folder + "/m.safetensors"))
    ([], [])
    """
    if weights is not None:
        if contents:
            raise TypeError(
                f"save: got weights and values by name ({', '.join(contents)}), expected one or "
                "the other: save(path, model) or save(path, model=model)"
            )
        write_arrays(path, _weights(weights))
    elif contents:
        _write("save: ", path, contents)
    else:
        raise TypeError(
            "save: nothing to save, expected a model, save(path, model), or values by name, "
            "save(path, model=model)"
        )


def _weights(weights: Any) -> dict[str, NDArray[Any]]:
    """Return the arrays of a model or a state dict."""
    state = weights.state_dict() if hasattr(weights, "state_dict") else weights
    if not isinstance(state, Mapping):
        raise TypeError(f"save: weights is {type(weights).__name__}, expected a Module or a dict")
    arrays = {name: array_of(value) for name, value in state.items()}
    for name, array in arrays.items():
        if not isinstance(name, str) or not isinstance(array, np.ndarray | np.generic):
            raise TypeError(
                f"save: {name!r} of {type(weights).__name__} is {type(array).__name__}, expected "
                f"arrays by name; save it by name, with all else: save(path, state=...)"
            )
        if array.dtype.name not in DTYPES:
            raise TypeError(
                f"save: {name} is an array of {array.dtype}, expected one of {', '.join(DTYPES)}"
            )
    return {name: np.asarray(array) for name, array in arrays.items()}


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a file written by `save`, or the arrays of any safetensors file, such as PyTorch's.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    dict
        What was given to `save`, by name: arrays where Tensors were, and state dicts where modules
        and optimizers were. Of weights alone, or of a file of another program, the arrays by name,
        which `Module.load_state_dict` takes; bfloat16 as float32, with a warning. A file of
        ``tinygrad-cnn export`` gives only the weights, without a model's own state.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is truncated or damaged, or not a safetensors file. A pickle, such as a ``.pt`` or
        ``.pth`` file of PyTorch, is never read; the message has the lines that convert it.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"load: {os.fspath(path)}: there is no such file")
    arrays, metadata = _read(path)
    if _KEY in metadata:
        return _state(path, arrays, metadata)
    return _weights_of(arrays) if _OWN in metadata else arrays


def pack_arrays(
    arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None
) -> bytes:
    """Return named arrays as the bytes of a safetensors file, with a checksum in its header.

    The same arrays give the same bytes, whatever their memory layout. TypeError for arrays of
    something other than real numbers and truth values.
    """
    return b"".join(_packed(arrays, metadata))


def _packed(
    arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None
) -> list[bytes | memoryview]:
    """Return the parts of a safetensors file: views of the arrays, without copies.

    safetensors itself copies all arrays twice, and writes the metadata in random order.
    """
    sorted_by_type = sorted(arrays.items(), key=lambda item: (_order(*item), item[0]))
    entries: dict[str, Any] = {}
    parts: list[bytes | memoryview] = []
    start = 0
    for name, array in sorted_by_type:
        kind = DTYPES[array.dtype.name]
        contiguous = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
        stop = start + contiguous.nbytes
        entries[name] = {
            "dtype": kind, "shape": list(array.shape), "data_offsets": [start, stop]
        }  # fmt: skip
        parts.append(contiguous.reshape(-1).view(np.uint8).data)
        start = stop
    header = {"__metadata__": {**(metadata or {}), _SHA256: _NO_CHECKSUM}, **entries}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    before, _, after = _around_checksum(len(text).to_bytes(8, "little") + text)
    return [before, _checksum(before, after, *parts).encode(), after, *parts]


def _order(name: str, array: NDArray[Any]) -> int:
    """Return the place of an array's type in the file."""
    if array.dtype.name not in DTYPES:
        raise TypeError(f"{name} is an array of {array.dtype}, expected one of {', '.join(DTYPES)}")
    return [*DTYPES].index(array.dtype.name)


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

    try:
        check_bytes(contents)
        arrays = decoded(contents, name)
        metadata = _header(contents)[0].get("__metadata__") or {}
    except RunError:
        raise
    except (SafetensorError, ValueError, KeyError) as error:
        raise RunError(
            other_kind(contents, name)
            or f"{name}: is damaged, truncated or not a safetensors file: {error}"
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


def _checksum(before: bytes | memoryview, *after: bytes | memoryview) -> str:
    digest = hashlib.sha256(before)
    digest.update(_NO_CHECKSUM.encode())
    for part in after:
        digest.update(part)
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
    parts = _packed(arrays, metadata)
    with atomic_write(path) as file:
        for part in parts:
            file.write(part)


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
    inside, extra = pack_own(own)
    write_arrays(path, {**arrays, **inside}, {**metadata, **extra})


def pack_own(own: Mapping[str, Any]) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return the arrays of a model's own state, under names that start with "/", and the rest.

    The rest is metadata: JSON under a name, or nothing if the model has no own state.
    """
    inside: dict[str, NDArray[Any]] = {}
    plain = without_arrays(own, "", inside)
    return inside, {_OWN: json.dumps(plain)} if own else {}


def unpack_own(
    name: str | os.PathLike[str], arrays: dict[str, NDArray[Any]], metadata: Mapping[str, str]
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the weights and the own state of a file with the output of `pack_own`.

    Raises
    ------
    RunError
        If the own state is invalid; with the file's `name`.
    """
    return _weights_of(arrays), _nested(name, metadata.get(_OWN, "{}"), arrays)


def _weights_of(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the arrays without those of an own state."""
    return {name: array for name, array in arrays.items() if not name.startswith("/")}


def read_weights(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read the ``state_dict()`` and the own state from `write_weights`.

    Raises
    ------
    RunError
        As `read_arrays`.
    """
    return unpack_own(path, *_read(path))


def write_state(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write nested dicts and lists of arrays and plain values, atomically.

    Parameters
    ----------
    path : str or path-like
        The file: the arrays as safetensors, the rest as JSON in its header.
    state : mapping
        As for `save`.

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
    _write("write_state: state/", path, state)


def _write(owner: str, path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write nested state; the message about a value that cannot be written begins with `owner`."""
    arrays: dict[str, NDArray[Any]] = {}
    try:
        plain = without_arrays(state, "", arrays)
    except UnwritableError as error:
        raise TypeError(f"{owner}{str(error).removeprefix('/')}") from error
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
    return _state(path, *_read(path))


def _state(
    path: str | os.PathLike[str], arrays: dict[str, NDArray[Any]], metadata: dict[str, str]
) -> dict[str, Any]:
    if _KEY not in metadata:
        raise RunError(f"{path}: has arrays but no state; expected a file from write_state()")
    return _nested(path, metadata[_KEY], arrays)


def _nested(
    path: str | os.PathLike[str], text: str, arrays: dict[str, NDArray[Any]]
) -> dict[str, Any]:
    try:
        state = with_arrays(json.loads(text), arrays)
        if not isinstance(state, dict):
            raise ValueError(f"it is a {type(state).__name__}, expected values by name")
        return state
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise RunError(
            f"{path}: its nested state is invalid: {type(error).__name__}: {error}"
        ) from error


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    if not os.path.isfile(path):
        raise RunError(f"{path}: there is no such file")
    return unpack_arrays(Path(path).read_bytes(), os.fspath(path))
