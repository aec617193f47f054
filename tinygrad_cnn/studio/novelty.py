"""Out-of-distribution detection: whether an input is like the digits that a model learned from.

A softmax cannot tell: it shares 100 % among the ten digits, whatever the input. So the features of
the input, which the model computes on its way to the logits, are compared with those of training
images. An input whose features are farther from all of them than those of nearly all test images
is called unlike them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, TypeAlias, TypeVar
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.data import Dataset, Transform
from tinygrad_cnn.engine.threads import matmul
from tinygrad_cnn.train import AUGMENTATIONS, RunSettings
from tinygrad_cnn.train.evaluation import in_mode
from tinygrad_cnn.train.state import pack_arrays, unpack_arrays

__all__ = ["FALSE_POSITIVE_RATE", "Detector", "Features"]

FALSE_POSITIVE_RATE = 0.02
"""The share of the test images that are called unlike the training images."""

PROTOTYPES = 50
"""Prototypes of each class."""

IMAGES = 300
"""Training images of each class that they are made of, each as it is and once augmented."""

ROUNDS = 5
BATCH = 250

T = TypeVar("T")
_Rows: TypeAlias = NDArray[np.float32]
_seen: ContextVar[list[_Rows] | None] = ContextVar("features", default=None)


class Features:
    """The features that a model computes: the inputs of its linear layers but the last.

    The last linear layer sees little but the differences between the classes; it counts only if it
    is the only one.

    Parameters
    ----------
    model : Module
        It gets a hook at these layers, once, which several threads may use at the same time.
    """

    _watched: ClassVar[WeakSet[nn.Module]] = WeakSet()

    def __init__(self, model: nn.Module) -> None:
        if model in self._watched:
            return
        self._watched.add(model)
        layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
        for layer in layers[:-1] or layers:
            layer.register_forward_pre_hook(self._note)

    @staticmethod
    def _note(module: nn.Module, args: tuple[Any, ...]) -> None:
        seen = _seen.get()
        if seen is not None:
            x = args[0]
            array = x._array if isinstance(x, tg.Tensor) else x
            seen.append(_unit(array.reshape(len(array), -1)))

    @staticmethod
    def of(compute: Callable[[], T]) -> tuple[T, list[_Rows]]:
        """Return the result of a call of the model, and the features, rows of length 1."""
        seen: list[_Rows] = []
        token = _seen.set(seen)
        try:
            return compute(), seen
        finally:
            _seen.reset(token)


@dataclass(frozen=True)
class Detector:
    """A detector of inputs unlike the training images of a model.

    Attributes
    ----------
    prototypes : list of ndarray of float32
        For each layer of `Features`, typical features of each class, (classes · count, features),
        as rows of length 1.
    medians : ndarray of float, shape (layers,)
        The median distance of the test images, by which distances are divided.
    threshold : float
        The score that the share `false_positive_rate` of the test images exceeds.
    false_positive_rate : float
    """

    prototypes: list[_Rows]
    medians: NDArray[np.float64]
    threshold: float
    false_positive_rate: float

    @classmethod
    def fit(
        cls, model: nn.Module, settings: RunSettings, train: Dataset, test: Dataset
    ) -> Detector | None:
        """Return the detector of a model, calibrated on images that it was not trained on.

        Parameters
        ----------
        model : Module
            None is returned if it has no linear layer, or a class has no training image.
        settings : RunSettings
            The settings it was trained with: its normalization and its augmentation.
        train, test : Dataset

        Notes
        -----
        Prototypes are the centers of spherical k-means (Dhillon and Modha, 2001), for each class.
        The score is the cosine distance to the nearest prototype of the predicted class, divided by
        its median on the test images, and summed over the layers: a nearest-neighbor detector
        (Sun, Ming, Zhu and Li, "Out-of-distribution detection with deep nearest neighbors", 2022).
        """
        rng = np.random.default_rng(0)
        chosen = [_some(np.flatnonzero(train.labels == label), rng) for label in _labels(train)]
        if not all(map(len, chosen)):
            return None
        images = train.images[np.concatenate(chosen)]
        labels = np.repeat(np.arange(len(chosen)), [len(each) for each in chosen])
        augmented = images
        for transform in AUGMENTATIONS[settings.training.augment]:
            augmented = transform(augmented, rng)
        Features(model)
        normalize = settings.data.normalize()
        plain, turned = (_features(model, each, normalize)[1] for each in (images, augmented))
        if not plain:
            return None
        prototypes = [
            np.concatenate(
                [
                    _centers(np.concatenate([one[labels == i], two[labels == i]]), rng)
                    for i in range(len(chosen))
                ]
            )
            for one, two in zip(plain, turned, strict=True)
        ]
        logits, features = _features(model, test.images, normalize)
        unscaled = cls(prototypes, np.ones(len(prototypes)), np.inf, 0.0)
        distances = unscaled._distances(features, logits.argmax(axis=1))
        medians = np.maximum(np.median(distances, axis=1), 1e-6)
        scores = (distances / medians[:, None]).sum(axis=0)
        threshold = float(np.quantile(scores, 1 - FALSE_POSITIVE_RATE))
        return cls(prototypes, medians, threshold, float(np.mean(scores > threshold)))

    def score(self, features: list[_Rows], predicted: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the out-of-distribution scores of inputs, of shape (N,).

        Parameters
        ----------
        features : list of ndarray
            From `Features.of`.
        predicted : ndarray of int, shape (N,)
            The predicted classes.
        """
        scores: NDArray[np.float64] = (
            self._distances(features, predicted) / self.medians[:, None]
        ).sum(axis=0)
        return scores

    def _distances(self, features: list[_Rows], predicted: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the cosine distances (layers, N) to the predicted class."""
        distances = np.empty((len(features), len(predicted)))
        for row, known, each in zip(distances, self.prototypes, features, strict=True):
            likeness = matmul(each, known.T).reshape(len(each), -1, PROTOTYPES)
            row[:] = 1 - likeness[np.arange(len(each)), predicted].max(axis=1)
        return distances

    def pack(self) -> bytes:
        """Serialize the detector; `unpack` reads it. The prototypes are rounded to a byte."""
        arrays: dict[str, NDArray[Any]] = {"medians": self.medians}
        for place, known in enumerate(self.prototypes):
            most = np.maximum(abs(known).max(axis=1, keepdims=True), 1e-9)
            arrays[f"prototypes.{place}"] = np.rint(known / most * 127).astype(np.int8)
        arrays["calibration"] = np.array([self.threshold, self.false_positive_rate])
        return pack_arrays(arrays, {})

    @classmethod
    def unpack(cls, contents: bytes) -> Detector:
        """Read a detector that `pack` has written."""
        arrays, _ = unpack_arrays(contents, "the detector")
        medians = arrays["medians"]
        prototypes = [_unit(arrays[f"prototypes.{place}"]) for place in range(len(medians))]
        threshold, rate = arrays["calibration"].tolist()
        return cls(prototypes, medians, threshold, rate)


def _features(
    model: nn.Module, images: NDArray[Any], normalize: Transform
) -> tuple[_Rows, list[_Rows]]:
    """Return the logits and the features of images."""
    logits: list[_Rows] = []
    collected: list[list[_Rows]] = []
    with in_mode(model, training=False), tg.no_grad():
        for start in range(0, len(images), BATCH):
            pixels = np.divide(images[start : start + BATCH], np.float32(255), dtype=np.float32)
            batch = tg.Tensor._of(normalize(pixels, np.random.default_rng(0)))
            outputs, features = Features.of(partial(model, batch))
            logits.append(outputs._array)
            collected.append(features)
    return np.concatenate(logits), [np.concatenate(layer) for layer in zip(*collected, strict=True)]


def _labels(dataset: Dataset) -> range:
    return range(len(dataset.classes))


def _some(places: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.intp]:
    """Return at most ``IMAGES`` of some places."""
    return rng.choice(places, min(IMAGES, len(places)), replace=False)


def _centers(features: _Rows, rng: np.random.Generator) -> _Rows:
    """Return the centers of spherical k-means."""
    centers = features[rng.choice(len(features), PROTOTYPES, replace=len(features) < PROTOTYPES)]
    for _ in range(ROUNDS):
        nearest = matmul(features, centers.T).argmax(axis=1)
        members = np.arange(len(centers))[:, np.newaxis] == nearest
        sums = matmul(members.astype(np.float32), features)
        empty = ~sums.any(axis=1)
        sums[empty] = centers[empty]
        centers = _unit(sums)
    return centers


def _unit(rows: NDArray[Any]) -> _Rows:
    """Return rows scaled to length 1; rows of zeros stay."""
    lengths = np.linalg.norm(rows.astype(np.float32), axis=1, keepdims=True)
    scaled: _Rows = rows / np.maximum(lengths, np.float32(1e-9))
    return scaled.astype(np.float32)
