"""LeNet-5 written as a Python class, and trained on handwritten digits for two epochs.

The layers are attributes, the computation is `forward`: ordinary code, run line by line. The shape
of a batch after each line stands beside it.

    python examples/lenet_imperative.py
"""

from __future__ import annotations

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim
from tinygrad_cnn.data import DataLoader, digits


class LeNet(nn.Module):
    """Two convolutions, each with a pooling, and three fully connected layers."""

    def __init__(self) -> None:
        self.conv1 = nn.Conv2d(1, 6, kernel_size=5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        """Return logits, (N, 10), for images, (N, 1, 28, 28)."""
        x = tg.maxpool(tg.relu(self.conv1(x)), 2)  # (N, 6, 14, 14)
        x = tg.maxpool(tg.relu(self.conv2(x)), 2)  # (N, 16, 5, 5)
        x = x.reshape(len(x), -1)  # (N, 400)
        x = tg.relu(self.fc1(x))  # (N, 120)
        x = tg.relu(self.fc2(x))  # (N, 84)
        return self.fc3(x)  # (N, 10)


def train(model: LeNet, loader: DataLoader, epochs: int) -> list[float]:
    """Train with Adam, and return the mean loss of each epoch."""
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    history: list[float] = []
    for epoch in range(epochs):
        losses: list[float] = []
        for images, labels in loader:
            loss = tg.cross_entropy(model(tg.Tensor(images)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        history.append(float(np.mean(losses)))
        print(f"epoch {epoch + 1}   loss {history[-1]:.4f}")
    return history


def predict(model: LeNet, images: np.ndarray) -> np.ndarray:
    """Return the class of each image, by the largest logit."""
    with tg.no_grad():
        return model(tg.Tensor(images)).numpy().argmax(axis=1)


def main(epochs: int = 2) -> tuple[list[float], float]:
    data = digits()
    tg.manual_seed(0)
    model = LeNet()
    print(model, end="\n\n")
    history = train(model, DataLoader(data.train, batch_size=64, shuffle=True), epochs)
    right = [
        (predict(model, images) == labels).mean()
        for images, labels in DataLoader(data.test, batch_size=500)
    ]
    accuracy = float(np.mean(right))
    print(f"\naccuracy {accuracy:.2%} on {len(data.test)} test digits")
    return history, accuracy


if __name__ == "__main__":
    main()
