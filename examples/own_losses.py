"""Losses of your own: the Dice loss of masks, and the contrastive loss of pairs.

A loss is a function of Tensors; its gradient comes by itself. Run it from the repository:

    python examples/own_losses.py

1. The Dice loss of masks is 1 − 2·|A ∩ B| / (|A| + |B|). It does not care how large the background
   is: a network that finds a small disk in noise learns by it and the binary cross-entropy.
2. The contrastive loss draws vectors of one class together and pushes those of two classes apart,
   up to a margin (Hadsell, Chopra and LeCun, 2006). Digits, as points of a plane, form groups.
"""

from __future__ import annotations

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim


def dice(logits: tg.Tensor, masks: np.ndarray, eps: float = 1.0) -> tg.Tensor:
    """Return the mean of 1 − 2·Σ p·t / (Σ p + Σ t) over the images; p are probabilities."""
    p = tg.sigmoid(logits)
    axes = (1, 2, 3)
    overlap = (p * masks).sum(axes)
    return (1.0 - (2.0 * overlap + eps) / (p.sum(axes) + masks.sum(axes) + eps)).mean()


def contrastive(a: tg.Tensor, b: tg.Tensor, alike: np.ndarray, margin: float = 1.0) -> tg.Tensor:
    """Return the mean of d² for pairs that are alike, and of max(0, margin − d)² for others."""
    distance = tg.pairwise_distance(a, b)
    gap = tg.maximum(margin - distance, 0.0)
    return tg.where(alike, distance * distance, gap * gap).mean()


def disks(count: int, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return noisy images of a small disk, and the masks of the disks."""
    rows, columns = np.indices((size, size))
    centers = rng.integers(4, size - 4, size=(2, count, 1, 1))
    inside = (rows - centers[0]) ** 2 + (columns - centers[1]) ** 2 < 6
    masks = inside.astype("f4")
    images = masks + rng.normal(0.0, 0.5, (count, size, size)).astype("f4")
    return images[:, None], masks[:, None]


def find_disks(steps: int = 60) -> tuple[float, float]:
    """Train a network by Dice + BCE; return the Dice loss of new images before and after."""
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, rng=rng), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, rng=rng), nn.ReLU(), nn.Conv2d(8, 1, 1, rng=rng),
    )  # fmt: skip
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    test_images, test_masks = disks(64, 16, rng)
    before = dice(model(test_images), test_masks).item()
    for _ in range(steps):
        images, masks = disks(16, 16, rng)
        logits = model(images)
        loss = dice(logits, masks) + tg.binary_cross_entropy_with_logits(logits, masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return before, dice(model(test_images), test_masks).item()


def group_digits(steps: int = 150) -> tuple[float, float]:
    """Train by pairs of the digits 0, 1 and 2; return the mean distances of points.

    The first is that of points of one class, the second that of two classes.
    """
    rng = np.random.default_rng(0)
    digits = tg.data.load("digits").train
    chosen = np.flatnonzero(digits.labels < 3)
    images, labels = np.asarray(digits.images)[chosen], digits.labels[chosen]
    x = images.reshape(len(images), -1).astype("f4") / max(1.0, float(images.max()))
    model = nn.Sequential(nn.Linear(x.shape[1], 32, rng=rng), nn.Tanh(), nn.Linear(32, 2, rng=rng))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        first, second = rng.integers(0, len(x), size=(2, 32))
        loss = contrastive(model(x[first]), model(x[second]), labels[first] == labels[second])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    points = model(x).numpy()
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    alike = labels[:, None] == labels[None]
    return float(distances[alike].mean()), float(distances[~alike].mean())


def main() -> tuple[tuple[float, float], tuple[float, float]]:
    """Train both; return the Dice losses and the mean distances."""
    losses, distances = find_disks(), group_digits()
    print(f"Dice loss of new images: {losses[0]:.2f} before, {losses[1]:.2f} after training")
    print(f"mean distance: {distances[0]:.2f} in a class, {distances[1]:.2f} between classes")
    return losses, distances


if __name__ == "__main__":
    main()
