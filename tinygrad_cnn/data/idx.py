"""The IDX file format of MNIST and similar sets.

A file contains ``00 00``, one byte for the element type, one for the number of axes, each length as
a big-endian uint32, and the elements, big-endian and row-major. Files are usually gzipped.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_cnn.data.errors import DataError, check_memory
from tinygrad_cnn.support.files import atomic_write

__all__ = ["read_idx", "write_idx"]

_DTYPES = {
    code: np.dtype(kind)
    for code, kind in {
        0x08: "u1",
        0x09: "i1",
        0x0B: ">i2",
        0x0C: ">i4",
        0x0D: ">f4",
        0x0E: ">f8",
    }.items()
}
GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 20


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read an array from an IDX file, gzipped or plain.

    Gzip is detected from the first bytes, not the name. Memory is allocated only for bytes that
    are present, never for the size that the header claims.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    ndarray
        A new array of the file's shape in native byte order: uint8, int8, int16, int32,
        float32 or float64.

    Raises
    ------
    DataError
        If the file is empty, is not IDX, is truncated, has trailing bytes, or is damaged gzip.
    OSError
        If it cannot be opened.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "labels-idx1-ubyte.gz")
    ...     write_idx(file, np.array([5, 0, 4], dtype=np.uint8))
    ...     read_idx(file)
    array([5, 0, 4], dtype=uint8)
    """
    path = Path(path)
    try:
        return _read_file(path)
    except MemoryError as error:
        raise DataError(f"{path}: does not fit into memory") from error


def _read_file(path: Path) -> NDArray[Any]:
    with path.open("rb") as file:
        start = file.peek(len(GZIP_MAGIC))[: len(GZIP_MAGIC)]
        if not start:
            raise DataError(f"{path}: the file is empty; expected an IDX file, gzipped or plain")
        if start != GZIP_MAGIC:
            return _read_array(file, path)
        try:
            with gzip.GzipFile(fileobj=file, mode="rb") as stream:
                return _read_array(stream, path)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(f"{path}: starts as gzip but is damaged: {error}") from error


def write_idx(path: str | os.PathLike[str], array: ArrayLike) -> None:
    """Write an array as a gzipped IDX file, atomically.

    The gzip header has no time and no name, so the same array gives the same bytes
    (with one build of zlib).

    Parameters
    ----------
    path : str or path-like
        The file; an existing one is replaced.
    array : array_like
        Of dtype uint8, int8, int16, int32, float32 or float64, in either byte order.

    Raises
    ------
    DataError
        If IDX has no code for the dtype, or an axis length exceeds 32 bits.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> write_idx("labels.gz", np.array([1, 2]))
    Traceback (most recent call last):
        ...
    tinygrad_cnn.data.errors.DataError: labels.gz: IDX has no code for int64; expected one of \
uint8, int8, int16, int32, float32, float64
    """
    array = np.asarray(array)
    big_endian = array.dtype.newbyteorder(">")
    code = next((code for code, dtype in _DTYPES.items() if dtype == big_endian), None)
    if code is None:
        known = ", ".join(dtype.name for dtype in _DTYPES.values())
        raise DataError(f"{path}: IDX has no code for {array.dtype}; expected one of {known}")
    if max(array.shape, default=0) >= 1 << 32:
        raise DataError(f"{path}: shape {array.shape}: IDX axes are shorter than 2^32")
    header = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    with (
        atomic_write(path) as file,
        gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=file, mtime=0) as stream,
    ):
        stream.write(header)
        stream.write(array.astype(big_endian, copy=False).tobytes())


def _read_array(stream: _Stream, path: Path) -> NDArray[Any]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES:
        codes = ", ".join(f"{code:02x}" for code in _DTYPES)
        raise DataError(
            f"{path}: not an IDX file: it starts with '{magic.hex(' ')}'; "
            f"expected '00 00', an element type ({codes}) and the number of axes"
        )
    dtype, axes = _DTYPES[magic[2]], magic[3]
    lengths = stream.read(4 * axes)
    if len(lengths) < 4 * axes:
        raise DataError(
            f"{path}: truncated: {len(lengths)} bytes of lengths; "
            f"expected {4 * axes} for the {axes} axes"
        )
    shape = struct.unpack(f">{axes}I", lengths)
    expected = math.prod(shape) * dtype.itemsize
    check_memory(expected, str(path))
    payload = _read_at_most(stream, expected)
    said = f"expected {expected} for shape {shape} of {dtype.name}"
    if len(payload) < expected:
        raise DataError(f"{path}: truncated: {len(payload)} bytes of elements; {said}")
    if stream.read(1):
        raise DataError(f"{path}: has more than {expected} bytes of elements; {said}")
    try:
        array = np.frombuffer(payload, dtype).reshape(shape)
    except ValueError as error:  # more axes, or longer empty ones, than NumPy supports
        raise DataError(f"{path}: NumPy holds no array of shape {shape}: {error}") from error
    return array.astype(dtype.newbyteorder("="), copy=False)


def _read_at_most(stream: _Stream, size: int) -> bytearray:
    # In chunks: read(size) would first allocate the size that a hostile header claims.
    payload = bytearray()
    while chunk := stream.read(min(_CHUNK, size - len(payload))):
        payload += chunk
    return payload
