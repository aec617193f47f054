"""The comparison of backward's gradient with the reference, for one input."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from tinygrad_cnn.engine.arrays import Array

Position: TypeAlias = tuple[int, ...]

RELATIVE = {"complex": 1e-12, "central": 1e-9}


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """Options of a comparison: `method`, tolerances `rtol` and `atol`, and `seed`.

    Inputs of up to `entries` elements are compared entry by entry, larger inputs along directions.

    `rtol` defaults to the precision of the method. `atol` is measured by default: the reference's
    own error estimate and, if that is not enough, the rounding of the entry (`check_gradients`).
    """

    method: str
    rtol: float | None
    atol: float | None
    seed: int
    entries: int

    @property
    def relative(self) -> float:
        """The relative error to allow."""
        return RELATIVE[self.method] if self.rtol is None else self.rtol


@dataclass(frozen=True, slots=True)
class LineComparison:
    """Backward's derivative and the reference along one direction, with the tolerance."""

    got: float
    reference: float
    tolerance: float
    kink: str = ""

    @property
    def wrong(self) -> bool:
        """Whether they differ by more than the tolerance."""
        return not self.kink and not abs(self.got - self.reference) <= self.tolerance


@dataclass(slots=True)
class InputComparison:
    """One input at one order: backward's gradient, the reference and the tolerance.

    Entries that were not compared are NaN in `reference`: those on `kinks` and, for a large input
    compared along random directions, all but a few.
    """

    label: str
    order: int
    method: str
    gradient: Array
    reference: Array
    tolerance: Array
    kinks: dict[Position, str] = field(default_factory=dict)
    directions: list[LineComparison] = field(default_factory=list)

    @property
    def known(self) -> Array:
        """The mask of the entries compared one by one."""
        return ~np.isnan(self.reference)

    @property
    def wrong(self) -> Array:
        """The mask of the entries that differ by more than the tolerance."""
        close = np.abs(self.gradient - self.reference) <= self.tolerance
        return np.asarray(self.known & ~close)

    @property
    def failed(self) -> bool:
        """Whether backward's gradient is wrong."""
        return bool(self.wrong.any()) or any(answer.wrong for answer in self.directions)

    @property
    def worst(self) -> Position | None:
        """The entry with the largest error; None if only directions show that one is wrong."""
        wrong = self.wrong
        if not wrong.any():
            return None
        error = np.where(wrong, np.abs(self.gradient - self.reference), -1.0)
        furthest = int(np.argmax(np.nan_to_num(error, nan=np.inf)))
        return tuple(int(k) for k in np.unravel_index(furthest, error.shape))
