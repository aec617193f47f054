"""The networks of Nielsen, "Neural Networks and Deep Learning", 2015, reproduced exactly.

Chapters 1 and 3 follow his network.py and network2.py, chapter 6 network3.py.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.data import one_hot
from tinygrad_cnn.nn import MLP, Conv2d, Flatten, Linear, MaxPool2d, Module, Sequential, Sigmoid
from tinygrad_cnn.nn.init import standard_normal, zeros
from tinygrad_cnn.optim import SGD

__all__ = [
    "DecayedWeights",
    "binary_cross_entropy",
    "convolutional",
    "perceptron",
    "quadratic",
]

PIXELS, CLASSES, SIZE = 784, 10, 28
KERNEL, POOL, NEURONS = 5, 2, 100


class DecayedWeights(SGD):
    """Gradient descent with weight decay that skips the biases."""

    def update(self, p: NDArray[Any], g: NDArray[Any], state: dict[str, Any]) -> None:
        """Update `p` in place."""
        if p.ndim == 1:
            p -= self.lr * g
        else:
            super().update(p, g, state)


def quadratic(outputs: Tensor, labels: NDArray[Any]) -> Tensor:
    """Return the quadratic cost ½‖Y − y‖² (eq 18), averaged over the batch."""
    targets = one_hot(labels, CLASSES, outputs.dtype)
    return ops.squared_error(outputs, targets) * (1.0 / len(labels))


def binary_cross_entropy(z: Tensor, labels: NDArray[Any]) -> Tensor:
    """Return −Σ (y ln σ(z) + (1 − y) ln(1 − σ(z))), averaged over the batch.

    It is computed as Σ (ln(1 + eᶻ) − y z), which never takes the logarithm of 0.
    """
    targets = one_hot(labels, CLASSES, z.dtype)
    return (ops.softplus(z) - z * targets).sum() * (1.0 / len(labels))


def fan_out_normal(
    shape: tuple[int, ...], rng: np.random.Generator, dtype: DTypeLike | None = None
) -> NDArray[Any]:
    """Draw from the normal distribution of variance 1 / outputs.

    As in network3.py, the outputs of a convolution are the entries of all its kernels, divided by
    the cells per pooling window.
    """
    pooled = POOL * POOL if len(shape) > 2 else 1
    outputs = shape[0] * math.prod(shape[2:]) / pooled
    return np.asarray(standard_normal(shape, rng, dtype) * np.float32(1 / math.sqrt(outputs)))


def perceptron(rng: np.random.Generator, hidden: int, sigmoid_outputs: bool = True) -> Module:
    """Return the sigmoid network 784-hidden-10, weights and biases from N(0, 1).

    Without `sigmoid_outputs` it returns the logits z, for `binary_cross_entropy`.
    """
    sizes = (PIXELS, hidden, CLASSES)
    model = MLP(sizes, init=standard_normal, bias_init=standard_normal, rng=rng)
    return Sequential(model, Sigmoid()) if sigmoid_outputs else model


def convolutional(
    rng: np.random.Generator, channels: tuple[int, ...], activation: type[Module] = Sigmoid
) -> Module:
    """Return chapter 6's network: 5×5 kernels and max-pooling, 100 neurons, a softmax of zeros.

    Without channels it is the fully connected one. The book adds the bias after the pooling; here
    it is added before, which is equivalent.
    """
    options: dict[str, Any] = {"init": fan_out_normal, "bias_init": standard_normal, "rng": rng}
    layers: list[Module] = []
    size, before = SIZE, 1
    for after in channels:
        layers += [Conv2d(before, after, KERNEL, **options), MaxPool2d(POOL), activation()]
        size, before = (size - KERNEL + 1) // POOL, after
    layers += [Flatten(), Linear(before * size * size, NEURONS, **options), activation()]
    return Sequential(*layers, Linear(NEURONS, CLASSES, init=zeros, rng=rng))
