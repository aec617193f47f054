"""The training set of a fine-tuning: drawings mixed with replayed training images.

Training on drawings alone makes a model forget the rest (McCloskey and Cohen, "Catastrophic
interference in connectionist networks", 1989); replaying images from its first training avoids it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.data import Dataset
from tinygrad_cnn.train import RunError
from tinygrad_cnn.train.state import read_arrays, write_arrays

__all__ = ["Lesson", "mixed"]

SHARE = 5  # one image in five is a drawing


class Lesson(NamedTuple):
    """The drawings of a fine-tuning, as stored at its start.

    Attributes
    ----------
    images : ndarray of uint8, shape (N, 1, 28, 28)
        Drawings to train with.
    labels : ndarray of int64, shape (N,)
    held_images : ndarray of uint8, shape (M, 1, 28, 28)
        Drawings held back from training, to evaluate before and after.
    held_labels : ndarray of int64, shape (M,)
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    held_images: NDArray[np.uint8]
    held_labels: NDArray[np.int64]

    def write(self, path: Path) -> None:
        """Write the lesson to a file atomically."""
        write_arrays(path, self._asdict())

    @classmethod
    def read(cls, path: Path) -> Lesson:
        """Read a file written by `write`; RunError if it is damaged."""
        try:
            return cls(**read_arrays(path))
        except TypeError as error:
            raise RunError(f"{path}: is not a fine-tuning file: {error}") from error


def mixed(base: Dataset, lesson: Lesson, replay: int, seed: int) -> Dataset:
    """Return the training set: every drawing, and a sample of `base`.

    Each drawing is repeated until drawings make up about a fifth of the set; augmentation changes
    every copy differently in each epoch.

    Parameters
    ----------
    base : Dataset
        The model's earlier training set.
    lesson : Lesson
    replay : int
        Number of images to take from `base`; all, if it has fewer.
    seed : int
        Seed of the sample.

    Returns
    -------
    Dataset
        The replayed images in the order of `base`, then the drawings.

    Examples
    --------
    >>> from tinygrad_cnn.data import digits
    >>> nothing = np.zeros((0, 1, 28, 28), np.uint8), np.zeros(0, np.int64)
    >>> drawn = np.zeros((3, 1, 28, 28), np.uint8), np.array([7, 7, 1])
    >>> dataset = mixed(digits().train, Lesson(*drawn, *nothing), replay=40, seed=0)
    >>> len(dataset), dataset.labels[40:]
    (49, array([7, 7, 1, 7, 7, 1, 7, 7, 1]))
    """
    replay = min(replay, len(base))
    chosen = np.sort(np.random.default_rng(seed).choice(len(base), replay, replace=False))
    count = max(1, round(replay / (SHARE - 1) / max(1, len(lesson.labels))))
    images = np.concatenate([base.images[chosen], *[lesson.images] * count])
    labels = np.concatenate([base.labels[chosen], *[lesson.labels] * count])
    return replace(base, images=images, labels=labels, name=f"{base.name} and drawings")
