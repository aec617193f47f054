"""A shared training course: the same weights and the same batches in order for all sides."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .task import Task

TESTED_AT_ONCE = 500
WARM_UP = 3  # steps


class Learner(NamedTuple):
    """A framework's implementation of a network.

    Attributes
    ----------
    step : callable
        Takes images, labels and a learning rate; forward, cross-entropy, backward, plain gradient
        descent; returns the loss.
    infer : callable
        Takes images, and returns the logits as an ndarray.
    """

    step: Callable[[NDArray[Any], NDArray[Any], float], float]
    infer: Callable[[NDArray[Any]], NDArray[Any]]


class CourseEpoch(NamedTuple):
    """An epoch of a course.

    Attributes
    ----------
    losses : list of float
        The loss of each update.
    seconds : float
        Of the updates only.
    accuracy : float
        On the test images, after the epoch.
    """

    losses: list[float]
    seconds: float
    accuracy: float


class Course(NamedTuple):
    """A training run, as data.

    Attributes
    ----------
    task : Task
        The network, its initial weights, and all training examples.
    rates : ndarray, shape (updates,)
        The learning rate of each update.
    batches : ndarray of int64, shape (updates, batch)
        Indices of the examples of each update.
    test_images, test_labels : ndarray
    updates_per_epoch : int
        The accuracy is measured after each epoch.
    shift : int
        Move each training image by up to this many pixels in both directions, at random.
    """

    task: Task
    rates: NDArray[np.float64]
    batches: NDArray[np.int64]
    test_images: NDArray[np.float32]
    test_labels: NDArray[np.int64]
    updates_per_epoch: int
    shift: int = 0

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the course to a file that needs only NumPy to read."""
        weights = {f"weight{k}": weight for k, weight in enumerate(self.task.weights)}
        np.savez(
            path,
            layers=json.dumps(self.task.layers),
            images=self.task.images,
            labels=self.task.targets,
            rates=self.rates,
            batches=self.batches,
            test_images=self.test_images,
            test_labels=self.test_labels,
            updates_per_epoch=self.updates_per_epoch,
            shift=self.shift,
            **weights,  # type: ignore[arg-type]  # savez's own argument is not an array
        )

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Course:
        """Read a file written by `write`."""
        with np.load(path) as file:
            count = sum(name.startswith("weight") for name in file)
            weights = [file[f"weight{k}"] for k in range(count)]
            layers = json.loads(str(file["layers"]))
            task = Task(layers, weights, file["images"], file["labels"], "")
            return cls(
                task,
                file["rates"],
                file["batches"],
                file["test_images"],
                file["test_labels"],
                int(file["updates_per_epoch"]),
                int(file["shift"]),
            )

    def epochs(self, learner: Learner) -> Iterator[CourseEpoch]:
        """Train epoch by epoch, once the caller asks for the next."""
        self._warm_up(learner)
        rng = np.random.default_rng(0)  # the same shifts for all sides
        for start in range(0, len(self.batches), self.updates_per_epoch):
            part = slice(start, start + self.updates_per_epoch)
            losses, seconds = [], 0.0
            for batch, rate in zip(self.batches[part], self.rates[part].tolist(), strict=True):
                images, labels = self.task.images[batch], self.task.targets[batch]
                if self.shift:
                    images = _shifted(images, self.shift, rng)
                started = perf_counter()
                losses.append(float(learner.step(images, labels, rate)))
                seconds += perf_counter() - started
            yield CourseEpoch(losses, seconds, self._accuracy(learner))

    def _warm_up(self, learner: Learner) -> None:
        """Take steps at rate 0, which change no weight: the first are slow in some frameworks."""
        first = self.batches[0]
        for _ in range(WARM_UP):
            learner.step(self.task.images[first], self.task.targets[first], 0.0)

    def _accuracy(self, learner: Learner) -> float:
        right = 0
        for start in range(0, len(self.test_labels), TESTED_AT_ONCE):
            part = slice(start, start + TESTED_AT_ONCE)
            guesses = learner.infer(self.test_images[part]).argmax(axis=1)
            right += int((guesses == self.test_labels[part]).sum())
        return right / len(self.test_labels)


def _shifted(
    images: NDArray[np.float32], most: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Move each image by up to `most` pixels; the border gets the smallest value, the background's.

    All windows of the padded images are a view of shape (N, C, 2·most + 1, 2·most + 1, H, W).
    """
    sides = [(0, 0), (0, 0), (most, most), (most, most)]
    padded = np.pad(images, sides, constant_values=images.min())
    windows = np.lib.stride_tricks.sliding_window_view(padded, images.shape[2:], axis=(2, 3))
    rows, columns = rng.integers(2 * most + 1, size=(2, len(images)))
    return np.ascontiguousarray(windows[np.arange(len(images)), :, rows, columns])
