"""CIFAR-10 and CIFAR-100: color photographs of 32x32 pixels.

Both are published in two formats, each a ``.tar.gz`` file with a folder inside: "binary", records
of one or two labels and 3,072 pixels, and "python", pickled dictionaries. Both formats are read,
from the archive or from the unpacked folder. Nothing in a pickle is executed: see `read_pickle`.
"""

from __future__ import annotations

import gzip
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.data.cifar_classes import CIFAR10, COARSE, FINE
from tinygrad_cnn.data.dataset import Dataset, Split
from tinygrad_cnn.data.download import DATA_VARIABLE, download, local_folder
from tinygrad_cnn.data.errors import DataError
from tinygrad_cnn.data.idx import GZIP_MAGIC
from tinygrad_cnn.data.labels import as_labels
from tinygrad_cnn.data.pickles import read_pickle
from tinygrad_cnn.support.arguments import choice

__all__ = ["CIFAR_SETS", "CifarSet", "cifar10", "cifar100", "cifar_files", "read_cifar"]

_PIXELS = 3 * 32 * 32
_MOST_BYTES = 1 << 29  # of an unzipped archive; the largest has 187 MB


@dataclass(frozen=True)
class CifarSet:
    """A published set: its archives and the files in them.

    ``binary`` and ``python`` name the folder inside each archive, and ``files`` maps the files of
    both formats to the part they belong to. ``labels`` maps the kinds of labels to their key in a
    pickle, their position in a binary record and the names of the classes.
    """

    archive: str
    sha256: str
    folders: Mapping[str, str]
    files: Mapping[str, Mapping[str, tuple[str, ...]]]
    labels: Mapping[str, tuple[str, int, tuple[str, ...]]]
    url: str = "https://www.cs.toronto.edu/~kriz/"

    @property
    def label_bytes(self) -> int:
        """The number of labels before the pixels of a binary record."""
        return len(self.labels)


_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))

CIFAR_SETS: dict[str, CifarSet] = {
    "cifar10": CifarSet(
        archive="cifar-10-{}.tar.gz",
        sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        folders={"binary": "cifar-10-batches-bin", "python": "cifar-10-batches-py"},
        files={
            "binary": {
                "train": tuple(f"{name}.bin" for name in _BATCHES),
                "test": ("test_batch.bin",),
            },
            "python": {"train": _BATCHES, "test": ("test_batch",)},
        },
        labels={"labels": ("labels", 0, CIFAR10)},
    ),
    "cifar100": CifarSet(
        archive="cifar-100-{}.tar.gz",
        sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        folders={"binary": "cifar-100-binary", "python": "cifar-100-python"},
        files={
            "binary": {"train": ("train.bin",), "test": ("test.bin",)},
            "python": {"train": ("train",), "test": ("test",)},
        },
        labels={
            "fine": ("fine_labels", 1, FINE),
            "coarse": ("coarse_labels", 0, COARSE),
        },
    ),
}


def cifar10(folder: str | os.PathLike[str] | None = None, *, url: str | None = None) -> Split:
    """Load CIFAR-10: photographs of ten kinds of animals and vehicles.

    The files are read from `folder`, else from the folder named by the environment variable
    ``TINYGRAD_CNN_DATA``; else the binary archive (170 MB) is downloaded once and kept in the
    user's cache.

    Parameters
    ----------
    folder : str or path-like, optional
        A folder with an archive, ``cifar-10-binary.tar.gz`` or ``cifar-10-python.tar.gz``; or with
        what one contains, the files or their folder; or with a subfolder ``cifar10`` of these.
    url : str, optional
        Download from this base URL, ignoring ``TINYGRAD_CNN_DATA``.

    Returns
    -------
    Split
        50,000 and 10,000 images of shape (3, 32, 32).

    Raises
    ------
    DataError
        If a file is missing, damaged or cannot be downloaded.
    ModuleNotFoundError
        If a download is needed and ``pooch`` is not installed.

    Examples
    --------
    >>> cifar10().train.classes[6]  # downloads 170 MB  # doctest: +SKIP
    'frog'
    """
    return _published("cifar10", "labels", folder, url)


def cifar100(
    folder: str | os.PathLike[str] | None = None,
    *,
    labels: str = "fine",
    url: str | None = None,
) -> Split:
    """Load CIFAR-100: photographs of a hundred classes in twenty groups.

    The files are found as by `cifar10`.

    Parameters
    ----------
    folder : str or path-like, optional
        A folder with an archive, ``cifar-100-binary.tar.gz`` or ``cifar-100-python.tar.gz``; or
        with what one contains, the files or their folder; or with a subfolder ``cifar100``.
    labels : str
        "fine" for the 100 classes, "coarse" for the 20 groups.
    url : str, optional
        Download from this base URL, ignoring ``TINYGRAD_CNN_DATA``.

    Returns
    -------
    Split
        50,000 and 10,000 images of shape (3, 32, 32).

    Raises
    ------
    DataError
        If a file is missing, damaged or cannot be downloaded.
    ValueError
        If `labels` is neither "fine" nor "coarse".
    ModuleNotFoundError
        If a download is needed and ``pooch`` is not installed.

    Examples
    --------
    >>> cifar100(labels="coarse").train.classes[0]  # downloads 170 MB  # doctest: +SKIP
    'aquatic_mammals'
    """
    choice("cifar100", "labels", labels, CIFAR_SETS["cifar100"].labels)
    return _published("cifar100", labels, folder, url)


def cifar_files(name: str, folder: Path) -> tuple[str, Path] | None:
    """Find a set in a folder, or recognize an archive by its name.

    Returns
    -------
    tuple of str and Path, or None
        The format, "binary" or "python", and the archive or the folder with all files.
    """
    source = CIFAR_SETS[name]
    for kind, parts in source.files.items():
        for place in (folder, folder / source.folders[kind]):
            if all((place / file).is_file() for files in parts.values() for file in files):
                return kind, place
        archive = source.archive.format(kind)
        for file in (folder, folder / archive):
            if file.name == archive and file.is_file():
                return kind, file
    return None


def read_cifar(name: str, kind: str, place: Path, labels: str | None = None) -> Split:
    """Read a set from its archive or unpacked folder.

    Parameters
    ----------
    name : str
        "cifar10" or "cifar100".
    kind : str
        The format: "binary" or "python".
    place : Path
        The archive or folder.
    labels : str, optional
        A key of the set's `CifarSet.labels`; by default the first.

    Returns
    -------
    Split
        Images of shape (3, 32, 32).

    Raises
    ------
    DataError
        If a file is missing or damaged.
    """
    source = CIFAR_SETS[name]
    key, position, classes = source.labels[labels or next(iter(source.labels))]
    read = _from_archive if place.is_file() else _from_folder
    contents = read(place, [file for part in source.files[kind].values() for file in part])

    def dataset(part: str) -> Dataset:
        images, numbers = [], []
        for file in source.files[kind][part]:
            where = f"{place}: {file}"
            if kind == "binary":
                pixels, label = _binary(contents.pop(file), source.label_bytes, position, where)
            else:
                pixels, label = _pickled(contents.pop(file), key, where)
            images.append(pixels)
            numbers.append(as_labels(label, len(classes), f"{where}: {key}"))
        return Dataset(np.concatenate(images), np.concatenate(numbers), classes, name)

    return Split(dataset("train"), dataset("test"))


def _binary(
    contents: bytes, label_bytes: int, position: int, where: str
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    record = label_bytes + _PIXELS
    if not contents or len(contents) % record:
        raise DataError(f"{where}: has {len(contents)} bytes; expected a multiple of {record}")
    records = np.frombuffer(contents, np.uint8).reshape(-1, record)
    return records[:, label_bytes:].reshape(-1, 3, 32, 32), records[:, position]


def _pickled(contents: bytes, key: str, where: str) -> tuple[NDArray[np.uint8], Any]:
    loaded = read_pickle(contents, where)
    batch = (
        {
            name.decode("latin1") if isinstance(name, bytes) else name: loaded[name]
            for name in loaded
        }
        if isinstance(loaded, dict)
        else {}
    )
    if not {"data", key} <= batch.keys():
        raise DataError(f"{where}: is not a dictionary with 'data' and {key!r}")
    pixels, labels = batch["data"], batch[key]
    if not (
        isinstance(pixels, np.ndarray)
        and pixels.dtype == np.uint8
        and pixels.ndim == 2
        and pixels.shape[1] == _PIXELS
    ):
        came = f"{pixels.dtype} {pixels.shape}" if isinstance(pixels, np.ndarray) else type(pixels)
        raise DataError(f"{where}: data is {came}; expected uint8 (N, {_PIXELS})")
    if not isinstance(labels, list) or len(labels) != len(pixels):
        raise DataError(f"{where}: {key} is not a list of {len(pixels)} labels")
    return pixels.reshape(-1, 3, 32, 32), labels


def _from_folder(folder: Path, files: list[str]) -> dict[str, bytes]:
    return {file: (folder / file).read_bytes() for file in files}


def _from_archive(archive: Path, files: list[str]) -> dict[str, bytes]:
    """Read files of an archive into memory, by name whatever their folder is."""
    contents: dict[str, bytes] = {}
    try:
        with open(archive, "rb") as file:
            zipped = file.peek(2)[:2] == GZIP_MAGIC
            bounded: Any = _Bounded(gzip.GzipFile(fileobj=file) if zipped else file)
            with tarfile.open(fileobj=bounded, mode="r|") as stream:
                for member in stream:
                    name = Path(member.name).name
                    if name in files and member.isfile():
                        contents[name] = cast(IO[bytes], stream.extractfile(member)).read()
    except Exception as error:  # damaged archives raise nearly anything
        raise DataError(f"{archive}: is not a whole .tar.gz archive: {error}") from error
    missing = [file for file in files if file not in contents]
    if missing:
        raise DataError(f"{archive}: has no {', '.join(missing)}")
    return contents


class _Bounded:
    """The beginning of a stream: an error is raised after `_MOST_BYTES`, or far after its end."""

    def __init__(self, stream: BinaryIO | gzip.GzipFile) -> None:
        self._stream = stream
        self._left = _MOST_BYTES
        self._ends = 0

    def read(self, size: int) -> bytes:
        found = self._stream.read(size)
        self._left -= len(found)
        self._ends += not found
        if self._left < 0:
            raise ValueError(f"it has more than {_MOST_BYTES:,} bytes when unzipped")
        if self._ends > 2:  # tarfile reads on, for as long as a header claims
            raise EOFError("it ends within a file")
        return found


def _published(
    name: str, labels: str, folder: str | os.PathLike[str] | None, url: str | None
) -> Split:
    source = CIFAR_SETS[name]
    here = local_folder(folder, url)
    if here is None:
        archive = source.archive.format("binary")
        hashes = {archive: source.sha256}
        here = download(name, url or source.url, hashes, instead=f"set {DATA_VARIABLE} to")
        return read_cifar(name, "binary", here / archive, labels)
    found = cifar_files(name, here) or cifar_files(name, here / name)
    if found is None:
        archives = " nor ".join(source.archive.format(kind) for kind in source.files)
        raise DataError(
            f"{here}: has neither {archives}, nor the files in them, nor a folder {name!r} of "
            f"these; without {DATA_VARIABLE}, the set is downloaded"
        )
    return read_cifar(name, *found, labels)
