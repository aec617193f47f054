"""How far two computations of one thing may differ by rounding alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_cnn.check.calls import Array
from tinygrad_cnn.core.observer import ForwardEvent, Observer

NUDGE = 2.0**-23  # the relative change that shows how a result follows its inputs
SAFETY = 16.0


class Peak(Observer):
    """The largest value that any op returned."""

    def __init__(self) -> None:
        self.value = 0.0

    def forward(self, event: ForwardEvent) -> None:
        """Look at one call."""
        if event.output is not None and event.output.dtype.kind == "f":
            self.value = max(self.value, float(np.max(np.abs(event.output), initial=0.0)))


class Rounding:
    """What rounding does to the results of `f`, by how they change when its inputs change a little.

    A result computed with relative precision ε from inputs that are exact is off by a few ε of
    itself, of what it was computed by way of (`peaks`), and by what a change of ε in an input
    changes, for each of the values that are added up for it (`lengths`).
    """

    def __init__(
        self,
        f: Callable[..., Sequence[Array]],
        inputs: Sequence[Array],
        lengths: Sequence[float],
        peaks: Sequence[float],
    ) -> None:
        results = [np.asarray(result, np.float64) for result in f(*inputs)]
        self.sizes = [
            max(peak, float(np.max(np.abs(result), initial=0.0)))
            for result, peak in zip(results, peaks, strict=True)
        ]
        self.lengths = lengths
        for phase in (0.0, 1.0):
            moved = [_nudged(x, phase) for x in inputs]
            for i, (result, other) in enumerate(zip(results, f(*moved), strict=True)):
                change = np.max(np.abs(np.asarray(other) - result), initial=0.0) / NUDGE
                self.sizes[i] = max(self.sizes[i], change)

    def allowed(self, i: int, dtype: Any = np.float64) -> float:
        """Return by how much result `i` may differ when it was computed in `dtype`."""
        epsilon = float(np.finfo(dtype).eps)
        return float(SAFETY * self.lengths[i] * epsilon * self.sizes[i] + np.finfo(dtype).tiny)


def _nudged(x: Array, phase: float) -> Array:
    """Return `x` changed a little, equal values by equal amounts so that ties stay ties."""
    return np.asarray(x * (1.0 + NUDGE * np.sin(12345.0 * x + phase)))
