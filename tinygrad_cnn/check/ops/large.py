"""Properties of large calls, for which an op may select another algorithm."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tinygrad_cnn.check.ops.enlarging import Growth
from tinygrad_cnn.check.ops.probe import Probe, PropertyError, as_leaf
from tinygrad_cnn.check.strategies.layouts import LAYOUTS, fortran_order
from tinygrad_cnn.core.graph import grad

LARGE: dict[str, Callable[..., None]] = {}
"""The properties, by name."""


def holds(text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that lists a function in `LARGE` as the property `text`."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        LARGE[text] = function
        return function

    return decorate


@holds("a large call agrees with small ones")
def _(at: Probe, ways: Sequence[Growth] = ()) -> None:
    """If small calls split into parts along a batch, large calls must do so too."""
    rng = np.random.default_rng(0)
    for way in ways:
        axis = way.result_axis
        if axis is None or at.y.shape[axis] != way.length:
            continue
        chosen = [0, way.length - 1, *(int(k) for k in rng.integers(way.length, size=2))]
        small = way.piece(chosen)
        y = np.asarray(small(*small.inputs))
        got = np.take(at.y.array, chosen, axis)
        scale = float(np.max(np.abs(at.y.array), initial=0.0))
        apart = np.abs(got - y)
        if not (apart <= 1e-9 * scale).all():
            index = tuple(int(k) for k in np.argwhere(~(apart <= 1e-9 * scale))[0])
            raise PropertyError(
                f"the result is {got[index]:.17g} in a call of shape {at.y.shape}, but "
                f"{y[index]:.17g} in one of shape {y.shape} with the same numbers"
            )


@holds("the layout of a large call does not matter")
def _(at: Probe, ways: Sequence[Growth] = ()) -> None:
    """Check float32 in Fortran order, and with each array in another of `LAYOUTS`."""
    others = [LAYOUTS[(at.y.size + k) % len(LAYOUTS)] for k in range(len(at.call.inputs))]
    for layouts in ([fortran_order] * len(others), others):
        pairs = zip(layouts, at.call.inputs, strict=True)
        leaves = [as_leaf(layout(x.astype(np.float32))) for layout, x in pairs]
        y = at.call(*leaves)
        where = f"in float32 of inputs in {', '.join(layout.__name__ for layout in layouts)}"
        at.compare_result(y.array, f"the result {where}", dtype=np.float32)
        at.compare_gradients(grad(y, leaves, gradient=at.u), where, dtype=np.float32)
