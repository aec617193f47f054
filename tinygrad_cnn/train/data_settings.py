"""`DataSettings`: the data that a model was trained on, with their hashes."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_cnn.data import Dataset, Normalize, Split, load
from tinygrad_cnn.data.picture import IMAGE, MNIST, OPAQUE, PREPARATIONS
from tinygrad_cnn.data.sources import NAMED
from tinygrad_cnn.support.arguments import choice, whole, wholes

__all__ = ["DataSettings", "located", "with_preparation"]

LARGEST = 1 << 26
"""The most numbers of an image, such as 3 x 4096 x 4096: settings may be from anywhere."""
SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """The data that a model was trained on.

    Attributes
    ----------
    source : str
        The argument of `tinygrad_cnn.data.load`; empty for a model imported without its data.
    name : str
    classes : tuple of str
    preparation : str
        The preparation of image files, see `tinygrad_cnn.data.read_image`.
    input_shape : tuple of int
        (C, H, W).
    mean, std : tuple of float
        Per channel of the training images, in [0, 1]; used to normalize.
    training_images, test_images, validation_images : int
    training_sha256, test_sha256, validation_sha256 : str or None
        Hashes of images and labels; None in settings of earlier versions, and of a validation set
        that does not exist.
    size : tuple (H, W) or None
    grayscale : bool or None
        Further arguments of `tinygrad_cnn.data.load`.
    """

    source: str
    name: str
    classes: tuple[str, ...]
    preparation: str = IMAGE
    input_shape: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    training_images: int
    test_images: int
    training_sha256: str | None = None
    test_sha256: str | None = None
    validation_images: int = 0
    validation_sha256: str | None = None
    size: tuple[int, int] | None = None
    grayscale: bool | None = None

    def __post_init__(self) -> None:
        for name in ("classes", "input_shape", "mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.size is not None:
            object.__setattr__(self, "size", wholes("data", "size", self.size))
        choice("data", "grayscale", self.grayscale, (None, True, False))
        choice("data", "preparation", self.preparation, PREPARATIONS)
        for i, size in enumerate(self.input_shape):
            whole("data", f"input_shape[{i}]", size)
        if math.prod(self.input_shape) > LARGEST:
            raise ValueError(
                f"data: input_shape is {self.input_shape}, expected at most {LARGEST:,} numbers"
            )
        for name in ("training_images", "test_images", "validation_images"):
            whole("data", name, getattr(self, name), 0)
        if len(self.input_shape) != 3 or not self.classes:
            raise ValueError(f"data: got {self}, expected classes and an input_shape (C, H, W)")
        if not len(self.mean) == len(self.std) == self.input_shape[0]:
            raise ValueError(
                f"data: mean is {self.mean} and std {self.std}, expected one value per channel"
            )
        self.normalize()
        for name in ("mean", "std"):
            for i, value in enumerate(getattr(self, name)):
                if not 0 <= value <= 1:
                    raise ValueError(f"data: {name}[{i}] is {value}, expected a number from 0 to 1")
        for name in ("training_sha256", "test_sha256", "validation_sha256"):
            sha256 = getattr(self, name)
            if sha256 is not None and not (isinstance(sha256, str) and SHA256.fullmatch(sha256)):
                raise ValueError(f"data: {name} is {sha256!r}, expected 64 hexadecimal digits")

    @classmethod
    def of(
        cls,
        split: Split,
        source: str,
        size: tuple[int, int] | None = None,
        grayscale: bool | None = None,
    ) -> DataSettings:
        """Return the settings of a set, including its mean and standard deviation."""
        mean, std = _statistics(split.train)
        return cls(
            source=source,
            name=split.train.name,
            classes=split.train.classes,
            preparation=split.train.preparation,
            input_shape=split.train.images.shape[1:],
            mean=mean,
            std=std,
            size=size,
            grayscale=grayscale,
            **_sizes_and_hashes(split),
        )

    def of_split(self, split: Split) -> DataSettings:
        """Return these settings with the sizes and hashes of other images."""
        return replace(self, **_sizes_and_hashes(split))

    def load(self, source: str | None = None) -> Split:
        """Load the data of these settings again, or other data in the same way."""
        if not (source or self.source):
            raise ValueError(
                "the model was imported without its data; expected a name or path (--data)"
            )
        return load(source or self.source, self.preparation, self.size, self.grayscale)

    def normalize(self) -> Normalize:
        """Return the normalizing transform."""
        return Normalize(self.mean, self.std)

    def check(self, dataset: Dataset) -> None:
        """Raise ValueError if `dataset` has other classes or another shape."""
        shape = dataset.images.shape[1:]
        if shape != self.input_shape:
            raise ValueError(
                f"{dataset.name}: has images of shape {shape}; the model was trained with "
                f"{self.input_shape}"
            )
        if dataset.classes != self.classes:
            raise ValueError(
                f"{dataset.name}: has the classes {', '.join(dataset.classes)}; the model was "
                f"trained with {', '.join(self.classes)}"
            )

    def check_split(self, split: Split) -> None:
        """Raise ValueError if the images or labels of `split` differ from these settings."""
        self.check(split.train)  # covers the test set: a Split's sets match
        came = len(split.train), len(split.test), len(split.validation or ())
        expected = self.training_images, self.test_images, self.validation_images
        if came != expected:
            held_out = any((came[2], expected[2]))
            raise ValueError(
                f"{split.train.name}: has {came[0]} training and {came[1]} test images"
                f"{f' and {came[2]} for validation' if held_out else ''}; the settings say "
                f"{expected[0]} and {expected[1]}{f' and {expected[2]}' if held_out else ''}"
            )
        self._check_bits(split.train, "training", self.training_sha256)
        self.check_test(split.test)
        if split.validation is not None:
            self._check_bits(split.validation, "validation", self.validation_sha256)

    def check_statistics(self, dataset: Dataset) -> None:
        """Raise ValueError if the images of `dataset` have another mean or deviation."""
        came, expected = _statistics(dataset), (self.mean, self.std)
        if not np.allclose(came, expected, rtol=1e-9, atol=0):  # they were not exact always
            raise ValueError(
                f"{dataset.name}: mean and standard deviation of the training images are "
                f"{came}; the settings say {expected}"
            )

    def check_test(self, dataset: Dataset) -> None:
        """Raise ValueError if `dataset` is not the test set of these settings."""
        self._check_bits(dataset, "test", self.test_sha256)

    def _check_bits(self, dataset: Dataset, part: str, sha256: str | None) -> None:
        if sha256 is not None and _sha256(dataset) != sha256:
            raise ValueError(
                f"{dataset.name}: the {part} images or labels have changed: their SHA-256 is "
                f"{_sha256(dataset)}; the settings say {sha256}"
            )


def with_preparation(contents: Any) -> Any:
    """Add a missing preparation: that of the version which wrote the settings."""
    if not isinstance(contents, dict) or "preparation" in contents:
        return contents
    source = contents.get("source")
    if source in ("digits", "mnist"):
        preparation = MNIST
    else:
        arrays = source == "fashion-mnist" or str(source).lower().endswith(".npz")
        preparation = IMAGE if arrays else OPAQUE
    return {**contents, "preparation": preparation}


def _sizes_and_hashes(split: Split) -> dict[str, Any]:
    """Return the sizes and hashes of the images and labels."""
    return {
        "training_images": len(split.train),
        "test_images": len(split.test),
        "training_sha256": _sha256(split.train),
        "test_sha256": _sha256(split.test),
        "validation_images": len(split.validation or ()),
        "validation_sha256": _sha256(split.validation) if split.validation is not None else None,
    }


def _sha256(dataset: Dataset) -> str:
    """Return the SHA-256 of shape, labels and images, in this order; machine-independent."""
    digest = hashlib.sha256(repr(dataset.images.shape).encode())
    digest.update(np.ascontiguousarray(dataset.labels, "<i8").data)
    for start in range(0, len(dataset), 1000):  # in chunks: a view is copied
        digest.update(np.ascontiguousarray(dataset.images[start : start + 1000]).data)
    return digest.hexdigest()


def located(source: str) -> str:
    """Return a source of data as settings have it: the name of a set, or a path from the root."""
    return source if source in NAMED else str(Path(source).resolve())


def _statistics(dataset: Dataset) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel, the same bits on every machine."""
    C = dataset.images.shape[1]
    counts = np.zeros((C, 256), np.int64)
    for start in range(0, len(dataset), 1000):  # in chunks: bincount converts to 8 bytes
        for c in range(C):
            pixels = dataset.images[start : start + 1000, c].reshape(-1)
            counts[c] += np.bincount(pixels, minlength=256)
    n, gray = int(counts[0].sum()), np.arange(256)
    sums, squares = (counts @ gray).tolist(), (counts @ gray**2).tolist()  # integers: exact
    mean = tuple(total / (255 * n) for total in sums)
    pairs = zip(sums, squares, strict=True)
    variances = ((n * square - total**2) / (255 * n) ** 2 for total, square in pairs)
    return mean, tuple(math.sqrt(v) or 1.0 for v in variances)  # constant: nothing to scale
