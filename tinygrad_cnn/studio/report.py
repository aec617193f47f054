"""Evaluation report of a model on its test images, as plain JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

import tinygrad_cnn as tg
from tinygrad_cnn.data import DataLoader, Dataset
from tinygrad_cnn.nn import Module
from tinygrad_cnn.studio.encoding import encode_input
from tinygrad_cnn.train import RunSettings, evaluate

__all__ = ["Mistake", "ModelReport", "calibration_error", "report"]

BATCH = 100
WORST = 24
BINS = 15


class Mistake(TypedDict):
    """A misclassified image, and the probability of the wrong class."""

    index: int
    label: int
    predicted: int
    probability: float
    input: str


class ModelReport(TypedDict):
    """The evaluation of a model on its test images.

    ``data`` is the name of the test set, ``images`` its size, ``parameters`` the number of
    trained parameters, ``loss`` the mean cross-entropy, and ``confusion[i][j]`` the number of
    images of class i predicted as j. ``worst`` lists the mistakes, most confident first.
    """

    data: str
    images: int
    parameters: int
    accuracy: float
    loss: float
    calibration_error: float
    confusion: list[list[int]]
    worst: list[Mistake]


def report(model: Module, settings: RunSettings, test: Dataset) -> ModelReport:
    """Evaluate a model.

    Parameters
    ----------
    model : Module
    settings : RunSettings
        The settings it was trained with; they define the normalization.
    test : Dataset
        Images not used in training.

    Returns
    -------
    ModelReport
        Plain JSON; includes the 24 most confident errors, or fewer.

    Raises
    ------
    ValueError
        If the images do not have the model's input shape and classes, or an output is not finite.

    Examples
    --------
    >>> from tinygrad_cnn.train import TrainingRun, TrainingSettings
    >>> untrained = TrainingRun.new("digits", "mlp", TrainingSettings())
    >>> result = report(untrained.model, untrained.settings, untrained.split.test[:100])
    >>> result["images"], len(result["worst"]), sum(map(sum, result["confusion"]))
    (100, 24, 100)
    """
    settings.data.check(test)
    collected: list[NDArray[np.floating]] = []

    def loss(outputs: tg.Tensor, labels: NDArray[Any]) -> tg.Tensor:
        collected.append(outputs._array)
        return tg.cross_entropy(outputs, labels)

    with np.errstate(over="ignore", invalid="ignore"):
        loader = DataLoader(test, BATCH, transform=settings.data.normalize())
        evaluation = evaluate(model, loader, loss)
    logits = np.concatenate(collected).astype(np.float64)
    finite = np.isfinite(logits).all(axis=1)
    if not finite.all() or not np.isfinite(evaluation.loss):
        raise ValueError(
            f"the model returns NaN or infinite numbers for {np.sum(~finite)} of "
            f"{len(test)} images of {test.name}"
        )
    with tg.no_grad():
        probabilities = tg.softmax(tg.Tensor._of(logits))._array
    return {
        "data": test.name,
        "images": len(test),
        "parameters": model.summary().parameters,
        "accuracy": evaluation.accuracy,
        "loss": evaluation.loss,
        "calibration_error": calibration_error(probabilities, test.labels),
        "confusion": evaluation.confusion.tolist(),
        "worst": _worst(probabilities, test),
    }


def calibration_error(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """Return the expected calibration error, from 0 to 1.

    Parameters
    ----------
    probabilities : ndarray of float, shape (N, classes)
    labels : ndarray of int64, shape (N,)

    Notes
    -----
    With the images in 15 bins of equal width by the highest probability p, it is Σ |bin|/N ·
    |accuracy of the bin − mean of p|. Guo, Pleiss, Sun and Weinberger, "On calibration of modern
    neural networks", 2017.

    Examples
    --------
    >>> calibration_error(np.array([[0.75, 0.25], [0.75, 0.25]]), np.array([0, 1]))
    0.25
    """
    sureness = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bins = np.minimum((sureness * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(bins, weights=right - sureness, minlength=BINS)
    return float(np.abs(gaps).sum() / len(labels))


def _worst(probabilities: NDArray[np.floating], test: Dataset) -> list[Mistake]:
    predicted = probabilities.argmax(axis=1)
    sureness = probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != test.labels)
    surest = wrong[np.argsort(-sureness[wrong], kind="stable")][:WORST]
    return [
        {
            "index": int(i),
            "label": int(test.labels[i]),
            "predicted": int(predicted[i]),
            "probability": float(sureness[i]),
            "input": encode_input(test.images[i]),
        }
        for i in surest
    ]
