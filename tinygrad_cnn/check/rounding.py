"""Rounding: bounds on it, and a perturbation that measures it.

The change of a gradient under shaking estimates its rounding error, including any cancellation
(Monte Carlo arithmetic: Parker, 1997).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.observer import ForwardEvent, Observer
from tinygrad_cnn.engine.arrays import Array

NUDGE = 2.0**-23  # the relative change of inputs that measures sensitivity
SAFETY = 16.0


class Peak(Observer):
    """The largest value that any op returned."""

    def __init__(self) -> None:
        self.value = 0.0

    def forward(self, event: ForwardEvent) -> None:
        """Update the maximum with one call."""
        if event.output is not None and event.output.dtype.kind == "f":
            self.value = max(self.value, float(np.max(np.abs(event.output), initial=0.0)))


class Rounding:
    """Bounds on the rounding errors of the results of `f`, from their sensitivity to the inputs.

    A result computed with relative precision ε from exact inputs has an error of a few ε times its
    own size, the size of intermediate values (`peaks`), and its change when an input changes by ε,
    for each of the values summed for it (`lengths`).
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
        """Return the tolerance of result `i` when computed in `dtype`."""
        epsilon = float(np.finfo(dtype).eps)
        return float(SAFETY * self.lengths[i] * epsilon * self.sizes[i] + np.finfo(dtype).tiny)


def _nudged(x: Array, phase: float) -> Array:
    """Return `x` slightly changed, equal values by equal amounts so that ties remain."""
    return np.asarray(x * (1.0 + NUDGE * np.sin(12345.0 * x + phase)))


class Shaking(Observer):
    """Multiply the result of each op by 1 + 2ε·r, with |r| from ½ to 1.

    The r of a value depends only on its bits and on `seed`: equal values stay equal and zeros stay
    zero, so that ties and thresholds at 0 lead to the same branches.
    """

    def __init__(self, seed: int) -> None:
        self.key = np.uint64(2 * seed + 1)

    def forward(self, event: ForwardEvent) -> None:
        """Shake the result in place, unless it shares memory with an argument."""
        y = event.output
        if y is None or y.dtype.char not in "fdFD" or not y.flags.writeable:
            return
        given = event.arguments.values()
        arrays = [a for v in given for a in (v if isinstance(v, list) else [v])]
        if any(isinstance(a, np.ndarray) and np.may_share_memory(a, y) for a in arrays):
            return
        self._shake(y.real)
        if y.dtype.kind == "c":
            self._shake(y.imag)

    def _shake(self, x: NDArray[Any]) -> None:
        bits = x.view(f"u{x.itemsize}").astype(np.uint64)
        bits = (bits ^ (bits >> np.uint64(32))) * self.key  # the top bits are well mixed
        bits = (bits ^ (bits >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
        r = bits.astype(np.float64) * 2.0**-63 - 1.0  # from −1 to 1
        r = (r + np.copysign(1.0, r)) / 2
        x *= (1.0 + 2.0 * np.finfo(x.dtype).eps * r).astype(x.dtype)
