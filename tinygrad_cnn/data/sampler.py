"""Samplers: the examples of an epoch, other than each of them once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_cnn.data.errors import DataError
from tinygrad_cnn.support.arguments import flag, whole

__all__ = ["ClassBalancedSampler", "Sampler", "WeightedRandomSampler"]


class Sampler:
    """Base class: draws the examples of an epoch.

    A `DataLoader` calls `draw` with a generator made from its seed and the epoch. So a sampler has
    no state: a resumed run draws what an uninterrupted one would have drawn.

    Attributes
    ----------
    part : (int, int)
        The part of each batch that the loader makes, and the number of parts; (0, 1) for all of it.
        The first parts are larger by one example if the batch cannot be divided evenly, and the
        last are empty if it has fewer examples than parts. Transforms of different parts draw
        different random numbers.

    Examples
    --------
    >>> class HardestFirst(Sampler):
    ...     def __init__(self, losses):
    ...         self.losses = losses
    ...     def __len__(self):
    ...         return len(self.losses)
    ...     def draw(self, rng):
    ...         return np.argsort(self.losses)[::-1]
    >>> HardestFirst([0.5, 2.0, 1.0]).draw(np.random.default_rng(0))
    array([1, 2, 0])
    """

    part: tuple[int, int] = (0, 1)

    def __len__(self) -> int:
        """Return the number of examples per epoch."""
        raise NotImplementedError(f"{type(self).__name__} has no __len__")

    def draw(self, rng: np.random.Generator) -> NDArray[np.integer[Any]]:
        """Return the indices of the examples of an epoch, in order."""
        raise NotImplementedError(f"{type(self).__name__} has no draw(rng)")


class WeightedRandomSampler(Sampler):
    """Draw each example with a probability proportional to its weight.

    Parameters
    ----------
    weights : array_like, shape (N,)
        One weight per example, 0 or more; they need not sum to 1.
    num_samples : int
        The number of examples per epoch.
    replacement : bool
        Whether an example can be drawn again in the same epoch.

    Raises
    ------
    ValueError
        If a weight is negative or not finite, all are 0, or `num_samples` examples cannot be drawn
        without replacement.

    Examples
    --------
    >>> sampler = WeightedRandomSampler([0.0, 1.0, 3.0], num_samples=8)
    >>> sampler.draw(np.random.default_rng(0))
    array([2, 2, 1, 1, 2, 2, 2, 2])
    """

    def __init__(self, weights: ArrayLike, num_samples: int, replacement: bool = True) -> None:
        values = np.asarray(weights, np.float64)
        if values.ndim != 1 or not values.size:
            raise ValueError(
                f"WeightedRandomSampler: weights have shape {values.shape}, expected (N,)"
            )
        if not (np.isfinite(values) & (values >= 0)).all() or not values.any():
            raise ValueError(
                "WeightedRandomSampler: weights must be finite and 0 or more, not all 0; "
                f"the least is {values.min():g}, the largest {values.max():g}"
            )
        self.weights = values
        self.num_samples = whole("WeightedRandomSampler", "num_samples", num_samples)
        self.replacement = flag("WeightedRandomSampler", "replacement", replacement)
        possible = np.count_nonzero(values)
        if not replacement and num_samples > possible:
            raise ValueError(
                f"WeightedRandomSampler: num_samples is {num_samples}, but only {possible} "
                "examples have a weight above 0: pass replacement=True"
            )

    def __len__(self) -> int:
        return self.num_samples

    def draw(self, rng: np.random.Generator) -> NDArray[np.integer[Any]]:
        """Return the indices of an epoch."""
        shares = self.weights / self.weights.sum()
        return rng.choice(len(shares), self.num_samples, self.replacement, shares)

    def __repr__(self) -> str:
        return (
            f"WeightedRandomSampler({len(self.weights)} weights, num_samples={self.num_samples}, "
            f"replacement={self.replacement})"
        )


class ClassBalancedSampler(Sampler):
    """Draw as many examples of each class, whatever their number in the set.

    A class with fewer examples than its share repeats them, each equally often up to 1. Of a class
    with more, each epoch has other examples, none of them twice.

    Parameters
    ----------
    labels : array_like of int, shape (N,)
        The class of each example.
    num_samples : int, optional
        The number of examples per epoch; by default N. The shares differ by 1 at most.

    Raises
    ------
    DataError
        If the labels are not integers of shape (N,).
    ValueError
        If `num_samples` is below 1.

    Examples
    --------
    >>> labels = np.array([0, 0, 0, 0, 0, 0, 1, 1])
    >>> np.bincount(labels[ClassBalancedSampler(labels).draw(np.random.default_rng(0))])
    array([4, 4])
    """

    def __init__(self, labels: ArrayLike, num_samples: int | None = None) -> None:
        values: NDArray[Any] = np.asarray(labels)
        if values.ndim != 1 or not values.size or values.dtype.kind not in "biu":
            raise DataError(
                f"ClassBalancedSampler: labels are {values.dtype} of shape {values.shape}; "
                "expected integers of shape (N,)"
            )
        self._members = [np.flatnonzero(values == label) for label in np.unique(values)]
        self.num_samples = (
            len(values)
            if num_samples is None
            else whole("ClassBalancedSampler", "num_samples", num_samples)
        )

    def __len__(self) -> int:
        return self.num_samples

    def draw(self, rng: np.random.Generator) -> NDArray[np.integer[Any]]:
        """Return the indices of an epoch."""
        share, rest = divmod(self.num_samples, len(self._members))
        larger = set(rng.permutation(len(self._members))[:rest].tolist())
        drawn = []
        for label, members in enumerate(self._members):
            rounds, others = divmod(share + (label in larger), len(members))
            drawn += [members] * rounds
            drawn.append(rng.permutation(members)[:others])
        return rng.permutation(np.concatenate(drawn))

    def __repr__(self) -> str:
        return f"ClassBalancedSampler({len(self._members)} classes, num_samples={self.num_samples})"
