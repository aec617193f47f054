"""Hypothesis strategies for arguments of ops: arrays, shapes, windows, memory layouts."""

from tinygrad_cnn.check.strategies.arrays import (
    arrays,
    distinct,
    labels,
    one_hot,
    operands,
    probabilities,
)
from tinygrad_cnn.check.strategies.layouts import LAYOUTS, layouts
from tinygrad_cnn.check.strategies.shapes import (
    axes,
    broadcasting,
    indices,
    matmul_shapes,
    shapes,
)
from tinygrad_cnn.check.strategies.windows import (
    Convolution,
    Pooling,
    convolutions,
    large_convolutions,
    poolings,
    transposed_convolutions,
)

__all__ = [
    "LAYOUTS",
    "Convolution",
    "Pooling",
    "arrays",
    "axes",
    "broadcasting",
    "convolutions",
    "distinct",
    "indices",
    "labels",
    "large_convolutions",
    "layouts",
    "matmul_shapes",
    "one_hot",
    "operands",
    "poolings",
    "probabilities",
    "shapes",
    "transposed_convolutions",
]
