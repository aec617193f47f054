"""The cache of loaded models, and their predictions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import tinygrad_cnn as tg
from tinygrad_cnn import nn, train
from tinygrad_cnn.studio import model_files
from tinygrad_cnn.studio.novelty import Detector, Features
from tinygrad_cnn.studio.problems import Problem
from tinygrad_cnn.studio.store import Store, StoredRun, models, runs

__all__ = ["LoadedModel", "Prediction", "Predictor"]

MOST_LOADED = 8


class Prediction(NamedTuple):
    """A prediction: a number for each class, and the out-of-distribution score if there is one."""

    logits: NDArray[np.floating]
    probabilities: NDArray[np.floating]
    score: float | None


@dataclass(frozen=True)
class LoadedModel:
    """A model from the store, shared by several threads.

    It is read-only: compute gradients with `tinygrad_cnn.grad`, not with `backward`, which would
    accumulate them in the parameters.

    Attributes
    ----------
    id : int
    model : Module
        In eval mode.
    settings : train.RunSettings
    detector : Detector or None
        Uploaded models and those of earlier versions have none.
    """

    id: int
    model: nn.Module
    settings: train.RunSettings
    detector: Detector | None

    def __post_init__(self) -> None:
        if self.detector is not None:
            Features(self.model)

    def prepared(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Convert images of bytes, (N, C, H, W), to the model's input."""
        images = np.divide(pixels, np.float32(255), dtype=np.float32)
        return self.settings.data.normalize()(images, np.random.default_rng(0))

    def predict(self, pixels: NDArray[np.uint8], temperature: float = 1.0) -> Prediction:
        """Predict the class of an image.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (C, H, W), or (H, W) for one channel
            Gray values are light ink on black.
        temperature : float
            Positive; a higher temperature gives more even probabilities.

        Returns
        -------
        Prediction
            ``logits, probabilities``, both of shape (classes,), and the ``score``.

        Raises
        ------
        Problem
            "invalid" if the model takes images of another shape.
        """
        shape = self.settings.data.input_shape
        if (pixels.shape if pixels.ndim == 3 else (1, *pixels.shape)) != shape:
            came, expected = ("×".join(map(str, each)) for each in (pixels.shape, shape))
            raise Problem("invalid", f"input: got {came} bytes; model {self.id} takes {expected}")
        prepared = tg.Tensor._of(self.prepared(pixels.reshape(1, *shape)))
        with tg.no_grad(), tg.num_threads(1):
            logits, features = Features.of(partial(self.model, prepared))
            exact = tg.Tensor._of(logits._array.astype(np.float64))
            shares = tg.softmax(exact, temperature=temperature)
        score = None
        if self.detector is not None:
            score = float(self.detector.score(features, logits._array.argmax(axis=1))[0])
        return Prediction(logits._array[0], shares._array[0], score)


class Predictor:
    """Loads models on demand, and caches the most recently used ones.

    The promoted model's id is cached too, so that a prediction needs no database query. After
    promoting or deleting a model, call `forget`.

    Parameters
    ----------
    store : Store
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._lock = Lock()
        self._loaded: OrderedDict[int, LoadedModel] = OrderedDict()
        self._promoted: int | None = None
        self._changes = 0

    def cached(self, model_id: int | None) -> LoadedModel | None:
        """Return a model if it is cached (the promoted one for None), else None."""
        with self._lock:
            wanted = self._promoted if model_id is None else model_id
            found = self._loaded.get(wanted) if wanted is not None else None
            if found is not None:
                self._loaded.move_to_end(found.id)
            return found

    def get(self, model_id: int | None) -> LoadedModel:
        """Return a model; None means the promoted one.

        Raises
        ------
        Problem
            "no-model" if none is promoted, with the id of the run that will give one.
        NotFoundError
            If the model does not exist.
        """
        found = self.cached(model_id)
        if found is not None:
            return found
        changes = self._changes
        with self.store.reading() as session:
            wanted = models.promoted_id(session) if model_id is None else model_id
            if wanted is None:
                raise _no_model(runs.all(session))
            row = models.get(session, wanted)
        detector = None if row.detector is None else Detector.unpack(row.detector)
        loaded = LoadedModel(row.id, *model_files.read(row.weights), detector)
        with self._lock:
            if changes == self._changes:  # else the loaded model may be out of date
                self._loaded[loaded.id] = loaded
                if model_id is None:
                    self._promoted = loaded.id
                if len(self._loaded) > MOST_LOADED:
                    self._loaded.popitem(last=False)
        return loaded

    def forget(self, model_id: int | None = None) -> None:
        """Drop the promoted id from the cache and, if given, the model."""
        with self._lock:
            self._changes += 1
            self._promoted = None
            if model_id is not None:
                self._loaded.pop(model_id, None)


def _no_model(newest_first: Sequence[StoredRun]) -> Problem:
    """Return the problem "no-model", with the run that will give a model, if any."""
    run = next((run for run in reversed(newest_first) if run.state not in runs.ENDED), None)
    hint = "start a training" if run is None else f"wait for run {run.id}"
    return Problem(
        "no-model", f"no model is trained yet: {hint}", run_id=None if run is None else run.id
    )
