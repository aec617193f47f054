"""Progress reports of a run: points for the curves, and the first layer's kernels."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from tinygrad_cnn.nn import Conv2d, Linear, Module
from tinygrad_cnn.studio.encoding import encode
from tinygrad_cnn.studio.image_sets import IMAGE_SETS
from tinygrad_cnn.studio.store import Store, points, runs, snapshots
from tinygrad_cnn.train import Callback, Epoch, History, Progress

__all__ = ["Reporter", "epoch_payload", "gradient_norms", "kernels", "result_of"]

POINT_SECONDS = 0.1
KERNELS_SECONDS = 0.5
MOST_KERNELS = 32
SIDES = {math.prod(images.input_shape): images.input_shape[1:] for images in IMAGE_SETS.values()}


class Reporter(Callback):
    """Callback that writes the progress of a run to the database, as often as a viewer can follow.

    The first and the last batch of every epoch are always written, and every batch while
    `every_batch` is set.

    Parameters
    ----------
    store : Store
    run_id : int
    model : Module
        Its gradients after a batch, and its first kernels, are written too.
    batches : int
        Number of batches per epoch.
    step : int
        Number of batches already done.
    now : callable
        Returns the time in seconds.

    Attributes
    ----------
    step : int
        Number of batches since the beginning of the run.
    every_batch : bool
    """

    def __init__(
        self,
        store: Store,
        run_id: int,
        model: Module,
        batches: int,
        step: int = 0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self.run_id = run_id
        self.model = model
        self.batches = batches
        self.now = now
        self.step = step
        self.every_batch = False
        self._unrecorded: Progress | None = None
        self._point_at = self._kernels_at = -math.inf

    def batch(self, progress: Progress) -> None:
        """Write a batch, if it is due."""
        self.step = (progress.epoch - 1) * self.batches + progress.batch
        self._unrecorded = progress
        edge = progress.batch in (1, self.batches)
        if edge or self.every_batch or self.now() - self._point_at >= POINT_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write the last batch, unless already written."""
        progress, self._unrecorded = self._unrecorded, None
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
        """Replace the stored kernels with the current ones."""
        shown = kernels(self.model)
        if shown is not None:
            snapshots.put(session, self.run_id, self.step, shown)

    def epoch(self, history: History) -> None:
        """Write a finished epoch, just before its checkpoint: resumed, the run may repeat it."""
        with self.store.session() as session:
            points.add_many(
                session, self.run_id, [("epoch", self.step, epoch_payload(history[-1]))]
            )
            run = runs.get(session, self.run_id)
            run.epoch = len(history)
            run.result = result_of(history, self.model)
            run.attempts = 0


def epoch_payload(epoch: Epoch) -> dict[str, Any]:
    """Return the payload of an epoch; None where a number is not finite."""
    row = epoch.as_dict()
    names = ("loss", "accuracy", "validation_loss", "validation_accuracy", "seconds")
    numbers = {name: row[name] for name in names}
    finite = {name: x for name, x in numbers.items() if x is not None and math.isfinite(x)}
    return {"epoch": epoch.epoch, **dict.fromkeys(names), **finite}


def result_of(history: History, model: Module) -> dict[str, Any]:
    """Return the metrics of a run after its last epoch; None where a number is not finite.

    Returns
    -------
    dict
        ``loss`` and ``accuracy`` on the training images, ``test_loss`` and ``test_accuracy``, the
        ``seconds`` of all epochs, and the number of ``parameters``.
    """
    last = epoch_payload(history[-1])
    seconds = sum(epoch.seconds for epoch in history)
    return {
        "loss": last["loss"],
        "accuracy": last["accuracy"],
        "test_loss": last["validation_loss"],
        "test_accuracy": last["validation_accuracy"],
        "seconds": seconds if math.isfinite(seconds) else None,
        "parameters": model.summary().parameters,
    }


def gradient_norms(model: Module) -> dict[str, float | None]:
    """Return the norm of the gradient of each layer with parameters; None if it is not finite.

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
            # Not a dot product: BLAS would wake threads, which costs more.
            square = float(np.square(parameter.grad, dtype=np.float64).sum())
            layer = name.rpartition(".")[0] or name
            squares[layer] = squares.get(layer, 0.0) + square
    return {
        layer: math.sqrt(square) if math.isfinite(square) else None
        for layer, square in squares.items()
    }


def kernels(model: Module) -> dict[str, Any] | None:
    """Return pictures of the first layer's kernels, or None if there is no suitable layer.

    These are the kernels of the first convolution, one per input channel. Without a convolution,
    they are the weights of the first fully connected layer, in the shape of its input.

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
            return _shown(name, layer.weight._array)
    for name, layer in layers:
        if isinstance(layer, Linear) and layer.in_features in SIDES:
            return _shown(name, layer.weight._array.reshape(-1, *SIDES[layer.in_features]))
    return None


def _shown(name: str, weight: NDArray[Any]) -> dict[str, Any] | None:
    pictures = weight.reshape(-1, *weight.shape[-2:])[:MOST_KERNELS]
    finite = bool(np.isfinite(pictures).all())
    return {"layer": name, "kernels": encode(pictures)} if finite else None
