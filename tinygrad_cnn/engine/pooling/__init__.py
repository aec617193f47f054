"""Pooling, unfolding and their adjoints; large images are pooled piece by piece."""

from tinygrad_cnn.engine.pooling.offsets import (
    average,
    average_gradient,
    fold,
    gather,
    maximum,
    scatter,
    unfold,
    winner,
)

__all__ = [
    "average",
    "average_gradient",
    "fold",
    "gather",
    "maximum",
    "scatter",
    "unfold",
    "winner",
]
