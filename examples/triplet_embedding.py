"""A siamese network with the triplet loss: digits become points on a sphere.

One network embeds an anchor, an image of its class and one of another class; the loss wants the
first two closer to each other than the first and the third, by a margin (Schroff et al., 2015).
Classes that were never trained on are compared too. Run it from the repository:

    python examples/triplet_embedding.py

It prints the loss, and how often the nearest neighbor of a test digit has its class: of the eight
classes of the training, and of the two that it never saw.
"""

from __future__ import annotations

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim

SEEN = 8
"""The classes 0 to 7 are trained on; 8 and 9 are not."""


class Embedding(nn.Module):
    """Two convolutions and a linear layer; its results have length 1."""

    def __init__(self, size: int = 16) -> None:
        self.conv1 = nn.Conv2d(1, 8, kernel_size=5, stride=2)
        self.conv2 = nn.Conv2d(8, 16, kernel_size=3, stride=2)
        self.fc = nn.Linear(16 * 5 * 5, size)

    def forward(self, x: np.ndarray) -> tg.Tensor:
        """Return points of the unit sphere, (N, size), for images, (N, 1, 28, 28)."""
        h = tg.relu(self.conv1(x))  # (N, 8, 12, 12)
        h = tg.relu(self.conv2(h))  # (N, 16, 5, 5)
        return tg.normalize(self.fc(h.reshape(len(x), -1)))


def triplets(
    labels: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the indices of anchors, of examples of the same class, and of other classes."""
    places = [np.flatnonzero(labels == k) for k in range(SEEN)]
    classes = rng.integers(SEEN, size=count)
    others = (classes + rng.integers(1, SEEN, size=count)) % SEEN

    def one_of(chosen: np.ndarray) -> np.ndarray:
        return np.array([rng.choice(places[int(k)]) for k in chosen])

    return one_of(classes), one_of(classes), one_of(others)


def nearest_is_alike(points: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of points whose nearest neighbor has their label."""
    similarity = points @ points.T
    np.fill_diagonal(similarity, -1.0)
    return float((labels[similarity.argmax(axis=1)] == labels).mean())


def main(steps: int = 300) -> tuple[list[float], float, float]:
    """Return the losses, and the shares for the classes seen and for those never seen."""
    rng = tg.manual_seed(0)
    data = tg.data.digits()
    images = data.train.images / np.float32(255)
    model = Embedding()
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    losses: list[float] = []
    for step in range(steps):
        anchor, alike, other = triplets(data.train.labels, 32, rng)
        points = model(images[np.concatenate([anchor, alike, other])])  # one call: shared weights
        loss = tg.triplet_margin(*tg.split(points, 3), margin=0.5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step % 50 == 49:
            print(f"step {step + 1}   loss {np.mean(losses[-50:]):.3f}")
    shares: list[float] = []
    for part in (data.test.labels < SEEN, data.test.labels >= SEEN):
        with tg.no_grad():
            points = model(data.test.images[part] / np.float32(255)).numpy()
        shares.append(nearest_is_alike(points, data.test.labels[part]))
    print(f"nearest neighbor right: {shares[0]:.1%} of classes 0-7, {shares[1]:.1%} of 8 and 9")
    return losses, shares[0], shares[1]


if __name__ == "__main__":
    main()
