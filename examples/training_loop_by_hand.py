"""The ten lines that `train.fit` replaces: a perceptron learns handwritten digits.

The text's network, one hidden layer of sigmoids, is trained by stochastic gradient descent on the
digits that come with the package. The loop is plain Python: predict, measure, differentiate, and
take a step against the gradient. Put a print, a breakpoint or a condition wherever one is wanted.

    python examples/training_loop_by_hand.py
"""

from __future__ import annotations

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.data import DataLoader, digits

LEARNING_RATE = 0.5


def train(model: nn.Module, loader: DataLoader, epochs: int) -> list[float]:
    """Train, and return the mean loss of each epoch."""
    history: list[float] = []
    for epoch in range(epochs):
        losses: list[float] = []
        for images, labels in loader:
            loss = tg.cross_entropy(model(images), labels)
            loss.backward()
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter.data -= LEARNING_RATE * parameter.grad
                parameter.grad = None
            losses.append(loss.item())
        history.append(float(np.mean(losses)))
        print(f"epoch {epoch + 1}   loss {history[-1]:.4f}")
    return history


def accuracy(model: nn.Module, loader: DataLoader) -> float:
    """Return the share of images whose largest output is the label's."""
    with tg.no_grad():
        right = [
            (np.argmax(model(images).numpy(), axis=1) == labels).sum() for images, labels in loader
        ]
    return float(sum(right)) / len(loader.dataset)


def main(epochs: int = 6) -> tuple[list[float], float]:
    data = digits()
    model = nn.MLP((784, 64, 10), rng=np.random.default_rng(0))
    history = train(model, DataLoader(data.train, batch_size=32, shuffle=True), epochs)
    share = accuracy(model, DataLoader(data.test, batch_size=500))
    print(f"\naccuracy {share:.2%} on {len(data.test)} test digits")
    return history, share


if __name__ == "__main__":
    main()
