"""Softmax regression and a perceptron from scratch, in the manner of "Dive into Deep Learning".

The parameters are Tensors, the model, the loss and the update are functions of a line or two: no
`nn`, no `optim`, no ready-made loss. Run it from the repository:

    python examples/softmax_from_scratch.py

It prints the loss and the accuracy on handwritten digits after each epoch: first of a linear model,
then of one with a hidden layer.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn.data import DataLoader

Net = Callable[[np.ndarray], tg.Tensor]


def parameter(*shape: int, rng: np.random.Generator) -> tg.Tensor:
    """Return weights from N(0, 0.01²); biases start at 0 instead."""
    values = rng.normal(0.0, 0.01, shape) if len(shape) > 1 else np.zeros(shape)
    return tg.Tensor(values.astype("f4"), requires_grad=True)


def softmax(scores: tg.Tensor) -> tg.Tensor:
    """Return probabilities: the exponentials divided by their sum."""
    exponentials = tg.exp(scores - scores.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def cross_entropy(probabilities: tg.Tensor, labels: np.ndarray) -> tg.Tensor:
    """Return the mean of minus the logarithm of the probability of the right class."""
    return -tg.log(probabilities[np.arange(len(labels)), labels]).mean()


def sgd(parameters: list[tg.Tensor], lr: float) -> None:
    """Move each parameter against its gradient, and forget the gradient."""
    for p in parameters:
        if p.grad is not None:
            p.data -= lr * p.grad
        p.grad = None


def linear(rng: np.random.Generator) -> tuple[Net, list[tg.Tensor]]:
    """Return softmax regression and its parameters."""
    w, b = parameter(784, 10, rng=rng), parameter(10, rng=rng)

    def net(images: np.ndarray) -> tg.Tensor:
        return softmax(tg.Tensor(images).reshape(-1, 784) @ w + b)

    return net, [w, b]


def perceptron(rng: np.random.Generator, hidden: int = 64) -> tuple[Net, list[tg.Tensor]]:
    """Return a network with one hidden layer and its parameters."""
    w1, b1 = parameter(784, hidden, rng=rng), parameter(hidden, rng=rng)
    w2, b2 = parameter(hidden, 10, rng=rng), parameter(10, rng=rng)

    def net(images: np.ndarray) -> tg.Tensor:
        h = tg.maximum(tg.Tensor(images).reshape(-1, 784) @ w1 + b1, 0.0)
        return softmax(h @ w2 + b2)

    return net, [w1, b1, w2, b2]


def accuracy(net: Net, data: DataLoader) -> float:
    """Return the share of examples whose most probable class is the label."""
    with tg.no_grad():
        right = [(net(x).numpy().argmax(axis=1) == labels).sum() for x, labels in data]
    return float(sum(right)) / len(data.dataset)


def main(epochs: int = 5) -> dict[str, tuple[list[float], float]]:
    """Return the mean loss of each epoch and the last test accuracy, for each model."""
    digits = tg.data.digits()
    train = DataLoader(digits.train, batch_size=64, shuffle=True)
    test = DataLoader(digits.test, batch_size=500)
    results: dict[str, tuple[list[float], float]] = {}
    for make in (linear, perceptron):
        net, parameters = make(np.random.default_rng(0))
        history: list[float] = []
        share = 0.0
        print(make.__name__)
        for epoch in range(epochs):
            losses: list[float] = []
            for images, labels in train:
                loss = cross_entropy(net(images), labels)
                loss.backward()
                sgd(parameters, lr=0.1)
                losses.append(loss.item())
            share = accuracy(net, test)
            history.append(float(np.mean(losses)))
            print(f"  epoch {epoch + 1}   loss {history[-1]:.3f}   test accuracy {share:.1%}")
        results[make.__name__] = (history, share)
    return results


if __name__ == "__main__":
    main()
