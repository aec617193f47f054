"""Training recipes as data, and the run that follows one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.data import DataError, DataLoader, Dataset, load
from tinygrad_cnn.experiments.experiment import Record, Unavailable
from tinygrad_cnn.experiments.gallery import nielsen
from tinygrad_cnn.experiments.gallery.common import EVALUATION_BATCH, normalize
from tinygrad_cnn.nn import Module
from tinygrad_cnn.optim import Adam, LRScheduler, OneCycleLR, Optimizer
from tinygrad_cnn.train import Callback, Epoch, History, evaluate, fit
from tinygrad_cnn.train.own_state import load_own_state, own_state
from tinygrad_cnn.train.training_step import Loss

__all__ = ["Recipe", "run"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A training recipe.

    Attributes
    ----------
    model : callable
        ``model(rng, **options)`` builds it.
    options : mapping
    epochs, batch_size : int
    lr : float
        Rate of gradient descent, or the maximum of Adam's one-cycle schedule.
    adam : bool
        Whether to use Adam instead of gradient descent.
    decay : float
        Weight decay of gradient descent, λ / n: times the weight, it is added to the gradient.
    loss : callable
    source : str
        The data source.
    held_out : int
        Number of held-out validation images, taken from the end of the training set.
    shuffle : bool
    normalized : bool
        Whether pixels are normalized to mean 0 and standard deviation 1; otherwise they are 0 to 1.
    """

    model: Callable[..., Module]
    options: Mapping[str, Any] = field(default_factory=dict)
    epochs: int
    batch_size: int = 10
    lr: float
    adam: bool = False
    decay: float = 0.0
    loss: Loss = ops.cross_entropy
    source: str = "mnist"
    held_out: int = 0
    shuffle: bool = True
    normalized: bool = False

    def optimizer(self, model: Module) -> Optimizer:
        """Return the optimizer of a model's parameters."""
        if self.adam:
            return Adam(model.parameters(), self.lr)
        return nielsen.DecayedWeights(model.parameters(), self.lr, weight_decay=self.decay)

    def schedule(self, optimizer: Optimizer, updates: int) -> LRScheduler | None:
        """Return the schedule for a given number of updates."""
        if not self.adam:
            return None
        return OneCycleLR(optimizer, self.lr, updates, cycle_momentum=False, final_div_factor=400.0)


def run(record: Record, seed: int, recipe: Recipe, epochs: int = 0) -> None:
    """Train by a recipe, and record every epoch; an interrupted run resumes from its last epoch."""
    epochs = epochs or recipe.epochs
    record.steps = epochs
    train, held_out, test = _data(recipe)
    model = recipe.model(np.random.default_rng(seed), **recipe.options)
    optimizer = recipe.optimizer(model)
    transform = normalize(train) if recipe.normalized else None
    loader = DataLoader(
        train, recipe.batch_size, shuffle=recipe.shuffle, seed=seed, transform=transform
    )
    schedule = recipe.schedule(optimizer, epochs * len(loader))
    parts: dict[str, Any] = {"model": model, "optimizer": optimizer}
    parts |= {"schedule": schedule} if schedule else {}
    sets = {
        name: DataLoader(dataset, EVALUATION_BATCH, transform=transform)
        for name, dataset in (("validation_accuracy", held_out), ("test_accuracy", test))
        if dataset is not None
    }
    history = History()
    if record.state is not None:
        for name, part in parts.items():
            part.load_state_dict(record.state[name])
        load_own_state(model, record.state.get("own", {}))
        history = History([Epoch.from_dict(row) for row in record.state["history"]])
    keeper = _Keeper(record, parts, sets, recipe.loss)
    fit(model, recipe.loss, optimizer, loader, epochs=epochs, schedule=schedule,
        callbacks=[keeper], history=history)  # fmt: skip


class _Keeper(Callback):
    """Callback that records each epoch, and saves the state to resume from."""

    def __init__(
        self, record: Record, parts: Mapping[str, Any], sets: Mapping[str, DataLoader], loss: Loss
    ) -> None:
        self.record = record
        self.parts = parts
        self.sets = sets
        self.loss = loss

    def epoch(self, history: History) -> None:
        model: Module = self.parts["model"]
        accuracies = {
            name: evaluate(model, loader, self.loss).accuracy for name, loader in self.sets.items()
        }
        last = history[-1]
        self.record(last.epoch, loss=last.loss, accuracy=last.accuracy, **accuracies)
        state = {name: part.state_dict() for name, part in self.parts.items()}
        rows = [epoch.as_dict() for epoch in history]
        self.record.save(state | {"own": own_state(model), "history": rows})


def _data(recipe: Recipe) -> tuple[Dataset, Dataset | None, Dataset]:
    """Return the training, held-out and test sets."""
    try:
        split = load(recipe.source)
    except DataError as error:
        raise Unavailable(f"{recipe.source}: {error}") from error
    kept = len(split.train) - recipe.held_out
    return split.train[:kept], split.train[kept:] if recipe.held_out else None, split.test
