"""One's own training loop that survives Ctrl-C, a full disk and a power failure.

A `Checkpoint` holds the model, the optimizer, the schedule, the position in the data and the random
generators. Stop this program with Ctrl-C and start it again: it goes on with the next batch, and
ends with the same weights, to the bit, as if it had never been stopped.

    python examples/resumable_loop.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim
from tinygrad_cnn.data import DataLoader, digits
from tinygrad_cnn.train import Checkpoint, TrainingInterrupted


def train(folder: str, epochs: int, images: int) -> nn.Module:
    """Train from the start, or from the checkpoint in the folder, and return the model."""
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 64, rng=rng),
        nn.ReLU(),
        nn.Dropout(0.2, rng=rng),
        nn.Linear(64, 10, rng=rng),
    )
    loader = DataLoader(digits().train[:images], batch_size=32, shuffle=True)
    optimizer = optim.AdamW(model.parameters(), lr=0.002)
    schedule = optim.CosineAnnealingLR(optimizer, T_max=epochs * len(loader))
    checkpoint = Checkpoint(model, optimizer, schedule, loader, folder=folder, every="10s")
    with checkpoint:
        if checkpoint.restore():
            print(f"going on after step {checkpoint.steps}")
        for epoch in range(loader.epoch, epochs):
            for inputs, labels in loader:
                loss = tg.cross_entropy(model(inputs), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                checkpoint.step()  # saves if it is time, or if Ctrl-C came
            print(f"epoch {epoch + 1}   step {checkpoint.steps}   learning rate {optimizer.lr:.2g}")
            checkpoint.save()
    print("files:", *sorted(path.name for path in Path(folder).glob("checkpoint-*")))
    return model


def main(folder: str = "runs/resumable-loop", epochs: int = 5, images: int = 10_000) -> nn.Module:
    try:
        return train(folder, epochs, images)
    except TrainingInterrupted as interruption:
        print(f"{interruption}; start the program again to go on")
        sys.exit(128 + interruption.signal)


if __name__ == "__main__":
    main()
