"""A reader of pickles that executes nothing: plain data and NumPy arrays only."""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.data.errors import DataError

__all__ = ["read_pickle"]


def read_pickle(contents: bytes, name: str) -> Any:
    """Read plain data from a pickle without executing anything in it.

    A pickle is a program: it names functions of any module, which `pickle.load` imports and calls.
    Here no module is imported. The few names that pickled arrays need stand for objects of this
    file, which store what they are called with; any other name is refused.

    Parameters
    ----------
    contents : bytes
        The pickle, of protocol 0 to 5; texts that Python 2 wrote become bytes.
    name : str
        The name of the file in messages.

    Returns
    -------
    object
        Numbers, texts, None, lists, tuples, dictionaries, sets, and arrays of uint8.

    Raises
    ------
    DataError
        If it is damaged, or contains anything else.

    Examples
    --------
    >>> read_pickle(pickle.dumps({"labels": [1, 2]}), "batch")
    {'labels': [1, 2]}
    >>> read_pickle(pickle.dumps(print), "batch")
    Traceback (most recent call last):
        ...
    tinygrad_cnn.data.errors.DataError: batch: not a pickle of plain data and arrays: names \
builtins.print
    """
    try:
        for opcode, argument, _ in pickletools.genops(contents):
            # A memo is a list as long as its largest index, whose memory is reserved.
            if (
                isinstance(argument, int)
                and opcode.name.endswith("PUT")
                and argument > len(contents)
            ):
                raise pickle.UnpicklingError(f"memo {argument} of {len(contents)} bytes")
        return _plain(_Reader(io.BytesIO(contents), encoding="bytes").load())
    except Exception as error:  # damaged pickles raise nearly anything
        raise DataError(f"{name}: not a pickle of plain data and arrays: {error}") from error


class _Array:
    """What a pickled array is built into: its state, not yet an array."""

    __slots__ = ("state",)

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self) -> NDArray[np.uint8]:
        _, shape, dtype, fortran, contents = self.state
        if not isinstance(dtype, _Dtype):
            raise ValueError("an array without a dtype")
        if isinstance(contents, str):  # written by Python 3 in protocol 2
            contents = contents.encode("latin1")
        flat = np.frombuffer(contents, np.uint8)
        return flat.reshape(shape, order="F" if fortran else "C")


class _Dtype:
    """A pickled dtype, which must be uint8."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        pass


class _Name:
    """Stands for a function that a pickle calls; without attributes that a pickle could set."""

    __slots__ = ("_result",)

    def __init__(self, result: Any) -> None:
        self._result = result

    def __call__(self, *arguments: Any) -> Any:
        return self._result(*arguments)


def _dtype(kind: Any, *_: Any) -> _Dtype:
    if kind not in ("u1", b"u1"):
        raise ValueError(f"an array of {kind!r}; expected uint8")
    return _Dtype()


def _text_as_bytes(text: str, *_: Any) -> bytes:
    return text.encode("latin1")


_NAMES = {
    ("numpy", "ndarray"): lambda *_: None,
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _text_as_bytes,
}
_NAMES |= {
    (f"numpy.{core}.multiarray", "_reconstruct"): lambda *_: _Array() for core in ("core", "_core")
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        known = _NAMES.get((module, name))
        if known is None:
            raise pickle.UnpicklingError(f"names {module}.{name}")
        return _Name(known)


def _plain(value: Any) -> Any:
    """Replace what stands for arrays in containers by arrays."""
    if isinstance(value, _Array):
        return value.array()
    if isinstance(value, dict):
        return {_plain(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(_plain(entry) for entry in value)
    if isinstance(value, _Name | _Dtype):
        raise ValueError("a function instead of data")
    return value
