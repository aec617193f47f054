"""The losses that are compositions: calls of each, and its value by SciPy or in loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from support.references import REDUCE

Array = np.ndarray[Any, Any]
Calls = Callable[[Any, Any], tuple[tuple[Array, ...], dict[str, Any]]]


def pairs(low: float = -2.0, **options: Any) -> Calls:
    """Return `calls` with a prediction from `low` to 2 and a target within 0 and 1.

    Their difference is not on a kink.
    """

    def calls(draw: Any, s: Any) -> tuple[tuple[Array, ...], dict[str, Any]]:
        shape = draw(s.shapes())
        prediction = draw(s.arrays(shape, low, 2.0, off_kinks=True))
        target = (draw(s.arrays(shape, -2.0, 2.0)) + 2.25) / 4.5
        prediction = prediction / 2.0 if low == 0.0 else prediction
        return (prediction, target), {
            "reduction": draw(s.sampled_from(["mean", "sum", "none"])),
            **{name: draw(s.sampled_from(values)) for name, values in options.items()},
        }

    return calls


def scores(draw: Any, s: Any) -> tuple[tuple[Array, ...], dict[str, Any]]:
    shape, classes = draw(s.shapes(max_dims=2)), draw(s.integers(2, 4))
    labels = np.asarray(draw(s.labels(shape, classes)))
    labels.reshape(-1)[1:2] = -1  # the second is ignored
    return (draw(s.arrays((*shape, classes), low=-2.0, high=2.0)),), {
        "target": labels,
        "reduction": draw(s.sampled_from(["mean", "sum", "none"])),
        "axis": -1,
        "weight": draw(s.sampled_from([None, np.arange(1.0, classes + 1)])),
        "ignore_index": -1,
    }


def nll(x: Array, target: Array, reduction: str, axis: int, weight: Any, ignore_index: int) -> Any:
    losses, weights = np.zeros(target.shape), np.zeros(target.shape)
    for at in np.ndindex(target.shape):
        if target[at] != ignore_index:
            weights[at] = 1.0 if weight is None else weight[target[at]]
            losses[at] = -weights[at] * x[at][target[at]]
    return losses.sum() / weights.sum() if reduction == "mean" else REDUCE[reduction](losses)


def smooth_l1(prediction: Array, target: Array, reduction: str, beta: float) -> Any:
    d = np.abs(prediction - target)
    return REDUCE[reduction](special.huber(beta, d) / beta if beta else d)


def binary(p: Array, t: Array, reduction: str) -> Any:
    """Return the cross-entropy as divergence and entropy."""
    divergence = special.rel_entr(t, p) + special.rel_entr(1 - t, 1 - p)
    return REDUCE[reduction](divergence + special.entr(t) + special.entr(1 - t))


def vectors(count: int, **options: Any) -> Calls:
    """Return `calls` with matrices of nonzero rows of the same shape."""

    def calls(draw: Any, s: Any) -> tuple[tuple[Array, ...], dict[str, Any]]:
        shape = draw(s.shapes(2, 2, 1, 3))
        arrays = tuple(draw(s.arrays(shape, -2.0, 2.0, off_kinks=True)) for _ in range(count))
        return arrays, {name: draw(s.sampled_from(values)) for name, values in options.items()}

    return calls


def triplets(draw: Any, s: Any) -> tuple[tuple[Array, ...], dict[str, Any]]:
    (anchor, positive), options = vectors(
        2, p=[1.5, 2.0, 3.0], swap=[True, False], reduction=["mean", "sum", "none"]
    )(draw, s)
    # irrational steps, so that no distances are equal; the negative is near or far
    steps = np.sqrt(2.0 + np.arange(anchor.size)).reshape(anchor.shape)
    negative = anchor + draw(s.sampled_from([0.1, 9.0])) * steps
    return (anchor, positive + np.pi / 100, negative), options


def distance(a: Array, b: Array, p: float) -> Array:
    return np.linalg.norm(a - b + 1e-6, p, -1)


def triplet_margin(
    anchor: Array, positive: Array, negative: Array, p: float, swap: bool, reduction: str
) -> Any:
    far = distance(anchor, negative, p)
    if swap:
        far = np.minimum(far, distance(positive, negative, p))
    losses = np.maximum(distance(anchor, positive, p) - far + 1.0, 0.0)
    return REDUCE[reduction](losses)


def cosine(a: Array, b: Array, axis: int = -1) -> Array:
    return np.sum(a * b, axis) / np.sqrt(np.sum(a * a, axis) * np.sum(b * b, axis))


def opposites(draw: Any, s: Any) -> tuple[tuple[Array, ...], dict[str, Any]]:
    arrays, options = vectors(2, margin=[0.3], reduction=["mean", "sum", "none"])(draw, s)
    return arrays, {"target": np.resize([1, -1], len(arrays[0])), **options}


def cosine_embedding(a: Array, b: Array, target: Array, margin: float, reduction: str) -> Any:
    losses = np.where(target == 1, 1 - cosine(a, b), np.maximum(cosine(a, b) - margin, 0.0))
    return REDUCE[reduction](losses)


LOSSES: dict[str, tuple[Calls, Callable[..., Any]]] = {
    "binary_cross_entropy": (pairs(0.0), binary),
    "binary_cross_entropy_with_logits": (
        pairs(),
        lambda x, t, reduction: binary(special.expit(x), t, reduction),
    ),
    "cosine_embedding": (opposites, cosine_embedding),
    "cosine_similarity": (vectors(2, axis=[0, 1]), cosine),
    "normalize": (
        vectors(1, p=[1.5, 2.0, 3.0], axis=[0, -1]),
        lambda x, p, axis: x / np.linalg.norm(x, p, axis, keepdims=True),
    ),
    "pairwise_distance": (vectors(2, p=[1.5, 2.0, 3.0]), distance),
    "triplet_margin": (triplets, triplet_margin),
    "huber": (
        pairs(delta=[0.75]),
        lambda p, t, reduction, delta: REDUCE[reduction](special.huber(delta, p - t)),
    ),
    "kl_div": (
        pairs(),
        lambda x, t, reduction: REDUCE[reduction](special.rel_entr(t, np.exp(x))),
    ),
    "l1": (pairs(), lambda p, t, reduction: REDUCE[reduction](np.abs(p - t))),
    "nll": (scores, nll),
    "smooth_l1": (pairs(beta=[0.0, 0.75]), smooth_l1),
}
