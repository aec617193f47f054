"""The normalizations that are compositions: calls of each, and its value in loops."""

from __future__ import annotations

from typing import Any

import numpy as np

from support.composed_losses import Calls
from tinygrad_cnn import ops

Array = np.ndarray[Any, Any]


def normalized(x: Array, eps: float) -> Array:
    return (x - x.mean()) / np.sqrt(x.var() + eps)


def channels(least: int) -> Calls:
    """Return `calls` with images, and a scale and a shift for each channel."""

    def calls(draw: Any, s: Any) -> tuple[tuple[Array, ...], dict[str, Any]]:
        shape = (draw(s.integers(1, 3)), 4, *draw(s.shapes(least - 2, 2, 2, 3)))
        options: dict[str, Any] = {"eps": draw(s.sampled_from([1e-3, 0.5]))}
        if least == 2:
            options["num_groups"] = draw(s.sampled_from([1, 2, 4]))
        return tuple(draw(s.arrays(n)) for n in (shape, (4,), (4,))), options

    return calls


def group_norm(x: Array, weight: Array, bias: Array, eps: float, num_groups: int = 4) -> Array:
    parts = x.reshape(len(x) * num_groups, -1)
    y = np.array([normalized(part, eps) for part in parts]).reshape(len(x), 4, -1)
    return (y * weight[:, None] + bias[:, None]).reshape(x.shape)


def last_axes(draw: Any, s: Any) -> tuple[tuple[Array, ...], dict[str, Any]]:
    shape = draw(s.shapes(min_dims=1))
    inner = shape[draw(s.integers(0, len(shape) - 1)) :]
    arrays = tuple(draw(s.arrays(n)) for n in (shape, inner, inner))
    return arrays, {"normalized_shape": inner, "eps": draw(s.sampled_from([1e-3, 0.5]))}


def layer_norm(x: Array, weight: Array, bias: Array, normalized_shape: Any, eps: float) -> Array:
    parts = x.reshape(-1, weight.size)
    y = np.array([normalized(part, eps) for part in parts]).reshape(x.shape)
    return y * weight + bias


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
    "group_norm": (channels(2), group_norm, 2,
                   lambda x, w, b, **rest: ops.group_norm(x, weight=w, bias=b, **rest)),
    "instance_norm": (channels(3), group_norm),
    "layer_norm": (last_axes, layer_norm, 2,
                   lambda x, w, b, **rest: ops.layer_norm(x, weight=w, bias=b, **rest)),
    "local_response_norm": (neighbors, local_response_norm),
}  # fmt: skip
"""The fields of `composed.Composed`."""
