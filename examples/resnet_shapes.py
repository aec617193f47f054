"""ResNet-20 trained on color images, offline: the recipe of He et al. (2016) for CIFAR, in short.

SGD with momentum and weight decay, a rate that rises and falls in one cycle, random crops and
flips. The shapes are ten classes of color images that this package draws; `tg.data.load("cifar10")`
has the same form, so that one word changes the data. Run it from the repository:

    python examples/resnet_shapes.py

It prints the number of parameters, the loss and the accuracy on test images after each epoch; an
epoch takes about a minute and a half of one core.
"""

from __future__ import annotations

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim
from tinygrad_cnn.data import (
    Compose,
    DataLoader,
    Dataset,
    Normalize,
    RandomCrop,
    RandomHorizontalFlip,
)


def accuracy(model: nn.Module, loader: DataLoader) -> float:
    """Return the share of images that are classified rightly, with running statistics."""
    model.eval()
    with tg.no_grad():
        right = [(model(x).numpy().argmax(axis=1) == labels).sum() for x, labels in loader]
    model.train()
    return float(sum(right)) / len(loader.dataset)


def train(
    model: nn.Module, data: Dataset, test: Dataset, epochs: int
) -> tuple[list[float], list[float]]:
    """Return the mean loss and the test accuracy of each epoch."""
    normalize = Normalize(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    distort = Compose([RandomCrop(32, padding=4), RandomHorizontalFlip(), normalize])
    loader = DataLoader(data, batch_size=64, shuffle=True, transform=distort)
    held_out = DataLoader(test, batch_size=250, transform=normalize)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    schedule = optim.OneCycleLR(optimizer, max_lr=0.1, total_steps=epochs * len(loader))
    history: list[float] = []
    accuracies: list[float] = []
    for epoch in range(epochs):
        losses: list[float] = []
        for images, labels in loader:
            loss = tg.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        history.append(float(np.mean(losses)))
        accuracies.append(accuracy(model, held_out))
        print(f"epoch {epoch + 1}   loss {history[-1]:.3f}   accuracy {accuracies[-1]:.1%}")
    return history, accuracies


def main(epochs: int = 2, model: nn.Module | None = None) -> tuple[list[float], list[float]]:
    """Return the mean loss and the test accuracy of each epoch."""
    tg.manual_seed(0)
    model = model or nn.models.resnet20()
    print(f"{model.summary().parameters} parameters")
    data = tg.data.load("shapes")
    return train(model, data.train, data.test, epochs)


if __name__ == "__main__":
    main()
