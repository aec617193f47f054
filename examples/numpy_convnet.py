"""A convolutional network in plain NumPy, whose parameters are one flat vector.

The model and its loss are functions of arrays that know nothing of Tensors: `tg.value_and_grad`
differentiates them, as the package autograd does. Any optimizer of vectors can minimize the loss.
Run it from the repository:

    python examples/numpy_convnet.py

It prints the loss and the test accuracy on digits of 14 × 14 pixels after each epoch of SGD with
momentum, and a slope of the loss beside the one that its gradient predicts.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import tinygrad_cnn as tg

SHAPES: dict[str, tuple[int, ...]] = {
    "kernels": (8, 1, 5, 5), "kernel_bias": (8, 1, 1), "hidden": (8 * 5 * 5, 32),
    "hidden_bias": (32,), "output": (32, 10), "output_bias": (10,),
}  # fmt: skip
"""The parameters in the order in which the vector holds them."""


def unpack(vector: Any) -> dict[str, Any]:
    """Return the parts of a vector as arrays of `SHAPES`."""
    parts: dict[str, Any] = {}
    start = 0
    for name, shape in SHAPES.items():
        size = math.prod(shape)
        parts[name] = np.reshape(vector[start : start + size], shape)
        start += size
    return parts


def initial(rng: np.random.Generator) -> np.ndarray:
    """Return the first vector: weights from N(0, 2 / fan_in), biases 0."""
    sizes = {"kernels": 25, "hidden": 8 * 5 * 5, "output": 32}
    return np.concatenate([
        rng.normal(0.0, math.sqrt(2 / sizes[name]), math.prod(shape))
        if name in sizes else np.zeros(math.prod(shape))
        for name, shape in SHAPES.items()
    ])  # fmt: skip


def convolve(x: Any, kernels: Any) -> Any:
    """Return the convolution of (N, C, H, W) with (F, C, K, K), as a product with all windows."""
    size = kernels.shape[-1]
    rows, columns = x.shape[2] - size + 1, x.shape[3] - size + 1
    windows = np.stack(
        [x[:, :, i : i + rows, j : j + columns] for i in range(size) for j in range(size)], axis=2
    )  # (N, C, K·K, H', W')
    flat = np.reshape(kernels, (*kernels.shape[:2], -1))  # (F, C, K·K)
    return np.moveaxis(np.tensordot(flat, windows, axes=((1, 2), (1, 2))), 0, 1)


def pool(x: Any) -> Any:
    """Return the maxima of windows of 2 × 2 pixels."""
    n, c, h, w = x.shape
    return np.max(np.reshape(x, (n, c, h // 2, 2, w // 2, 2)), axis=(3, 5))


def scores(vector: Any, images: Any) -> Any:
    """Return the log-probabilities of the classes, (N, 10)."""
    p = unpack(vector)
    y = np.maximum(pool(convolve(images, p["kernels"]) + p["kernel_bias"]), 0.0)
    y = np.tanh(np.reshape(y, (len(images), -1)) @ p["hidden"] + p["hidden_bias"])
    y = y @ p["output"] + p["output_bias"]
    return y - np.log(np.sum(np.exp(y), axis=1, keepdims=True))


def loss(vector: Any, images: Any, labels: Any) -> Any:
    """Return the mean negative log-likelihood and a little weight decay."""
    picked = scores(vector, images)[np.arange(len(labels)), labels]
    return 1e-4 * np.sum(vector * vector) - picked.mean()


def slope(vector: np.ndarray, images: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return the slope of the loss along a random direction: by its gradient, and measured."""
    direction = np.random.default_rng(1).normal(size=vector.shape)
    _, gradient = tg.value_and_grad(loss)(vector, images, labels)
    h = 1e-6 * direction
    measured = loss(vector + h, images, labels) - loss(vector - h, images, labels)
    return float(gradient @ direction), float(measured / 2e-6)


def main(epochs: int = 3, examples: int = 5_000) -> tuple[list[float], float, tuple[float, float]]:
    """Return the loss of each epoch, the test accuracy, and a slope by gradient and measured."""
    data = tg.data.digits()

    def small(images: np.ndarray) -> np.ndarray:  # means of 2 × 2 pixels
        return images.reshape(-1, 1, 14, 2, 14, 2).mean(axis=(3, 5)) / 255

    x, labels = small(data.train.images[:examples]), data.train.labels[:examples]
    test = small(data.test.images)
    rng = np.random.default_rng(0)
    vector, velocity = initial(rng), np.zeros(sum(map(math.prod, SHAPES.values())))
    objective = tg.value_and_grad(loss)
    history: list[float] = []
    accuracy = 0.0
    for epoch in range(epochs):
        values: list[float] = []
        for batch in np.array_split(rng.permutation(examples), examples // 50):
            value, gradient = objective(vector, x[batch], labels[batch])
            velocity = 0.9 * velocity - 0.05 * gradient
            vector = vector + velocity
            values.append(float(value))
        accuracy = float((scores(vector, test).argmax(axis=1) == data.test.labels).mean())
        history.append(float(np.mean(values)))
        print(f"epoch {epoch + 1}   loss {history[-1]:.3f}   test accuracy {accuracy:.1%}")
    slopes = slope(vector, x[:100], labels[:100])
    print(f"slope {slopes[0]:.6f} by the gradient, {slopes[1]:.6f} measured")
    return history, accuracy, slopes


if __name__ == "__main__":
    main()
