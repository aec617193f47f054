"""Gradient descent in batches of one size, evaluated after every epoch and often in the first."""

from __future__ import annotations

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.data import DataLoader
from tinygrad_cnn.experiments.experiment import Record
from tinygrad_cnn.experiments.gallery.common import EVALUATION_BATCH, normalize
from tinygrad_cnn.nn import MLP
from tinygrad_cnn.optim import SGD, LRScheduler
from tinygrad_cnn.train import evaluate

__all__ = ["HALVED_AFTER", "SIZES", "Harmonic", "run"]

SIZES = (784, 30, 10)
HALVED_AFTER = 1.0  # epochs until a decaying rate has halved
EARLY, PARTS = 2, 10  # evaluations within each of the early epochs


class Harmonic(LRScheduler):
    """Schedule with a 1/t decay (Robbins and Monro, 1951): lr₀ / (1 + t/half)."""

    def __init__(self, optimizer: SGD, half: float) -> None:
        super().__init__(optimizer)
        self.half = half

    def rate(self, t: int) -> float:
        """Return the rate after t updates."""
        return self.base_lr / (1.0 + t / self.half)


def run(
    record: Record, *, seed: int, batch_size: int | None, rate: float, epochs: int,
    decaying: bool = False,
) -> None:  # fmt: skip
    """Train the text's perceptron; evaluate it after every epoch, and within the first two."""
    transform = normalize(record.data.train)
    sets = {
        prefix: next(iter(DataLoader(dataset, None, transform=transform)))
        for prefix, dataset in (("", record.data.train), ("test_", record.data.test))
    }
    loader = DataLoader(sets[""], batch_size, shuffle=batch_size is not None, seed=seed)
    evaluated = {prefix: DataLoader(pair, EVALUATION_BATCH) for prefix, pair in sets.items()}
    model = MLP(SIZES, "sigmoid", rng=np.random.default_rng(seed))
    optimizer = SGD(model.parameters(), rate)
    schedule = Harmonic(optimizer, HALVED_AFTER * len(loader)) if decaying else None
    early = {round(k * len(loader) / PARTS) for k in range(EARLY * PARTS)}
    record.steps = epochs
    record(0, updates_per_epoch=len(loader))

    def look(done: int) -> None:
        if done % len(loader) == 0 or done in early:
            found = {prefix: evaluate(model, loader) for prefix, loader in evaluated.items()}
            record(
                done / len(loader),
                **{f"{prefix}accuracy": result.accuracy for prefix, result in found.items()},
            )

    look(0)
    done = 0
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            ops.cross_entropy(model(images), labels).backward()
            optimizer.step()
            if schedule is not None:
                schedule.step()
            done += 1
            look(done)
