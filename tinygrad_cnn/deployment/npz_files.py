"""``.npz`` files: written for export, and read from elsewhere, within limits."""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.support.files import atomic_write
from tinygrad_cnn.train.errors import RunError

__all__ = ["METADATA", "NpzFile", "write_npz_file"]

METADATA = "metadata"
"""The name of the array that has the metadata, as JSON."""
LARGEST_METADATA = 1 << 26
"""The most bytes of that array: the names of 100,000 classes have some 10 MB."""
LARGEST_HEADER = 1 << 14
"""The most bytes of the header of an array that are read."""
TIMES = 4
"""The most bytes that are read, by those of the model: for float64, and arrays layers share."""


def write_npz_file(path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a ``.npz`` file, atomically; the same arrays give the same bytes."""
    with atomic_write(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")
            with archive.open(member, "w", force_zip64=True) as part:
                np.lib.format.write_array(part, np.asarray(array, order="C"), allow_pickle=False)


@dataclass(frozen=True)
class _Header:
    """What the header of an array says."""

    member: zipfile.ZipInfo
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class NpzFile:
    """The headers and the metadata of a ``.npz`` file, which may be from anywhere.

    A small file can state, and by compression have, arrays of any size. So the arrays are read
    last, and only if they are about as large as those of the model, or no larger than the file.

    Raises
    ------
    RunError
        If it is damaged, or has something other than arrays of numbers.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_npz_file(folder + "/w.npz", {"w": np.arange(3)})
    ...     NpzFile(Path(folder, "w.npz")).arrays({"w": np.zeros(3)})
    {'w': array([0, 1, 2])}
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._opened() as archive:
            members = archive.infolist()
            self._headers = dict(self._header(archive, member) for member in members)
            if len(self._headers) < len(members):
                raise ValueError("two arrays have one name")
            self.metadata = self._read_metadata(archive)

    def arrays(self, model: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the arrays.

        Parameters
        ----------
        model : mapping of str to ndarray
            The ``state_dict()`` of the model that they are for.

        Raises
        ------
        RunError
            If they are much larger than those of the model, or damaged.
        """
        size = sum(header.nbytes for header in self._headers.values())
        expected = sum(array.nbytes for array in model.values())
        if size > max(TIMES * expected, self._path.stat().st_size):
            name, largest = max(self._headers.items(), key=lambda item: item[1].nbytes)
            raise RunError(
                f"{self._path}: its arrays have {size:,} bytes, those of the model {expected:,}; "
                f"the largest, {name}, has the shape {largest.shape}"
            )
        with self._opened() as archive:
            return {n: _array(archive, header) for n, header in self._headers.items()}

    def _header(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[str, _Header]:
        if not member.filename.endswith(".npy"):
            raise ValueError(f"it has {member.filename!r}, expected only arrays: .npy")
        name = member.filename.removesuffix(".npy")
        with archive.open(member) as opened:
            start = io.BytesIO(opened.read(LARGEST_HEADER))
        version = np.lib.format.read_magic(start)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        if version not in read:
            raise ValueError(f"{name} has the format {version}, expected (1, 0) or (2, 0)")
        shape, _, dtype = read[version](start)
        is_text = name == METADATA and dtype.kind == "U" and shape == ()
        if not is_text and dtype.kind not in "fiubc":
            raise ValueError(
                f"{name} is an array of {dtype}, expected numbers; as np.load(allow_pickle=False), "
                "this reads no objects"
            )
        header = _Header(member, shape, dtype)
        if any(size < 0 for size in shape):
            raise ValueError(f"{name} has the shape {shape}")
        if start.tell() + header.nbytes != member.file_size:
            raise ValueError(
                f"{name} has {member.file_size:,} bytes, which is not its shape {shape}"
            )
        return name, header

    def _read_metadata(self, archive: zipfile.ZipFile) -> dict[str, str]:
        header = self._headers.get(METADATA)
        if header is None or header.dtype.kind != "U":
            return {}
        del self._headers[METADATA]
        if header.dtype.itemsize > LARGEST_METADATA:
            raise ValueError(
                f"its metadata have {header.dtype.itemsize:,} bytes, expected at most "
                f"{LARGEST_METADATA:,}"
            )
        found = json.loads(str(_array(archive, header)))
        pairs = found.items() if isinstance(found, dict) else ()
        return {name: text for name, text in pairs if isinstance(text, str)}

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        """Open the file; any error is a RunError: there are many kinds of damage."""
        try:
            with zipfile.ZipFile(self._path) as archive:
                yield archive
        except Exception as error:
            raise RunError(
                f"{self._path}: is damaged, or not a .npz file of arrays: {error}"
            ) from error


def _array(archive: zipfile.ZipFile, header: _Header) -> NDArray[Any]:
    with archive.open(header.member) as opened:
        array: NDArray[Any] = np.lib.format.read_array(opened, allow_pickle=False)
        opened.read()  # nothing is left: its end checks the sum of all bytes
    return array
