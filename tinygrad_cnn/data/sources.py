"""`load`: data sets by name, folder or file."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from tinygrad_cnn.data.archive import npz
from tinygrad_cnn.data.cifar import CIFAR_SETS, cifar10, cifar100, cifar_files, read_cifar
from tinygrad_cnn.data.dataset import Split
from tinygrad_cnn.data.download import cache, local_folder
from tinygrad_cnn.data.errors import DataError
from tinygrad_cnn.data.european import european_digits
from tinygrad_cnn.data.idx_sets import (
    SETS,
    digits,
    fashion_mnist,
    idx_files,
    idx_folder,
    is_idx_folder,
    kmnist,
    mnist,
)
from tinygrad_cnn.data.image_files import image_folder
from tinygrad_cnn.data.picture import IMAGE
from tinygrad_cnn.data.shapes import shapes

__all__ = ["is_local", "load"]

NAMED: dict[str, Callable[[], Split]] = {
    "digits": digits,
    "european-digits": european_digits,
    "mnist": mnist,
    "fashion-mnist": fashion_mnist,
    "kmnist": kmnist,
    "cifar10": cifar10,
    "cifar100": cifar100,
    "shapes": shapes,
}
"""Sets by name."""


def load(
    source: str | os.PathLike[str],
    preparation: str | None = None,
    size: int | tuple[int, int] | None = None,
    grayscale: bool | None = None,
) -> Split:
    """Load a set by name, or from a folder or file.

    Parameters
    ----------
    source : str or path-like
        ``"digits"``, ``"european-digits"``, ``"mnist"``, ``"fashion-mnist"``, ``"kmnist"``,
        ``"cifar10"``, ``"cifar100"`` or ``"shapes"``; a folder with MNIST's four IDX files (see
        `idx_folder`), with CIFAR's files (see `cifar10`) or with a folder of images per class (see
        `image_folder`); CIFAR's archive; or a ``.npz`` file (see `npz`). A name takes precedence
        over a folder of the same name: write ``"./digits"`` for the folder.
    preparation : str, optional
        The preparation of image files: see `read_image`. By default "mnist" for digits and mnist,
        else "image". Folders of images are read with it; for other sources, which contain pixels,
        it is only recorded.
    size : int or tuple (H, W), optional
        The size to scale the images of a folder to: see `image_folder`. Other sources have a size.
    grayscale : bool, optional
        Whether to read the images of a folder with one channel (True) or three (False).

    Returns
    -------
    Split
        The training set, the test set and, if the source has one, the validation set.

    Raises
    ------
    DataError
        If `source` is none of these, is damaged, or has another size or number of channels.

    Examples
    --------
    >>> load("digits").test
    Dataset('digits': 2000 images of 1x28x28 in 10 classes)
    """
    path = Path(source)
    if source == "":  # as a path, the current folder
        raise _unknown(source)
    if isinstance(source, str) and source in NAMED:
        split = NAMED[source]()
    elif path.is_dir() and is_idx_folder(path):
        split = idx_folder(path)
    elif found := _cifar(path):
        split = read_cifar(*found)
    elif path.is_dir() and any(child.is_dir() for child in path.iterdir()):
        return image_folder(path, size, grayscale, preparation=preparation or IMAGE)
    elif path.is_file() and path.suffix.lower() == ".npz":
        split = npz(path)
    else:
        raise _unknown(source)
    C, *came = split.train.images.shape[1:]
    wanted = [size] * 2 if isinstance(size, int) else list(size or came)
    if wanted != came or (grayscale is not None and (C == 1) != grayscale):
        asked = (
            "x".join(map(str, wanted)) + {None: "", True: " in gray", False: " in color"}[grayscale]
        )
        raise DataError(
            f"load: {os.fspath(source)!r} has images of {C}x{came[0]}x{came[1]}, expected {asked}; "
            "only the images of a folder are scaled and converted"
        )
    if preparation is None:
        return split
    parts = split.parts().items()
    return Split(**{name: replace(part, preparation=preparation) for name, part in parts})


def is_local(name: str) -> bool:
    """Return whether `load` finds a named set without a download.

    Parameters
    ----------
    name : str
        One of the names that `load` takes.

    Examples
    --------
    >>> is_local("digits"), is_local("shapes")
    (True, True)
    """
    if name not in SETS and name not in CIFAR_SETS:
        return name in NAMED
    folder = local_folder(None, None)
    if folder is not None:
        folders = [folder, folder / name]
    else:
        try:
            folders = [cache(name)]
        except ModuleNotFoundError:
            return False
    found = idx_files if name in SETS else partial(cifar_files, name)
    return any(found(each) for each in folders)


def _cifar(path: Path) -> tuple[str, str, Path] | None:
    """Return the name, the format and the place of a CIFAR set in a folder or archive."""
    for name in CIFAR_SETS:
        found = cifar_files(name, path)
        if found is not None:
            return name, *found
    return None


def _unknown(source: str | os.PathLike[str]) -> DataError:
    path = Path(source)
    names = ", ".join(map(repr, NAMED))
    came = (
        "a folder without IDX files or class folders"
        if path.is_dir() and source != ""
        else "not a .npz file"
        if path.exists() and source != ""
        else "not a known name or an existing path"
    )
    return DataError(
        f"load: {os.fspath(source)!r} is {came}; expected {names}, a folder with the four "
        "IDX files of MNIST, with the files of CIFAR or with a folder of images per class, "
        "an archive of CIFAR, or a .npz file"
    )
