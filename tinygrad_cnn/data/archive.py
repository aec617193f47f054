"""Data sets in NumPy archives (``.npz``), as in Keras."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.data.dataset import MOST_CLASSES, Dataset, Split, number_classes
from tinygrad_cnn.data.errors import DataError, check_memory
from tinygrad_cnn.data.labels import as_labels
from tinygrad_cnn.support.arguments import first_index

__all__ = ["npz"]

_SPLIT = ("x_train", "y_train", "x_test", "y_test")
_WHOLE = ("images", "labels")


def npz(path: str | os.PathLike[str], seed: int = 0) -> Split:
    """Read a set from a ``.npz`` file.

    It contains the arrays ``x_train``, ``y_train``, ``x_test`` and ``y_test``, as in Keras, or
    ``images`` and ``labels``, which are split 80 : 20 at random, stratified by class. Nothing in
    the file is ever unpickled.

    Parameters
    ----------
    path : str or path-like
        The file. Images are (N, H, W), (N, C, H, W) or Keras' (N, H, W, C), recognized by 1, 3 or 4
        entries along the last axis but more along the second: uint8, or floats in [0, 1], which
        are scaled to 255 and rounded. Labels are (N,) or Keras' (N, 1), integers from 0.
    seed : int
        The seed of the random split, if any.

    Returns
    -------
    Split
        Images of shape (N, C, H, W), classes named "0", "1", ... up to the largest label.

    Raises
    ------
    DataError
        If the file is not an archive or is damaged, lacks an array, or has an invalid array.
    OSError
        If it cannot be opened.

    Warns
    -----
    UserWarning
        If a class has no training image, because the labels do not start at 0 or skip numbers.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "toy.npz")
    ...     np.savez(file, images=np.zeros((10, 8, 8), np.uint8), labels=np.arange(10) % 2)
    ...     npz(file).train
    Dataset('toy': 8 images of 1x8x8 in 2 classes)
    """
    path = Path(path)
    arrays = _read(path)
    try:
        return _split(arrays, path, seed)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _split(arrays: dict[str, NDArray[Any]], path: Path, seed: int) -> Split:
    name = path.stem
    if _SPLIT[0] in arrays:
        x_train, y_train, x_test, y_test = (arrays[key] for key in _SPLIT)
        train_labels, test_labels = _labels(y_train, "y_train"), _labels(y_test, "y_test")
        classes = number_classes(str(path), train_labels, test_labels)
        return Split(
            Dataset(_images(x_train, "x_train"), train_labels, classes, name),
            Dataset(_images(x_test, "x_test"), test_labels, classes, name),
        )
    labels, images = _labels(arrays["labels"], "labels"), _images(arrays["images"], "images")
    classes = number_classes(str(path), labels)
    return Split(*Dataset(images, labels, classes, name).split(0.8, seed))


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays of either form."""
    with path.open("rb") as file:
        try:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path}: holds a single array, as .npy; expected a .npz archive")
            with archive:
                for keys in (_SPLIT, _WHOLE):
                    if set(keys) <= set(archive.files):
                        _check_sizes(archive, keys, path)
                        return {key: _array(archive, key) for key in keys}
                raise DataError(
                    f"{path}: holds {', '.join(archive.files) or 'nothing'}; "
                    f"expected {', '.join(_SPLIT)}, or {', '.join(_WHOLE)}"
                )
        except DataError:
            raise
        except Exception as error:  # damaged archives raise nearly anything
            raise DataError(
                f"{path}: cannot be read as a .npz archive of plain arrays "
                f"(arrays of objects are refused): {error}"
            ) from error


def _check_sizes(archive: np.lib.npyio.NpzFile, keys: tuple[str, ...], path: Path) -> None:
    assert archive.zip is not None  # it is open
    members = archive.zip.filelist
    size = sum(m.file_size for m in members if m.filename.removesuffix(".npy") in keys)
    check_memory(size, str(path))


def _array(archive: np.lib.npyio.NpzFile, key: str) -> NDArray[Any]:
    array = archive[key]
    if not isinstance(array, np.ndarray):  # bytes, of a member of another format
        raise ValueError(f"the member {key!r} is not an array")
    return array


def _labels(array: NDArray[Any], name: str) -> NDArray[np.int64]:
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(f"{name} has shape {array.shape}; expected (N,) or (N, 1)")
    return as_labels(array, MOST_CLASSES, name)


def _images(array: NDArray[Any], name: str) -> NDArray[np.uint8]:
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4:
        raise DataError(
            f"{name} has shape {array.shape}; expected (N, H, W), (N, C, H, W) or (N, H, W, C)"
        )
    if array.shape[3] in (1, 3, 4) and array.shape[1] > 4:  # (N, H, W, C)
        array = np.ascontiguousarray(array.transpose(0, 3, 1, 2))
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f":
        raise DataError(f"{name} is of {array.dtype}; expected uint8, or floats from 0 to 1")
    good = (array >= 0) & (array <= 1)  # false for NaN
    if not good.all():
        index = first_index(~good)
        raise DataError(
            f"{name} is {array[index]} at {index}; expected floats from 0 to 1, or uint8"
        )
    scaled = array * 255
    pixels: NDArray[np.uint8] = np.rint(scaled, out=scaled).astype(np.uint8)
    return pixels
