"""Shared parts of the experiments: training with recording, updates to be timed, gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.core.graph import grad
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.data import DataLoader, Dataset, Normalize, Transform
from tinygrad_cnn.experiments.experiment import Record
from tinygrad_cnn.nn import Module
from tinygrad_cnn.optim import LRScheduler, Optimizer
from tinygrad_cnn.train import Callback, History, Progress, evaluate, fit
from tinygrad_cnn.train.training_step import Loss

__all__ = ["logit_gradients", "normalize", "prepared", "train", "updates"]

EVALUATION_BATCH = 500


def train(
    record: Record,
    model: Module,
    optimizer: Optimizer,
    *,
    epochs: int,
    batch_size: int | None,
    seed: int,
    loss: Loss = ops.cross_entropy,
    schedule: LRScheduler | None = None,
    gradients: bool = False,
    transform: Transform | None = None,
) -> History:
    """Train a model on the experiment's data, and record every epoch.

    The measures are ``loss`` and ``accuracy``, averaged over the epoch's batches, and ``test_loss``
    and ``test_accuracy`` after it. With `gradients`, the layers with weights have ``gradient_1``,
    ``gradient_2``, ...: the root mean square, over the epoch's updates, of the norm of the weight
    gradient. Step 0 is the untrained model.

    Parameters
    ----------
    record : Record
    model : Module
    optimizer : Optimizer
        Holds the model's parameters.
    epochs : int
    batch_size : int or None
        None means the whole set as one batch.
    seed : int
        Seed of the order of the examples.
    loss : callable
    schedule : LRScheduler, optional
        Stepped after every update.
    gradients : bool
    transform : callable, optional
        Applied to the images; by default they are normalized to mean 0 and standard deviation 1.

    Raises
    ------
    TrainingDiverged
        As in `fit`; the epochs before are recorded.
    """
    split = record.data
    transform = transform or normalize(split.train)
    loader = DataLoader(split.train, batch_size, shuffle=True, seed=seed, transform=transform)
    tested = DataLoader(split.test, EVALUATION_BATCH, transform=transform)
    before = evaluate(model, tested, loss)
    record.steps = epochs
    record(0, test_loss=before.loss, test_accuracy=before.accuracy)
    taker = _Taker(record, model, tested, loss, gradients)
    return fit(model, loss, optimizer, loader, epochs=epochs, schedule=schedule, callbacks=[taker])


def prepared(
    record: Record, batch_size: int | None, *, seed: int, transform: Transform | None = None
) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Return the batches of the first epoch of `train`, ready for the model."""
    split = record.data
    transform = transform or normalize(split.train)
    return list(DataLoader(split.train, batch_size, shuffle=True, seed=seed, transform=transform))


def updates(
    model: Module,
    optimizer: Optimizer,
    batches: Sequence[tuple[NDArray[Any], NDArray[Any]]],
    loss: Loss = ops.cross_entropy,
) -> Callable[[], None]:
    """Return a call that updates a model with the next batch: forward, backward and step.

    It is for `record_times`: batches come in turns, and none is prepared while the time runs.
    """
    turns = cycle(batches)

    def update() -> None:
        images, labels = next(turns)
        error = loss(model(images), labels)
        optimizer.zero_grad()
        error.backward()
        optimizer.step()

    return update


def logit_gradients(loss: Loss, logits: NDArray[Any], labels: NDArray[Any]) -> NDArray[Any]:
    """Return the gradient of each example's own loss in its logits: (N, classes).

    Parameters
    ----------
    loss : callable
        ``loss(logits, labels)``: the mean over the examples.
    logits : ndarray, shape (N, classes)
    labels : ndarray, shape (N,)
    """
    leaf = Tensor(logits, requires_grad=True)
    (gradient,) = grad(loss(leaf, labels), [leaf])
    rows: NDArray[Any] = gradient * len(labels)
    return rows


@cache
def normalize(dataset: Dataset) -> Normalize:
    """Return the transform that normalizes pixels to mean 0 and standard deviation 1."""
    pixels = dataset.images / np.float32(255)
    axes = (0, 2, 3)
    mean, std = pixels.mean(axes, np.float64), pixels.std(axes, np.float64)
    return Normalize(tuple(mean.tolist()), tuple(std.tolist()))


class _Taker(Callback):
    def __init__(
        self, record: Record, model: Module, tested: DataLoader, loss: Loss, gradients: bool
    ) -> None:
        self.record = record
        self.model = model
        self.tested = tested
        self.loss = loss
        named = model.named_parameters() if gradients else ()
        self.weights = [parameter for name, parameter in named if name.endswith("weight")]
        self.squares = np.zeros(len(self.weights))
        self.updates = 0

    def batch(self, progress: Progress) -> None:
        if self.weights:
            self.updates += 1
            gradients = [weight.grad for weight in self.weights]
            self.squares += [float(np.vdot(g, g)) for g in gradients if g is not None]

    def epoch(self, history: History) -> None:
        row = history[-1]
        result = evaluate(self.model, self.tested, self.loss)
        norms = np.sqrt(self.squares / max(self.updates, 1))
        self.record(
            row.epoch,
            loss=row.loss,
            accuracy=row.accuracy,
            test_loss=result.loss,
            test_accuracy=result.accuracy,
            **{f"gradient_{k}": norm for k, norm in enumerate(norms.tolist(), start=1)},
        )
        self.squares[:] = 0.0
        self.updates = 0
