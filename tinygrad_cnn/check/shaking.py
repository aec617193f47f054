"""Shaking: perturb every result by about one unit in the last place, to measure rounding.

The change of a gradient under shaking estimates its rounding error, including any cancellation
(Monte Carlo arithmetic: Parker, 1997).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.observer import ForwardEvent, Observer


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
