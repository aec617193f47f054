"""The images in a cell of a confusion matrix: test images, and labeled drawings."""

from __future__ import annotations

import functools
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

import tinygrad_cnn as tg
from tinygrad_cnn.data import Dataset, Split, is_local, load
from tinygrad_cnn.nn import Module
from tinygrad_cnn.studio.predictor import LoadedModel
from tinygrad_cnn.train import RunSettings

__all__ = ["Classified", "classify", "classify_test_images", "split_of", "test_images"]

BATCH = 100


class Classified(NamedTuple):
    """The predicted class of each image, and its probability.

    Attributes
    ----------
    predicted : ndarray of int64, shape (N,)
    probability : ndarray of float, shape (N,)
    """

    predicted: NDArray[np.int64]
    probability: NDArray[np.floating]


@functools.cache
def split_of(name: str) -> Split:
    """Load a data set once."""
    return load(name)


def test_images(settings: RunSettings) -> Dataset:
    """Return the test images of a model's data, or the embedded ones if they are not here."""
    source = settings.data.source
    return split_of(source if is_local(source) else "digits").test


def classify(model: LoadedModel, pixels: NDArray[np.uint8]) -> Classified:
    """Classify images.

    Parameters
    ----------
    model : LoadedModel
    pixels : ndarray of uint8, shape (N, C, H, W)
    """
    predicted = np.zeros(len(pixels), np.int64)
    probability = np.zeros(len(pixels))
    with tg.no_grad(), tg.num_threads(1):
        for start in range(0, len(pixels), BATCH):
            part = slice(start, start + BATCH)
            logits = model.model(tg.Tensor._of(model.prepared(pixels[part])))._array
            shares = tg.softmax(tg.Tensor._of(logits.astype(np.float64)))._array
            predicted[part], probability[part] = shares.argmax(axis=1), shares.max(axis=1)
    return Classified(predicted, probability)


_known: WeakKeyDictionary[Module, Classified] = WeakKeyDictionary()


def classify_test_images(model: LoadedModel) -> Classified:
    """Classify the test images of a model, once while the model stays loaded."""
    if model.model not in _known:
        _known[model.model] = classify(model, test_images(model.settings).images)
    return _known[model.model]
