"""`Dataset`, a labeled set of images, and `Split`, a training and a test set."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.data.errors import DataError
from tinygrad_cnn.data.labels import as_labels
from tinygrad_cnn.data.picture import IMAGE, PREPARATIONS
from tinygrad_cnn.engine.arrays import read_only

__all__ = ["Dataset", "Split", "number_classes"]

MOST_CLASSES = 65_536


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Images and their labels, checked at construction and read-only.

    Parameters
    ----------
    images : ndarray of uint8, shape (N, C, H, W)
        The pixels, 0 to 255.
    labels : ndarray of int64, shape (N,)
        The class of each image, 0 to ``len(classes) - 1``.
    classes : tuple of str
        The name of each class.
    name : str
        The name of the set in messages and reports.
    preparation : str
        The preparation of image files for this set: see `read_image`.

    Raises
    ------
    DataError
        If a shape, dtype, length, label, class name or preparation is not as above.

    Examples
    --------
    >>> images = np.zeros((4, 1, 28, 28), np.uint8)
    >>> dataset = Dataset(images, np.array([0, 1, 1, 0]), ("cat", "dog"), "pets")
    >>> dataset
    Dataset('pets': 4 images of 1x28x28 in 2 classes)
    >>> len(dataset[:3]), dataset[dataset.labels == 1].labels
    (3, array([1, 1]))
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    name: str
    preparation: str = IMAGE

    def __post_init__(self) -> None:
        _check(self, "images", np.uint8, ("N", "C", "H", "W"))
        _check(self, "labels", np.int64, ("N",))
        if 0 in self.images.shape[1:]:
            raise DataError(
                f"{self.name}: images have shape {self.images.shape}: C, H and W must be positive"
            )
        if len(self.images) != len(self.labels):
            raise DataError(f"{self.name}: {len(self.images)} images but {len(self.labels)} labels")
        classes = tuple(self.classes)
        named = bool(classes) and all(isinstance(name, str) for name in classes)
        if not named or len(set(classes)) < len(classes):
            raise DataError(
                f"{self.name}: classes are {classes}; expected distinct names, 1 or more"
            )
        if self.preparation not in PREPARATIONS:
            raise DataError(
                f"{self.name}: preparation is {self.preparation!r}; expected one of "
                f"{', '.join(map(repr, PREPARATIONS))}"
            )
        as_labels(self.labels, len(classes), f"{self.name}: labels")
        object.__setattr__(self, "classes", classes)
        for field in ("images", "labels"):
            object.__setattr__(self, field, read_only(getattr(self, field)))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(
        self, index: slice | Sequence[int] | NDArray[np.integer] | NDArray[np.bool_]
    ) -> Dataset:
        """Select examples.

        Parameters
        ----------
        index : slice, or integers or booleans of shape (n,)
            A slice returns views; an index array or a mask copies.

        Returns
        -------
        Dataset
            The selected examples, with the same classes and name.

        Raises
        ------
        TypeError
            For any other index, including a single integer.
        IndexError
            If an index is out of range, or a mask has the wrong length.
        """
        if not isinstance(index, slice):
            chosen = np.asarray(index)
            if chosen.size == 0 and isinstance(index, Sequence):
                chosen = chosen.astype(np.intp)  # NumPy makes [] floats
            if chosen.ndim != 1 or chosen.dtype.kind not in "bui":
                raise TypeError(
                    f"{self.name}: index {index!r}: expected a slice, integers or booleans of "
                    "shape (n,); one example is dataset[i : i + 1]"
                )
            index = chosen
        return replace(self, images=self.images[index], labels=self.labels[index])

    def __repr__(self) -> str:
        size = "x".join(map(str, self.images.shape[1:]))
        return (
            f"Dataset({self.name!r}: {len(self)} images of {size} in {len(self.classes)} classes)"
        )

    def split(self, fraction: float, seed: int = 0) -> tuple[Dataset, Dataset]:
        """Split at random into two sets with the same class proportions.

        A class with two or more examples is present in both sets; a single example goes to the
        first. Both sets keep the original order.

        Parameters
        ----------
        fraction : float
            The fraction in the first set, between 0 and 1: 0.8 for 80 : 20.
        seed : int
            The same seed gives the same split.

        Returns
        -------
        train, validation : Dataset
            Two disjoint sets, which together contain all examples.

        Raises
        ------
        ValueError
            If `fraction` is not strictly between 0 and 1.
        DataError
            If there are too few examples for two sets.

        Examples
        --------
        >>> from tinygrad_cnn.data import digits
        >>> train, validation = digits().train.split(0.9, seed=1)
        >>> len(train), len(validation)
        (9000, 1000)
        """
        if not 0 < fraction < 1:
            raise ValueError(f"split: fraction is {fraction}; expected strictly between 0 and 1")

        def share(count: int) -> int:
            return min(max(round(fraction * count), 1), max(count - 1, 1))

        first = self._choose(share, seed)
        if first.all():
            raise DataError(
                f"{self.name}: {len(self)} examples cannot be split in two; "
                "expected a class with at least 2"
            )
        return self[first], self[~first]

    def balanced(self, per_class: int, seed: int = 0) -> Dataset:
        """Select the same number of examples of each class, at random.

        Parameters
        ----------
        per_class : int
            The number of examples per class.
        seed : int
            The same seed gives the same selection.

        Returns
        -------
        Dataset
            ``per_class * len(classes)`` examples in the original order.

        Raises
        ------
        ValueError
            If `per_class` is less than 1.
        DataError
            If a class has too few examples.

        Examples
        --------
        >>> from tinygrad_cnn.data import digits
        >>> np.bincount(digits().train.balanced(3).labels)
        array([3, 3, 3, 3, 3, 3, 3, 3, 3, 3])
        """
        if per_class < 1:
            raise ValueError(f"balanced: per_class is {per_class}; expected at least 1")
        counts = np.bincount(self.labels, minlength=len(self.classes))
        if counts.min() < per_class:
            scarce = int(counts.argmin())
            raise DataError(
                f"{self.name}: class {self.classes[scarce]!r} has {counts[scarce]} examples; "
                f"balanced needs {per_class} of each"
            )
        return self[self._choose(lambda count: per_class, seed)]

    def _choose(self, share: Callable[[int], int], seed: int) -> NDArray[np.bool_]:
        """Mask of ``share(count)`` random examples of each class, which has ``count``."""
        rng = np.random.default_rng(seed)
        mask = np.zeros(len(self), np.bool_)
        for label in range(len(self.classes)):
            members = np.flatnonzero(self.labels == label)
            mask[rng.permutation(members)[: share(len(members))]] = True
        return mask


@dataclass(frozen=True, repr=False)
class Split:
    """A training set and a test set, and perhaps a validation set.

    Parameters
    ----------
    train, test : Dataset
        With the same classes and image shape.
    validation : Dataset, optional
        A set to choose settings with, so that the test set is not used before the end.

    Raises
    ------
    DataError
        If classes or image shape differ.

    Examples
    --------
    >>> from tinygrad_cnn.data import digits
    >>> digits()
    Split(train=Dataset('digits': 10000 images of 1x28x28 in 10 classes), \
test=Dataset('digits': 2000 images of 1x28x28 in 10 classes))
    """

    train: Dataset
    test: Dataset
    validation: Dataset | None = None

    def __post_init__(self) -> None:
        for part, dataset in self.parts().items():
            if self.train.classes != dataset.classes:
                raise DataError(
                    f"{self.train.name}: train has the classes {self.train.classes} "
                    f"but {part} has {dataset.classes}"
                )
            if self.train.images.shape[1:] != dataset.images.shape[1:]:
                raise DataError(
                    f"{self.train.name}: train has images of shape {self.train.images.shape[1:]} "
                    f"but {part} of {dataset.images.shape[1:]}"
                )

    def parts(self) -> dict[str, Dataset]:
        """Return the sets by name: "train", "test" and, if there is one, "validation"."""
        sets = {"train": self.train, "test": self.test, "validation": self.validation}
        return {name: dataset for name, dataset in sets.items() if dataset is not None}

    def __repr__(self) -> str:
        return f"Split({', '.join(f'{name}={part!r}' for name, part in self.parts().items())})"

    def with_validation(self, fraction: float, seed: int = 0) -> Split:
        """Set aside a validation set from the training set, with the same class proportions.

        Parameters
        ----------
        fraction : float
            The fraction of the training images, between 0 and 1.
        seed : int
            The same seed gives the same sets.

        Returns
        -------
        Split
            With the same test set.

        Raises
        ------
        DataError
            If there is a validation set already, or too few images.
        ValueError
            If `fraction` is not strictly between 0 and 1.

        Examples
        --------
        >>> from tinygrad_cnn.data import digits
        >>> split = digits().with_validation(0.1, seed=1)
        >>> len(split.train), len(split.validation), len(split.test)
        (9000, 1000, 2000)
        """
        if self.validation is not None:
            raise DataError(
                f"{self.train.name}: has a validation set of {len(self.validation)} images "
                "already; leave out val_split (--val-split)"
            )
        if not 0 < fraction < 1:
            raise ValueError(
                f"with_validation: fraction is {fraction}; expected strictly between 0 and 1"
            )
        train, validation = self.train.split(1 - fraction, seed)
        return Split(train, self.test, validation)


def number_classes(
    name: str, train: NDArray[np.int64], *others: NDArray[np.int64]
) -> tuple[str, ...]:
    """Return class names for unnamed labels: "0", "1", ... up to the largest label.

    Parameters
    ----------
    name : str
        The name of the set in the warning.
    train : ndarray of int64
        The training labels, none negative.
    *others : ndarray of int64
        Other labels of the same set.

    Returns
    -------
    tuple of str
        The names; only "0" if there are no labels.

    Warns
    -----
    UserWarning
        If a class has no training image, because the labels do not start at 0 or skip numbers.

    Examples
    --------
    >>> number_classes("toy", np.array([0, 2, 1]), np.array([1]))
    ('0', '1', '2')
    """
    count = 1 + max((int(part.max()) for part in (train, *others) if part.size), default=0)
    empty = np.flatnonzero(np.bincount(train, minlength=count) == 0)
    if train.size and empty.size:
        listed = ", ".join(map(str, empty[:5])) + (", ..." if len(empty) > 5 else "")
        warnings.warn(
            f"{name}: no training image has the label {listed}: {len(empty)} of the {count} "
            f"classes, 0 to {count - 1}, cannot be learned; expected labels from 0, without gaps",
            stacklevel=3,
        )
    return tuple(map(str, range(count)))


def _check(dataset: Dataset, field: str, dtype: type[np.generic], axes: tuple[str, ...]) -> None:
    array = getattr(dataset, field)
    expected = f"expected an array of {np.dtype(dtype)}, shape ({', '.join(axes)})"
    if not isinstance(array, np.ndarray):
        raise DataError(f"{dataset.name}: {field} are a {type(array).__name__}; {expected}")
    if array.dtype != dtype or array.ndim != len(axes):
        raise DataError(
            f"{dataset.name}: {field} are of {array.dtype}, shape {array.shape}; {expected}"
        )
