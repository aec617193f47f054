"""The tensors of an ONNX file as arrays; also those whose values are in a file of their own."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.onnx.errors import OnnxError
from tinygrad_cnn.support.arguments import native

__all__ = ["TensorReader", "checked_shape", "dtype_of", "type_name"]

_TYPES: dict[str, tuple[str, str]] = {  # the dtype in the file, and the field of numbers
    "FLOAT": ("f4", "float_data"),
    "DOUBLE": ("f8", "double_data"),
    "FLOAT16": ("f2", "int32_data"),
    "BFLOAT16": ("u2", "int32_data"),
    "INT8": ("i1", "int32_data"),
    "INT16": ("i2", "int32_data"),
    "INT32": ("i4", "int32_data"),
    "INT64": ("i8", "int64_data"),
    "UINT8": ("u1", "int32_data"),
    "UINT16": ("u2", "int32_data"),
    "UINT32": ("u4", "uint64_data"),
    "UINT64": ("u8", "uint64_data"),
    "BOOL": ("?", "int32_data"),
    "STRING": ("O", "string_data"),
}
_HALF = ("FLOAT16", "BFLOAT16")
_MOST_AXES = 32
_OVERLAP = 2  # how often, on average, each byte of a data file may be read


def type_name(number: int) -> str:
    """Return the name of an element type of ONNX, such as "FLOAT16"."""
    from onnx import TensorProto

    try:
        return str(TensorProto.DataType.Name(number))
    except (TypeError, ValueError):
        return f"of number {number}"


def dtype_of(number: int | None, where: str) -> np.dtype[Any]:
    """Return the dtype of the arrays for an element type: float32 for both kinds of float16.

    Raises
    ------
    OnnxError
        If there are no such arrays here.
    """
    if number is None:
        raise OnnxError(f"{where}: states no type of elements")
    name = type_name(number)
    if name not in _TYPES:
        raise OnnxError(f"{where}: elements of type {name} cannot be loaded, only "
                        f"{', '.join(_TYPES)}")  # fmt: skip
    return np.dtype("f4" if name in _HALF else _TYPES[name][0])


def checked_shape(dims: Sequence[int], where: str) -> tuple[int, ...]:
    """Return the shape, or raise OnnxError if no array has it."""
    shape = tuple(dims)
    if len(shape) > _MOST_AXES:
        raise OnnxError(f"{where}: has {len(shape)} axes, expected at most {_MOST_AXES}")
    if any(size < 0 for size in shape) or math.prod(map(max, shape, [1] * len(shape))) >= 1 << 60:
        raise OnnxError(f"{where}: no array has the shape {shape}")
    return shape


class TensorReader:
    """Makes arrays of the tensors of one ONNX file.

    Parameters
    ----------
    folder : Path or None
        The folder of the file. Values that are in another file are read from there only, and never
        for None.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._sizes: dict[Path, int] = {}  # of the data files
        self._read = 0  # bytes of them, those read again included

    def array(self, proto: Any, where: str) -> NDArray[Any]:
        """Return the array of a TensorProto, with a memory of its own.

        Raises
        ------
        OnnxError
            If its type is not one of those that are read, or its values do not fill its shape.
        """
        name = type_name(proto.data_type)
        wanted = dtype_of(proto.data_type, where)
        shape = checked_shape(proto.dims, where)
        if proto.HasField("segment"):
            raise OnnxError(f"{where}: is a segment of a tensor, expected a whole one")
        flat = self._values(proto, name, math.prod(shape), where)
        if name == "BFLOAT16":
            flat = (flat.astype(np.uint32) << 16).view(np.float32)
        return native(flat.astype(wanted)).reshape(shape)

    def inline(self, proto: Any, where: str) -> None:
        """Move values that are in another file into the TensorProto.

        Raises
        ------
        OnnxError
            As `array`.
        """
        kind = type_name(proto.data_type)
        dtype_of(proto.data_type, where)
        size = math.prod(checked_shape(proto.dims, where)) * np.dtype(_TYPES[kind][0]).itemsize
        proto.raw_data = self._external(proto, size, where)
        proto.ClearField("external_data")
        proto.ClearField("data_location")

    def _values(self, proto: Any, name: str, count: int, where: str) -> NDArray[Any]:
        stored, field = _TYPES[name]
        dtype = np.dtype(stored).newbyteorder("<")
        kept = np.dtype(np.uint8) if name == "BOOL" else dtype  # a byte of a bool may be any
        if proto.data_location == 1:  # EXTERNAL
            return np.frombuffer(self._external(proto, count * dtype.itemsize, where), kept)
        if proto.HasField("raw_data"):
            if name == "STRING" or len(proto.raw_data) != count * dtype.itemsize:
                raise OnnxError(
                    f"{where}: has {len(proto.raw_data)} bytes for {tuple(proto.dims)} of {name}, "
                    f"expected {count * dtype.itemsize}"
                )
            return np.frombuffer(proto.raw_data, kept)
        numbers = getattr(proto, field)
        if len(numbers) != count:
            raise OnnxError(f"{where}: has {len(numbers)} values for the shape "
                            f"{tuple(proto.dims)}, expected {count}")  # fmt: skip
        if name == "STRING":
            texts = [text.decode("utf-8", "replace") for text in numbers]
            return np.array([*texts, None], object)[:-1]  # None: or NumPy makes another dtype
        wide: NDArray[Any] = np.array(numbers, np.dtype(_WIDE[field]))
        if name in _HALF:
            return wide.astype(np.uint16).view(np.dtype(stored))
        return wide.astype(dtype)

    def _external(self, proto: Any, size: int, where: str) -> bytes:
        """Return the bytes of a tensor that are in another file of the folder."""
        if type_name(proto.data_type) == "STRING":
            raise OnnxError(f"{where}: text cannot be in another file")
        entries = {entry.key: entry.value for entry in proto.external_data}
        location = entries.get("location", "")
        path = self._inside(location, where)
        numbers = {}
        for key, default in (("offset", 0), ("length", size)):
            text = entries.get(key, str(default))
            if not (text.isascii() and text.isdigit() and len(text) < 20):
                raise OnnxError(f"{where}: {key} is {text[:40]!r}, expected a whole number")
            numbers[key] = int(text)
        offset, length = numbers["offset"], numbers["length"]
        if length != size:
            raise OnnxError(f"{where}: has {length} bytes in {location}, expected {size}")
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
            with open(descriptor, "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise OnnxError(f"{where}: {location} is not a regular file")
                if offset + length > status.st_size:
                    raise OnnxError(
                        f"{where}: its bytes {offset} to {offset + length} are after the end of "
                        f"{location}, which has {status.st_size}"
                    )
                self._sizes[path] = status.st_size
                self._read += length
                if self._read > _OVERLAP * sum(self._sizes.values()):
                    raise OnnxError(f"{where}: the tensors have more bytes than {location} has")
                file.seek(offset)
                return file.read(length)
        except OSError as error:
            raise OnnxError(f"{where}: {location} cannot be read: {error.strerror}") from None

    def _inside(self, location: str, where: str) -> Path:
        """Return the path of a data file; raise unless it is inside the folder."""
        shown = f"{where}: its values are in {location[:200]!r}"
        if self._folder is None:
            raise OnnxError(f"{shown}; load the file by its path, as data files lie beside it")
        pure, windows = PurePosixPath(location), PureWindowsPath(location)
        parts = {*pure.parts, *windows.parts}
        if not location or "\0" in location or ".." in parts or pure.is_absolute() or (
            windows.drive or windows.root
        ):  # fmt: skip
            raise OnnxError(f"{shown}, expected a path inside the folder of the file")
        try:
            folder = Path(os.path.realpath(self._folder))
            path = Path(os.path.realpath(folder / location))
            is_file = path.is_file()
        except (OSError, ValueError):  # too long a name
            raise OnnxError(f"{shown}, which is not a path") from None
        if not path.is_relative_to(folder):
            raise OnnxError(f"{shown}, a link to outside the folder of the file")
        if not is_file:
            raise OnnxError(f"{shown}; there is no such file")
        return path


_WIDE = {"float_data": "f4", "double_data": "f8", "int32_data": "i4", "int64_data": "i8",
         "uint64_data": "u8"}  # fmt: skip
