"""The normalizations that are compositions: calls of each, and its value in loops."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def normalized(x: Array, eps: float) -> Array:
    return (x - x.mean()) / np.sqrt(x.var() + eps)


def channels(draw: Any, s: Any) -> tuple[tuple[Array, ...], dict[str, Any]]:
    """Draw images, and a scale and a shift for each channel."""
    shape = (draw(s.integers(1, 3)), 4, *draw(s.shapes(1, 2, 2, 3)))
    options = {"eps": draw(s.sampled_from([1e-3, 0.5]))}
    return tuple(draw(s.arrays(n)) for n in (shape, (4,), (4,))), options


def instance_norm(x: Array, weight: Array, bias: Array, eps: float) -> Array:
    parts = x.reshape(len(x) * 4, -1)
    y = np.array([normalized(part, eps) for part in parts]).reshape(len(x), 4, -1)
    return (y * weight[:, None] + bias[:, None]).reshape(x.shape)


def neighbors(draw: Any, s: Any) -> tuple[tuple[Array, ...], dict[str, Any]]:
    shape = (2, draw(s.integers(1, 5)), *draw(s.shapes(1, 2, 3)))
    return (draw(s.arrays(shape)),), {
        "size": draw(s.integers(1, 4)), "alpha": 0.5, "beta": 0.75, "k": 2.0,
    }  # fmt: skip


def local_response_norm(x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    y = np.empty(x.shape)
    for c in range(x.shape[1]):
        first = c - size // 2
        near = x[:, max(first, 0) : first + size]
        y[:, c] = x[:, c] / (k + alpha / size * np.sum(near**2, axis=1)) ** beta
    return y


NORMALIZATIONS: dict[str, tuple[Any, ...]] = {
    "instance_norm": (channels, instance_norm),
    "local_response_norm": (neighbors, local_response_norm),
}  # fmt: skip
"""The fields of `composed.Composed`."""
