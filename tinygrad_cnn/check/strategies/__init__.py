"""Hypothesis strategies for arguments of ops: arrays, shapes, windows, memory layouts.

Beside them are the strategies of Hypothesis that most calls need, such as `sampled_from`.
"""

from typing import TYPE_CHECKING

from hypothesis.strategies import (
    booleans,
    floats,
    integers,
    just,
    lists,
    none,
    one_of,
    permutations,
    sampled_from,
    tuples,
)

from tinygrad_cnn.check.strategies.arrays import (
    arrays,
    distinct,
    labels,
    masks,
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
    winners,
)
from tinygrad_cnn.support.modules import public

__all__ = [
    "LAYOUTS",
    "Convolution",
    "Pooling",
    "arrays",
    "axes",
    "booleans",
    "broadcasting",
    "convolutions",
    "distinct",
    "floats",
    "indices",
    "integers",
    "just",
    "labels",
    "large_convolutions",
    "layouts",
    "lists",
    "masks",
    "matmul_shapes",
    "none",
    "one_hot",
    "one_of",
    "operands",
    "permutations",
    "poolings",
    "probabilities",
    "sampled_from",
    "shapes",
    "transposed_convolutions",
    "tuples",
    "winners",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = public(__name__)
