"""The network of Michael Nielsen's first chapter: sigmoid neurons and mini-batch SGD, written out.

"Neural Networks and Deep Learning" (2015) begins with a network of 784, 30 and 10 neurons, the
quadratic cost and plain gradient descent. Weights and biases are lists of Tensors here, and
`tg.grad` replaces the method that the book derives in its second chapter; `backprop` has that
method too, so that both can be compared. Run it from the repository:

    python examples/nielsen_network.py

It prints how many test digits are right after each epoch, and the largest difference between the
two gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

import tinygrad_cnn as tg


class Network:
    """Layers of sigmoid neurons. Activations are columns: (neurons, examples)."""

    def __init__(self, sizes: Sequence[int], rng: np.random.Generator) -> None:
        self.rng = rng
        self.biases = [leaf(rng.normal(size=(n, 1))) for n in sizes[1:]]
        self.weights = [leaf(rng.normal(size=(n, m)) / np.sqrt(m)) for m, n in pairwise(sizes)]

    def feedforward(self, x: np.ndarray) -> tg.Tensor:
        """Return the output of the network for the inputs `x`."""
        a = tg.Tensor(x)
        for b, w in zip(self.biases, self.weights, strict=True):
            a = tg.sigmoid(w @ a + b)
        return a

    def cost(self, x: np.ndarray, y: np.ndarray) -> tg.Tensor:
        """Return the quadratic cost: the mean over the examples of ½·‖y − a‖²."""
        return 0.5 * ((self.feedforward(x) - y) ** 2).sum() / x.shape[1]

    def sgd(self, x: np.ndarray, y: np.ndarray, batch_size: int, eta: float) -> None:
        """Train for one epoch of mini-batches in random order, with the learning rate `eta`."""
        order = self.rng.permutation(x.shape[1])
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            parameters = [*self.weights, *self.biases]
            gradients = tg.grad(self.cost(x[:, batch], y[:, batch]), parameters)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.data -= eta * gradient

    def evaluate(self, x: np.ndarray, labels: np.ndarray) -> int:
        """Return the number of examples whose largest output is that of their label."""
        with tg.no_grad():
            return int((self.feedforward(x).numpy().argmax(axis=0) == labels).sum())

    def backprop(self, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        """Return the gradients of the weights and of the biases by the book's equations BP1-BP4."""
        activations = [x]
        for b, w in zip(self.biases, self.weights, strict=True):
            z = w.numpy() @ activations[-1] + b.numpy()
            activations.append(1.0 / (1.0 + np.exp(-z)))
        a = activations.pop()
        delta = (a - y) * a * (1 - a) / x.shape[1]  # BP1
        of_weights: list[np.ndarray] = []
        of_biases: list[np.ndarray] = []
        for w in reversed(self.weights):
            a = activations.pop()
            of_biases.insert(0, delta.sum(axis=1, keepdims=True))  # BP3
            of_weights.insert(0, delta @ a.T)  # BP4
            delta = (w.numpy().T @ delta) * a * (1 - a)  # BP2
        return of_weights + of_biases


def leaf(values: np.ndarray) -> tg.Tensor:
    """Return a float32 Tensor that requires a gradient."""
    return tg.Tensor(values.astype("f4"), requires_grad=True)


def columns(data: tg.data.Dataset) -> np.ndarray:
    """Return the images as columns of values from 0 to 1."""
    return data.images.reshape(len(data), -1).T.astype("f4") / np.float32(255)


def main(epochs: int = 10, examples: int = 10_000) -> tuple[list[int], float]:
    """Return the number of right test digits by epoch, and the difference of both gradients."""
    data = tg.data.digits()
    x, y = columns(data.train)[:, :examples], tg.one_hot(data.train.labels[:examples], 10).T
    test, network = columns(data.test), Network([784, 30, 10], np.random.default_rng(0))
    history: list[int] = []
    for epoch in range(epochs):
        network.sgd(x, y, batch_size=10, eta=3.0)
        history.append(network.evaluate(test, data.test.labels))
        print(f"epoch {epoch + 1}: {history[-1]} / {len(data.test)}")
    by_book = network.backprop(x[:, :50], y[:, :50])
    by_grad = tg.grad(network.cost(x[:, :50], y[:, :50]), [*network.weights, *network.biases])
    difference = max(float(np.abs(a - b).max()) for a, b in zip(by_book, by_grad, strict=True))
    print(f"largest difference between backprop and tg.grad: {difference:.0e}")
    return history, difference


if __name__ == "__main__":
    main()
