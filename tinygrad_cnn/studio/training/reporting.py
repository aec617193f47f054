"""What a run tells while it goes on: points for the curves, and its first layer's kernels."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from tinygrad_cnn.nn import Conv2d, Linear, Module
from tinygrad_cnn.studio.encoding import INPUT_SHAPE, encode
from tinygrad_cnn.studio.store import Store, points, runs, snapshots
from tinygrad_cnn.train import Callback, Epoch, History, Progress

__all__ = ["Reporter", "epoch_payload", "gradient_norms", "kernels"]

POINT_SECONDS = 0.1
KERNELS_SECONDS = 0.5
MOST_KERNELS = 32


class Reporter(Callback):
    """Writes what a run has come to into the database, as often as eyes can follow.

    The first and the last batch of every epoch are always told, and every one while
    `every_batch` is set.

    Parameters
    ----------
    store : Store
    run_id : int
    model : Module
        The gradients that its last batch left, and its first kernels, are told too.
    batches : int
        In an epoch.
    epochs : int
        That are done already.
    now : callable
        The time in seconds.

    Attributes
    ----------
    step : int
        Batches since the run's beginning, as of the last one.
    every_batch : bool
    """

    def __init__(
        self,
        store: Store,
        run_id: int,
        model: Module,
        batches: int,
        epochs: int = 0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self.run_id = run_id
        self.model = model
        self.batches = batches
        self.now = now
        self.step = epochs * batches
        self.every_batch = False
        self._untold: Progress | None = None
        self._point_at = self._kernels_at = -math.inf

    def batch(self, progress: Progress) -> None:
        """Tell of a batch, if it is time."""
        self.step = (progress.epoch - 1) * self.batches + progress.batch
        self._untold = progress
        edge = progress.batch in (1, self.batches)
        if edge or self.every_batch or self.now() - self._point_at >= POINT_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Tell of the last batch, unless that is done."""
        progress, self._untold = self._untold, None
        if progress is None:
            return
        payload = {
            "epoch": progress.epoch,
            "batch": progress.batch,
            "batches": self.batches,
            "images": progress.images,
            "loss": progress.loss,
            "accuracy": progress.accuracy,
            "gradient_norms": gradient_norms(self.model),
            "seconds": progress.seconds,
        }
        now = self._point_at = self.now()
        with self.store.session() as session:
            points.add_many(session, self.run_id, [("point", self.step, payload)])
            if self.every_batch or now - self._kernels_at >= KERNELS_SECONDS:
                self._kernels_at = now
                self.show_kernels(session)

    def show_kernels(self, session: Session) -> None:
        """Put the kernels as they are now in the place of those that were shown."""
        shown = kernels(self.model)
        if shown is not None:
            snapshots.put(session, self.run_id, self.step, shown)

    def epoch(self, history: History) -> None:
        """Tell of an epoch that is done, and stands in the checkpoint."""
        with self.store.session() as session:
            points.add_many(
                session, self.run_id, [("epoch", self.step, epoch_payload(history[-1]))]
            )
            run = runs.get(session, self.run_id)
            run.epoch = len(history)
            run.attempts = 0


def epoch_payload(epoch: Epoch) -> dict[str, Any]:
    """Return what is told of an epoch."""
    row = epoch.as_dict()
    names = ("loss", "accuracy", "validation_loss", "validation_accuracy", "seconds")
    return {"epoch": epoch.epoch, **{name: row[name] for name in names}}


def gradient_norms(model: Module) -> dict[str, float | None]:
    """Return the length of the gradient of each layer that learns; None if it is not finite.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> model = tg.nn.MLP((2, 3, 2), rng=np.random.default_rng(0))
    >>> tg.cross_entropy(model(np.ones((1, 2), "f4")), np.array([0])).backward()
    >>> list(gradient_norms(model))
    ['fc.0', 'fc.1']
    """
    squares: dict[str, float] = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            # Not as a product with itself: BLAS would wake threads for it that cost more.
            square = float(np.square(parameter.grad, dtype=np.float64).sum())
            layer = name.rpartition(".")[0] or name
            squares[layer] = squares.get(layer, 0.0) + square
    return {
        layer: math.sqrt(square) if math.isfinite(square) else None
        for layer, square in squares.items()
    }


def kernels(model: Module) -> dict[str, Any] | None:
    """Return pictures of what a model's first layer looks for, or None if it has no such layer.

    The kernels of the first convolution, one for each of its input channels, or, if there is
    none, the weights of the first fully connected layer's neurons in the shape of its input.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> shown = kernels(tg.nn.LeNet5(rng=np.random.default_rng(0)))
    >>> shown["layer"], shown["kernels"]["shape"]
    ('conv1', [6, 5, 5])
    """
    layers = list(model.named_modules())
    for name, layer in layers:
        if isinstance(layer, Conv2d):
            return _shown(name, layer.weight.array)
    for name, layer in layers:
        if isinstance(layer, Linear) and layer.in_features == math.prod(INPUT_SHAPE):
            return _shown(name, layer.weight.array.reshape(-1, *INPUT_SHAPE))
    return None


def _shown(name: str, weight: NDArray[Any]) -> dict[str, Any] | None:
    pictures = weight.reshape(-1, *weight.shape[-2:])[:MOST_KERNELS]
    finite = bool(np.isfinite(pictures).all())
    return {"layer": name, "kernels": encode(pictures)} if finite else None
