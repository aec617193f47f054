"""The running statistics of a batch norm as rows."""

from __future__ import annotations

import math
from typing import Any

from tinygrad_cnn.compiler.lowering.tape import Writer, lowers_effect
from tinygrad_cnn.compiler.lowering.views import view
from tinygrad_cnn.compiler.program import Effect, LeafValue, StepValue
from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.engine.fast.running_statistics import counted, followed
from tinygrad_cnn.nn.layers.normalization import _BatchNorm


@lowers_effect(_BatchNorm._follow_batch)
def follow_batch(writer: Writer, effect: Effect) -> bool:
    """Write the update of the running statistics, of statistics that the forward has saved."""
    norm, found, x = (effect.arguments.get(name) for name in ("self", "statistics", "x"))
    if not (isinstance(norm, _BatchNorm) and type(norm)._follow is _BatchNorm._follow):
        return False
    if not isinstance(found, StepValue) or not isinstance(x, StepValue) or norm.ranks is not None:
        return False
    mean, variance, tracked = norm.running_mean, norm.running_var, norm.num_batches_tracked
    if mean is None or variance is None or tracked is None or mean.dtype != found.dtype:
        return False
    channels = x.shape[1]
    count = math.prod(x.shape) // channels
    if count < 2 or found.dtype.char not in "fd":
        return False
    momentum = writer.number(lambda: _momentum(norm))
    rows, _, columns, *_ = view(writer, found).strides
    for running, row, scale in ((mean, 0, 1.0), (variance, 2, count / (count - 1))):
        writer.row(
            followed, found.dtype, writer.changes(_leaf(running)), writer.at(found), channels,
            row * rows, columns, writer.number(scale), momentum,
        )  # fmt: skip
    writer.row(counted, found.dtype, writer.changes(_leaf(tracked)))
    return True


def _leaf(tensor: Variable) -> LeafValue:
    array = tensor._array
    return LeafValue("running", array.shape, array.dtype, array.strides, tensor)


def _momentum(norm: Any) -> float:
    """Return the weight of this batch, read before it is counted."""
    tracked = norm.num_batches_tracked
    return float(norm.momentum if norm.momentum is not None else 1.0 / (tracked.item() + 1))
