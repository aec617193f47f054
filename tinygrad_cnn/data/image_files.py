"""Data sets from folders of image files, one folder per class."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.data.dataset import Dataset, Split
from tinygrad_cnn.data.errors import DataError
from tinygrad_cnn.data.picture import FORMATS, IMAGE, read_image

__all__ = ["image_folder"]

SUFFIXES = {suffix for suffixes in FORMATS.values() for suffix in suffixes}
VALIDATION = ("val", "valid", "validation")
_CHANNELS = {None: None, True: 1, False: 3}


def image_folder(
    path: str | os.PathLike[str],
    size: int | tuple[int, int] | None = None,
    grayscale: bool | None = None,
    seed: int = 0,
    preparation: str = IMAGE,
) -> Split:
    """Read a set from a folder that has one folder of images per class.

    The files are ``PATH/CLASS/*.png``, ``.jpg`` and other formats of `read_image`, and are split
    80 : 20 at random into training and test set, stratified by class. A folder can be split
    already: ``PATH/train/CLASS/*`` and ``PATH/test/CLASS/*``, ``PATH/val/CLASS/*`` or both. Without
    ``test``, the images of ``val`` are the test set; it may also be called ``valid`` or
    ``validation``. Hidden files, ``__MACOSX`` and other file types are skipped. Classes and files
    are sorted by name. `read_image` reads every file: rotated according to EXIF, with transparency
    on white.

    Parameters
    ----------
    path : str or path-like
        The folder.
    size : int or tuple (H, W), optional
        Scale every image to this size, bilinearly, without keeping the proportion; an integer is
        both height and width. By default all must have the same size.
    grayscale : bool, optional
        One channel (True) or three (False); by default one if every file is grayscale.
    seed : int
        The seed of the random split, if any.
    preparation : str
        See `read_image`: "mnist" finds the digit in each image and prepares it as in MNIST.

    Returns
    -------
    Split
        Images of shape (N, 1, H, W) or (N, 3, H, W), classes named after their folders.

    Raises
    ------
    DataError
        If there is no class, a class is empty, a file cannot be read, or sizes differ.
    ModuleNotFoundError
        If ``Pillow`` is not installed.

    Examples
    --------
    >>> image_folder("pets", size=(32, 32)).train  # a folder of yours  # doctest: +SKIP
    Dataset('pets': 160 images of 3x32x32 in 2 classes)
    """
    root = Path(path)
    if not root.is_dir():
        raise DataError(f"{root}: is not a folder; expected one with a folder per class")
    if size is not None:
        size = (size, size) if isinstance(size, int) else size
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"image_folder: size is {size}; expected (H, W), both positive")
    listings = {name: _list_classes(part) for name, part in _parts(root).items()}
    classes = tuple(listings["train"])
    for name, listing in listings.items():
        if tuple(listing) != classes:
            raise DataError(
                f"{root}: train has the classes {classes} but {name} has {tuple(listing)}"
            )
    files = [file for listing in listings.values() for paths in listing.values() for file in paths]
    channels = _CHANNELS[grayscale]
    images = _stack([read_image(file, channels, size, preparation) for file in files], files)
    labels = np.concatenate(
        [
            np.repeat(np.arange(len(classes)), [len(paths) for paths in listing.values()])
            for listing in listings.values()
        ]
    )
    name = root.resolve().name
    whole = Dataset(images, labels.astype(np.int64, copy=False), classes, name, preparation)
    if len(listings) == 1:
        return Split(*whole.split(0.8, seed))
    ends = np.cumsum([sum(map(len, listing.values())) for listing in listings.values()])
    sets = [whole[end - n : end] for end, n in zip(ends, np.diff(ends, prepend=0), strict=True)]
    return Split(**dict(zip(listings, sets, strict=True)))


def _parts(root: Path) -> dict[str, Path]:
    """Return the folders of the parts of a `Split`; only "train" if the set is not split."""
    validation = [root / name for name in VALIDATION if (root / name).is_dir()]
    if len(validation) > 1:
        names = " and ".join(path.name for path in validation)
        raise DataError(f"{root}: has the folders {names}; expected one of them")
    parts = {"train": root / "train", "test": root / "test", "validation": root / "val"}
    if validation:
        parts["validation"] = validation[0]
    found = {name: path for name, path in parts.items() if path.is_dir()}
    if "train" not in found:
        return {"train": root}
    if len(found) == 1:  # a set that is not split yet, or a class called "train"
        alone = not [child for child in _folders(root) if child.name != "train"]
        return found if alone and _folders(root / "train") else {"train": root}
    if "test" not in found:
        found["test"] = found.pop("validation")
    return found


def _folders(folder: Path) -> list[Path]:
    """Return the folders in `folder` by name, without hidden ones and those of archives."""
    return [
        child
        for child in sorted(folder.iterdir())
        if child.is_dir() and not child.name.startswith(".") and child.name != "__MACOSX"
    ]


def _list_classes(folder: Path) -> dict[str, list[Path]]:
    listing = {
        child.name: sorted(
            file
            for file in child.iterdir()
            if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
        )
        for child in _folders(folder)
    }
    if not listing:
        raise DataError(f"{folder}: has no folder in it; expected one per class, with images")
    for name, files in listing.items():
        if not files:
            raise DataError(
                f"{folder / name}: has no image; expected {', '.join(sorted(SUFFIXES))} files"
            )
    return listing


def _stack(images: list[NDArray[np.uint8]], files: list[Path]) -> NDArray[np.uint8]:
    """Stack the images as (N, C, H, W); among color images, gray ones get three channels."""
    height, width = images[0].shape[1:]
    for image, file in zip(images, files, strict=True):
        if image.shape[1:] != (height, width):
            raise DataError(
                f"{file}: is {image.shape[1]}x{image.shape[2]} but {files[0]} is {height}x{width} "
                "(HxW); give size=(H, W), or --size HxW on the command line, to scale them all"
            )
    channels = max(len(image) for image in images)
    joined = np.empty((len(images), channels, height, width), np.uint8)
    for place, image in zip(joined, images, strict=True):
        place[...] = image
    return joined
