"""Data sets of four IDX files: the embedded digits, MNIST, Fashion-MNIST and Kuzushiji-MNIST."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.data.dataset import MOST_CLASSES, Dataset, Split, number_classes
from tinygrad_cnn.data.download import DATA_VARIABLE, download, local_folder
from tinygrad_cnn.data.errors import DataError
from tinygrad_cnn.data.idx import read_idx
from tinygrad_cnn.data.labels import as_labels
from tinygrad_cnn.data.picture import IMAGE, MNIST

__all__ = [
    "SETS",
    "IdxSet",
    "digits",
    "fashion_mnist",
    "idx_files",
    "idx_folder",
    "kmnist",
    "mnist",
]

DIGITS_FOLDER = Path(__file__).with_name("embedded_digits")
FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


@dataclass(frozen=True)
class IdxSet:
    """A published set: URL, checksums, and class names."""

    url: str
    classes: tuple[str, ...]
    sha256: tuple[str, ...]  # in the order of FILES
    preparation: str = IMAGE


SETS: dict[str, IdxSet] = {
    "mnist": IdxSet(
        url="https://ossci-datasets.s3.amazonaws.com/mnist/",
        classes=tuple("0123456789"),
        sha256=(
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
        preparation=MNIST,
    ),
    "fashion-mnist": IdxSet(
        url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        classes=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        sha256=(
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
    "kmnist": IdxSet(
        url="http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        sha256=(
            "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        ),
    ),
}


def digits() -> Split:
    """Load the embedded handwritten digits: a sixth of MNIST.

    1,000 training and 200 test images of each digit, drawn at random from MNIST's own two sets.
    Nothing is downloaded. Origin and license: see ``embedded_digits/README.md``.

    Returns
    -------
    Split
        10,000 and 2,000 images of shape (1, 28, 28), white on black.

    Examples
    --------
    >>> digits().train
    Dataset('digits': 10000 images of 1x28x28 in 10 classes)
    """
    return idx_folder(DIGITS_FOLDER, "digits", SETS["mnist"].classes, MNIST)


def mnist(folder: str | os.PathLike[str] | None = None, *, url: str | None = None) -> Split:
    """Load MNIST: handwritten digits.

    The files are read from `folder`, else from the folder named by the environment variable
    ``TINYGRAD_CNN_DATA``; else they are downloaded once and kept in the user's cache.

    Parameters
    ----------
    folder : str or path-like, optional
        A folder with the four files, gzipped or not, or with a subfolder ``mnist`` of them.
    url : str, optional
        Download from this base URL, ignoring ``TINYGRAD_CNN_DATA``.

    Returns
    -------
    Split
        60,000 and 10,000 images of shape (1, 28, 28).

    Raises
    ------
    DataError
        If a file is missing, damaged or cannot be downloaded.
    ModuleNotFoundError
        If a download is needed and ``pooch`` is not installed.

    Examples
    --------
    >>> mnist(folder=DIGITS_FOLDER).test
    Dataset('mnist': 2000 images of 1x28x28 in 10 classes)
    """
    return _published("mnist", folder, url)


def fashion_mnist(folder: str | os.PathLike[str] | None = None, *, url: str | None = None) -> Split:
    """Load Fashion-MNIST: articles of clothing, in the form of MNIST.

    Parameters and errors as for `mnist`; the subfolder is ``fashion-mnist``.

    Returns
    -------
    Split
        60,000 and 10,000 images of shape (1, 28, 28).

    Examples
    --------
    >>> fashion_mnist().train.classes[9]  # downloads 30 MB  # doctest: +SKIP
    'Ankle boot'
    """
    return _published("fashion-mnist", folder, url)


def kmnist(folder: str | os.PathLike[str] | None = None, *, url: str | None = None) -> Split:
    """Load Kuzushiji-MNIST: characters of cursive Japanese, in the form of MNIST.

    Parameters and errors as for `mnist`; the subfolder is ``kmnist``.

    Returns
    -------
    Split
        60,000 and 10,000 images of shape (1, 28, 28).

    Examples
    --------
    >>> kmnist().train.classes[1]  # downloads 21 MB  # doctest: +SKIP
    'ki'
    """
    return _published("kmnist", folder, url)


def idx_files(folder: Path) -> bool:
    """Return whether a folder contains all of the four files."""
    return all(_find(folder, file) for file in FILES)


def idx_folder(
    folder: str | os.PathLike[str],
    name: str | None = None,
    classes: tuple[str, ...] | None = None,
    preparation: str = IMAGE,
) -> Split:
    """Read a set from a folder with four IDX files named as in MNIST.

    Parameters
    ----------
    folder : str or path-like
        Contains ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` and their ``t10k``
        counterparts, with or without ``.gz``.
    name : str, optional
        The name of the set; by default that of the folder.
    classes : tuple of str, optional
        The names of the classes; by default "0", "1", ... up to the largest label.
    preparation : str
        The preparation of image files for this set, for `read_image`: "mnist" for digits prepared
        as in MNIST.

    Returns
    -------
    Split
        Images of shape (N, 1, H, W).

    Raises
    ------
    DataError
        If a file is missing or damaged, or its contents do not match its name.

    Warns
    -----
    UserWarning
        If `classes` is not given and a class has no training image, because the labels do not start
        at 0 or skip numbers.

    Examples
    --------
    >>> idx_folder(DIGITS_FOLDER).test.classes
    ('0', '1', '2', '3', '4', '5', '6', '7', '8', '9')
    """
    folder = Path(folder)
    paths = [_find(folder, file) for file in FILES]
    missing = [file for file, path in zip(FILES, paths, strict=True) if path is None]
    if missing:
        raise DataError(f"{folder}: has no {', '.join(missing)}, with or without .gz")
    train_images, train_labels, test_images, test_labels = (path for path in paths if path)
    images = [_read_images(path) for path in (train_images, test_images)]
    labels = [
        _read_labels(path, len(classes) if classes else MOST_CLASSES)
        for path in (train_labels, test_labels)
    ]
    named = classes or number_classes(str(folder), *labels)
    train, test = (
        Dataset(pixels, label, named, name or folder.resolve().name, preparation)
        for pixels, label in zip(images, labels, strict=True)
    )
    return Split(train, test)


def is_idx_folder(folder: Path) -> bool:
    """Return whether a folder contains any of the four files."""
    return any(_find(folder, file) for file in FILES)


def _published(name: str, folder: str | os.PathLike[str] | None, url: str | None) -> Split:
    source = SETS[name]
    here = local_folder(folder, url)
    if here is None:
        here = download(
            name,
            url or source.url,
            dict(zip(FILES, source.sha256, strict=True)),
            instead=f"set {DATA_VARIABLE} to",
        )
    elif not is_idx_folder(here):
        if not (here / name).is_dir():
            raise DataError(
                f"{here}: has neither the files of {name} nor a folder {name!r} of them; "
                f"expected {', '.join(FILES)}"
            )
        here = here / name
    return idx_folder(here, name, source.classes, source.preparation)


def _find(folder: Path, file: str) -> Path | None:
    candidates = (folder / file, folder / file.removesuffix(".gz"))
    return next((path for path in candidates if path.is_file()), None)


def _read_labels(path: Path, classes: int) -> NDArray[np.int64]:
    labels = read_idx(path)
    if labels.ndim != 1:
        raise DataError(f"{path}: holds labels of shape {labels.shape}; expected (N,)")
    return as_labels(labels, classes, f"{path}: labels")


def _read_images(path: Path) -> NDArray[np.uint8]:
    images = read_idx(path)
    if images.dtype != np.uint8 or images.ndim != 3:
        raise DataError(
            f"{path}: holds {images.dtype} of shape {images.shape}; expected uint8 (N, H, W)"
        )
    return images[:, None]
