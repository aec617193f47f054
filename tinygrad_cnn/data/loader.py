"""`DataLoader`: batches in an order determined by seed and epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.data.dataset import Dataset
from tinygrad_cnn.data.errors import check_finite
from tinygrad_cnn.engine.arrays import read_only
from tinygrad_cnn.support.arguments import native, whole

__all__ = ["DataLoader", "Transform"]

Transform: TypeAlias = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]
"""A function ``(images, rng)`` that returns a changed batch of images."""


class DataLoader:
    """Iterate over a set in batches.

    Epoch `e` depends on ``(seed, e)`` alone: the order is drawn from ``default_rng([seed, e])``,
    and the transform of batch `b` uses ``default_rng([seed, e, b + 1])``. A resumed run sets
    ``epoch`` and sees the same batches.

    Parameters
    ----------
    dataset : Dataset, or pair of ndarrays (images, labels)
        Images of uint8, float32 or float64, shape (N, ...); labels of shape (N, ...): integers,
        or floats as targets.
    batch_size : int or None
        Examples per batch; None for the whole set as one batch (plain gradient descent).
    shuffle : bool
        Whether to draw a new order every epoch.
    drop_last : bool
        Whether to drop a last batch that is smaller than the others.
    seed : int
        The seed of orders and transforms; not negative.
    transform : callable, optional
        ``transform(images, rng) -> images``, applied to each batch of floats.

    Attributes
    ----------
    epoch : int
        The epoch of the next iteration. It increases by one when an iteration starts, and can be
        set.

    Yields
    ------
    images : ndarray of float32, or float64 if the set is
        Shape (B, C, H, W). uint8 pixels become float32 in [0, 1]: ``x / 255``; floats are
        unchanged.
    labels : ndarray of int64, shape (B,)
        Or the float targets of the set.

    Raises
    ------
    TypeError
        If the set or the transform has another type.
    ValueError
        If the set is empty, images and labels differ in number, `batch_size` is below 1, `seed`
        is negative, or `drop_last` leaves no batch; `DataError` if images or labels have NaN or
        infinity.

    Notes
    -----
    Without shuffling, floats and labels are read-only views of the set, not copies.

    Examples
    --------
    >>> from tinygrad_cnn.data import digits
    >>> loader = DataLoader(digits().train, batch_size=64, shuffle=True)
    >>> images, labels = next(iter(loader))
    >>> images.shape, images.dtype, labels.shape
    ((64, 1, 28, 28), dtype('float32'), (64,))
    >>> len(loader), loader.epoch
    (157, 1)
    """

    def __init__(
        self,
        dataset: Dataset | tuple[NDArray[Any], NDArray[Any]],
        batch_size: int | None = 64,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int = 0,
        transform: Transform | None = None,
    ) -> None:
        self._images, self._labels = _arrays(dataset)
        count = len(self._images)
        if batch_size is not None:
            batch_size = whole("DataLoader", "batch_size", batch_size)
            if drop_last and batch_size > count:
                raise ValueError(
                    f"DataLoader: batch_size is {batch_size} but there are {count} examples: "
                    "drop_last would leave no batch"
                )
        if transform is not None and not callable(transform):
            raise TypeError(f"DataLoader: transform is {transform!r}; expected a callable")
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.seed = whole("DataLoader", "seed", seed, 0)
        self.transform = transform
        self._epoch = 0

    @property
    def epoch(self) -> int:
        """The epoch of the next iteration."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch = whole("DataLoader", "epoch", epoch, 0)

    def __len__(self) -> int:
        size = self.batch_size or len(self._images)
        full, rest = divmod(len(self._images), size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        # Not a generator: the epoch must increase when iter() is called, not later.
        epoch = self._epoch
        self._epoch += 1
        return self._batches(epoch)

    def __repr__(self) -> str:
        return (
            f"DataLoader({len(self._images)} examples in {len(self)} batches, "
            f"batch_size={self.batch_size}, shuffle={self.shuffle}, seed={self.seed}, "
            f"epoch={self.epoch}, transform={self.transform})"
        )

    def _batches(self, epoch: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        count = len(self._images)
        size = self.batch_size or count
        order = (
            np.random.default_rng([self.seed, epoch]).permutation(count) if self.shuffle else None
        )
        for batch in range(len(self)):
            part = slice(batch * size, (batch + 1) * size)
            chosen = part if order is None else order[part]
            images = _as_floats(self._images[chosen])
            if self.transform is not None:
                # + 1: SeedSequence treats [seed, epoch, 0] as [seed, epoch]
                rng = np.random.default_rng([self.seed, epoch, batch + 1])
                images = self.transform(images, rng)
            yield images, self._labels[chosen]


def _arrays(
    dataset: Dataset | tuple[NDArray[Any], NDArray[Any]],
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Check a set and return its two arrays, read-only."""
    if isinstance(dataset, Dataset):
        images: NDArray[Any] = dataset.images
        labels: NDArray[Any] = dataset.labels
    elif isinstance(dataset, tuple | list) and len(dataset) == 2:
        images, labels = (native(np.asarray(part)) for part in dataset)
    else:
        raise TypeError(
            f"DataLoader: dataset is a {type(dataset).__name__}; "
            "expected a Dataset or a pair (images, labels)"
        )
    if images.dtype not in (np.uint8, np.float32, np.float64) or images.ndim == 0:
        raise TypeError(
            f"DataLoader: images are {images.dtype} of shape {images.shape}; "
            "expected uint8, float32 or float64 of shape (N, ...)"
        )
    if labels.dtype.kind not in "iuf" or labels.ndim == 0:
        raise TypeError(
            f"DataLoader: labels are {labels.dtype} of shape {labels.shape}; "
            "expected integers or floats of shape (N, ...)"
        )
    if len(images) != len(labels):
        raise ValueError(f"DataLoader: {len(images)} images but {len(labels)} labels")
    if len(images) == 0:
        raise ValueError("DataLoader: the dataset is empty; expected at least one example")
    check_finite(images, "DataLoader: images")
    check_finite(labels, "DataLoader: labels")
    if labels.dtype.kind != "f":
        labels = labels.astype(np.int64, copy=False)
    return read_only(images), read_only(labels)


def _as_floats(images: NDArray[Any]) -> NDArray[Any]:
    if images.dtype != np.uint8:
        return images
    floats: NDArray[Any] = np.divide(images, np.float32(255), dtype=np.float32)  # in one pass
    return floats
