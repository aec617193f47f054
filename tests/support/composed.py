"""The compositions: how to draw calls of each, and its value by other means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Composed:
    """How to check a composition.

    Attributes
    ----------
    calls : callable
        ``(draw, s)``, with Hypothesis' ``draw`` and the module `check.strategies`: returns the
        arrays to differentiate by, a tuple in the order of the parameters, and the other arguments
        by name.
    reference : callable
        The function in NumPy or SciPy, written another way; it takes the same arguments.
    order : int
        The highest order of derivatives to check; 0 for a function without derivatives.
    """

    calls: Callable[[Any, Any], tuple[tuple[Array, ...], dict[str, Any]]]
    reference: Callable[..., Any]
    order: int = 2


COMPOSED: dict[str, Composed] = {
    "ravel": Composed(lambda draw, s: ((draw(s.arrays()),), {}), np.ravel),
}
