"""Forward and backward of six layers in NumPy, each beside autograd: the exercises of CS231n.

Stanford's course asks for the backward pass of each layer, and checks it by finite differences.
Here the right answer is the vector-Jacobian product of the same function, which `tg.vjp` computes
exactly. Write your own version of a function below and run the file to check it:

    python examples/layers_by_hand.py

It prints, for each layer and each of its inputs, the largest relative error of the gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_cnn as tg

Array = np.ndarray
Backward = Callable[..., tuple[Array, ...]]


def affine_backward(g: Array, x: Array, w: Array, b: Array) -> tuple[Array, ...]:
    """Affine: y = x·w + b, for x of any shape (N, ...), which becomes (N, D)."""
    rows = x.reshape(len(x), -1)  # (N, D)
    return (g @ w.T).reshape(x.shape), rows.T @ g, g.sum(axis=0)


def relu_backward(g: Array, x: Array) -> tuple[Array, ...]:
    """ReLU: y = max(0, x)."""
    return (g * (x > 0),)


def conv_backward(g: Array, x: Array, w: Array, b: Array) -> tuple[Array, ...]:
    """Convolution: y[n, f] = Σ_c x[n, c] ⋆ w[f, c] + b[f], with padding 1 and stride 1."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    dx, dw = np.zeros_like(padded), np.zeros_like(w)
    height, width = g.shape[2:]
    for i in range(w.shape[2]):
        for j in range(w.shape[3]):
            window = (..., slice(i, i + height), slice(j, j + width))
            dw[:, :, i, j] = np.einsum("nfhw,nchw->fc", g, padded[window])
            dx[window] += np.einsum("nfhw,fc->nchw", g, w[:, :, i, j])
    return dx[:, :, 1:-1, 1:-1], dw, g.sum(axis=(0, 2, 3))


def maxpool_backward(g: Array, x: Array) -> tuple[Array, ...]:
    """Max pooling: the largest value of each window of 2 × 2 gets its gradient."""
    n, c, h, w = x.shape
    windows = x.reshape(n, c, h // 2, 2, w // 2, 2)
    largest = windows == windows.max(axis=(3, 5), keepdims=True)
    return ((largest * g[:, :, :, None, :, None]).reshape(x.shape),)


def batchnorm_backward(g: Array, x: Array, gamma: Array, beta: Array) -> tuple[Array, ...]:
    """Batch normalization: y = gamma·x̂ + beta, x̂ = (x − mean) / √(variance + 1e-5)."""
    std = np.sqrt(x.var(axis=0) + 1e-5)
    normal = (x - x.mean(axis=0)) / std
    h = g * gamma
    dx = (h - h.mean(axis=0) - normal * (h * normal).mean(axis=0)) / std
    return dx, (g * normal).sum(axis=0), g.sum(axis=0)


LABELS = np.array([1, 0, 2, 2])


def softmax_loss_backward(g: Array, x: Array) -> tuple[Array, ...]:
    """Cross-entropy: y = the mean of −log softmax(x)[label]; probabilities minus indicators."""
    p = np.exp(x - x.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(x)), LABELS] -= 1
    return (g * p / len(x),)


def batchnorm(x: Any, gamma: Any, beta: Any) -> Any:
    """Return the normalization of each column, written for NumPy: `tg.vjp` differentiates it."""
    return gamma * (x - np.mean(x, axis=0)) / np.sqrt(np.var(x, axis=0) + 1e-5) + beta


def affine(x: Any, w: Any, b: Any) -> Any:
    """Return x·w + b with the rows of `x` flattened."""
    return np.reshape(x, (len(x), -1)) @ w + b


def conv(x: tg.Tensor, w: tg.Tensor, b: tg.Tensor) -> tg.Tensor:
    """Return the convolution that keeps height and width."""
    return tg.conv2d(x, w, b, padding=1)


def softmax_loss(x: tg.Tensor) -> tg.Tensor:
    """Return the cross-entropy of `LABELS`."""
    return tg.cross_entropy(x, LABELS)


LAYERS: dict[str, tuple[Callable[..., Any], Backward, dict[str, tuple[int, ...]]]] = {
    "affine": (affine, affine_backward, {"x": (4, 2, 3), "w": (6, 5), "b": (5,)}),
    "relu": (tg.relu, relu_backward, {"x": (4, 5)}),
    "conv": (conv, conv_backward, {"x": (2, 3, 5, 6), "w": (4, 3, 3, 3), "b": (4,)}),
    "max pooling": (tg.maxpool, maxpool_backward, {"x": (2, 3, 4, 6)}),
    "batch norm": (batchnorm, batchnorm_backward, {"x": (8, 5), "gamma": (5,), "beta": (5,)}),
    "softmax loss": (softmax_loss, softmax_loss_backward, {"x": (4, 3)}),
}
"""The function, its backward pass, and the shapes of its inputs."""


def check(forward: Callable[..., Any], backward: Backward, *inputs: Array) -> list[float]:
    """Return the relative error of each gradient for a random gradient flowing in."""
    y, pull_back = tg.vjp(forward, *inputs)
    g = np.random.default_rng(1).normal(size=y.shape)
    return [
        float(np.abs(mine - right).max() / np.abs(right).max())
        for mine, right in zip(backward(g, *inputs), pull_back(g), strict=True)
    ]


def main() -> dict[str, list[float]]:
    """Return the relative errors of each layer's gradients."""
    rng = np.random.default_rng(0)
    results: dict[str, list[float]] = {}
    for name, (forward, backward, shapes) in LAYERS.items():
        inputs = [rng.normal(size=shape) for shape in shapes.values()]
        results[name] = check(forward, backward, *inputs)
        errors = "   ".join(
            f"d{of} {error:.0e}" for of, error in zip(shapes, results[name], strict=True)
        )
        print(f"{name:14}{errors}")
    return results


if __name__ == "__main__":
    main()
