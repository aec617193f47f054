"""What a comparison of backward with values says of one input."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from tinygrad_cnn.check.functional import Array

Index: TypeAlias = tuple[int, ...]

RELATIVE = {"complex": 1e-12, "central": 1e-9}


@dataclass(frozen=True, slots=True)
class Settings:
    """How to compare: by which `method`, what `rtol` and `atol` to allow, from which `seed`.

    Inputs of up to `entries` elements are compared entry by entry, larger ones along directions.

    Without `rtol` it is what the method can do. Without `atol` it is measured: the reference's own
    estimate of its error and, where that does not do, by how much the entry changes when all points
    change by rounding.
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
class Answer:
    """What backward and the reference say of one direction, and how far they may differ."""

    got: float
    reference: float
    tolerance: float
    kink: str = ""

    @property
    def wrong(self) -> bool:
        """Whether they differ by more than that."""
        return not self.kink and not abs(self.got - self.reference) <= self.tolerance


@dataclass(slots=True)
class Comparison:
    """One input at one order: what backward gave, what values gave, and how far they may differ.

    Entries that were not compared are NaN in `reference`: those on `kinks` and, of a large input
    that was compared along random directions, all but a few.
    """

    label: str
    order: int
    method: str
    gradient: Array
    reference: Array
    tolerance: Array
    kinks: dict[Index, str] = field(default_factory=dict)
    directions: list[Answer] = field(default_factory=list)

    @property
    def known(self) -> Array:
        """The mask of the entries that were compared one by one."""
        return ~np.isnan(self.reference)

    @property
    def wrong(self) -> Array:
        """The mask of the entries that differ by more than they may."""
        close = np.abs(self.gradient - self.reference) <= self.tolerance
        return np.asarray(self.known & ~close)

    @property
    def failed(self) -> bool:
        """Whether backward is wrong."""
        return bool(self.wrong.any()) or any(answer.wrong for answer in self.directions)

    @property
    def worst(self) -> Index | None:
        """The wrong entry that is furthest off; None if only directions tell that one is."""
        wrong = self.wrong
        if not wrong.any():
            return None
        error = np.where(wrong, np.abs(self.gradient - self.reference), -1.0)
        furthest = int(np.argmax(np.nan_to_num(error, nan=np.inf)))
        return tuple(int(k) for k in np.unravel_index(furthest, error.shape))
