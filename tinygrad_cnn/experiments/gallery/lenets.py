"""Networks of LeCun et al., "Gradient-based learning applied to document recognition", 1998.

Includes one network from Fashion-MNIST's list of results. Here pooling has no weights, and the
second convolution sees all channels of the first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.nn import (
    MLP,
    AvgPool2d,
    Conv2d,
    Flatten,
    LeNet5,
    Linear,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
    Sigmoid,
    Tanh,
)
from tinygrad_cnn.nn.init import xavier_uniform

__all__ = ["lenet1", "lenet4", "lenet5", "perceptron", "sigmoids", "two_convolutions"]

PIXELS, CLASSES = 784, 10


def sigmoids(rng: np.random.Generator, hidden: tuple[int, ...] = ()) -> Module:
    """Return a perceptron with sigmoid outputs; without hidden layers it is linear."""
    return Sequential(MLP((PIXELS, *hidden, CLASSES), rng=rng), Sigmoid())


def lenet1(rng: np.random.Generator) -> Module:
    """Return LeNet-1: 4@5×5, average, 12@5×5, average, 10."""
    options: dict[str, Any] = {"init": xavier_uniform, "rng": rng}
    return Sequential(
        *(Conv2d(1, 4, 5, **options), Tanh(), AvgPool2d(2)),
        *(Conv2d(4, 12, 5, **options), Tanh(), AvgPool2d(2)),
        *(Flatten(), Linear(12 * 4 * 4, CLASSES, **options)),
    )


def lenet4(rng: np.random.Generator) -> Module:
    """Return LeNet-4: 4@5×5 on images of 32×32, average, 16@5×5, average, 120, 10."""
    options: dict[str, Any] = {"init": xavier_uniform, "rng": rng}
    return Sequential(
        *(Conv2d(1, 4, 5, padding=2, **options), Tanh(), AvgPool2d(2)),
        *(Conv2d(4, 16, 5, **options), Tanh(), AvgPool2d(2)),
        *(Flatten(), Linear(16 * 5 * 5, 120, **options), Tanh(), Linear(120, CLASSES, **options)),
    )


def lenet5(rng: np.random.Generator) -> Module:
    """Return LeNet-5 with tanh and average pooling: see `tinygrad_cnn.nn.LeNet5`."""
    return LeNet5(activation="tanh", pooling="average", rng=rng)


def perceptron(rng: np.random.Generator, hidden: tuple[int, ...]) -> Module:
    """Return a perceptron with ReLU."""
    return MLP((PIXELS, *hidden, CLASSES), "relu", rng=rng)


def two_convolutions(rng: np.random.Generator) -> Module:
    """Return the network with fewer than 100,000 parameters: 32@5×5, pool, 64@5×5, pool, 10."""
    return Sequential(
        *(Conv2d(1, 32, 5, padding=2, rng=rng), ReLU(), MaxPool2d(2)),
        *(Conv2d(32, 64, 5, padding=2, rng=rng), ReLU(), MaxPool2d(2)),
        *(Flatten(), Linear(64 * 7 * 7, CLASSES, rng=rng)),
    )
