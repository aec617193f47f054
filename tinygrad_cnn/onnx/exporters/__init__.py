"""How each op is exported, in the families of `tinygrad_cnn.ops`.

A module declares one function an op, with the decorator `tinygrad_cnn.onnx.exporter`. The ops that
no file can contain stand in `REFUSED`.
"""

from tinygrad_cnn.capture import REFUSED
from tinygrad_cnn.onnx.exporters import (
    activation,
    arithmetic,
    arrangement,
    convolution,
    elementary,
    entropy,
    gathering,
    hard_activation,
    indexing,
    linear,
    linear_units,
    loaded,
    logic,
    loss,
    normalization,
    padding,
    pooling,
    reduction,
    resampling,
    rounding,
    sampling,
    shape,
    statistics,
    trigonometry,
    unfolding,
)

__all__ = [
    "REFUSED",
    "activation",
    "arithmetic",
    "arrangement",
    "convolution",
    "elementary",
    "entropy",
    "gathering",
    "hard_activation",
    "indexing",
    "linear",
    "linear_units",
    "loaded",
    "logic",
    "loss",
    "normalization",
    "padding",
    "pooling",
    "reduction",
    "resampling",
    "rounding",
    "sampling",
    "shape",
    "statistics",
    "trigonometry",
    "unfolding",
]
