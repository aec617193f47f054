"""Reports of gradient checks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygrad_cnn.check.comparison import Comparison, Index

HEADER = ("order", "input", "method", "worst error", "relative", "allowed", "where", "compared")


@dataclass(frozen=True, slots=True)
class InputReport:
    """The report of one input at one order.

    Attributes
    ----------
    input : str
        The name of the input.
    order : int
    method : str
        "complex" or "central".
    absolute, relative : float
        The worst error, and the same relative to the largest entry of the reference.
    where : tuple of int or None
        The entry with the worst error; None if the input was compared along random directions.
    tolerance : float
        The tolerance at that entry.
    compared, size : int
        The number of entries compared one by one, and of all entries.
    directions : int
        The number of random directions along which a large input was compared.
    kinks : tuple of str
        The entries that are on a kink and were not compared.
    """

    input: str
    order: int
    method: str
    absolute: float
    relative: float
    where: Index | None
    tolerance: float
    compared: int
    size: int
    directions: int
    kinks: tuple[str, ...]

    @classmethod
    def of(cls, made: Comparison) -> InputReport:
        """Return the report of a comparison."""
        known = made.known
        error = np.where(known, np.abs(made.gradient - made.reference), 0.0)
        where: Index | None = None
        absolute = tolerance = 0.0
        scale = float(np.max(np.abs(made.reference[known]), initial=0.0))
        if known.any():
            where = tuple(int(k) for k in np.unravel_index(np.argmax(error), error.shape))
            absolute, tolerance = float(error[where]), float(made.tolerance[where])
        for answer in made.directions:
            off = abs(answer.got - answer.reference)
            scale = max(scale, abs(answer.reference))
            if off > absolute or not known.any():
                where, absolute, tolerance = None, off, answer.tolerance
        relative = absolute / scale if scale > tolerance else absolute
        kinks = tuple(
            f"kink at {made.label} entry {index}: {op}" for index, op in made.kinks.items()
        )
        return cls(made.label, made.order, made.method, absolute, relative, where, tolerance,
                   int(known.sum()), made.gradient.size, len(made.directions), kinks)  # fmt: skip


@dataclass(frozen=True, slots=True)
class GradientReport:
    """The report of a passed check: all inputs at all orders."""

    rows: tuple[InputReport, ...]

    @property
    def worst(self) -> float:
        """The worst relative error."""
        return max((row.relative for row in self.rows), default=0.0)

    @property
    def kinks(self) -> tuple[str, ...]:
        """The entries that are on a kink and were not compared."""
        return tuple(kink for row in self.rows for kink in row.kinks)

    def __str__(self) -> str:
        lines: list[tuple[str, ...]] = [HEADER]
        for row in self.rows:
            where = str(row.where) if row.where is not None else "-"
            compared = f"{row.compared} of {row.size}"
            if row.directions:
                where = where if row.where is not None else "a direction"
                compared = f"{row.directions} directions"
            errors = [f"{error:.1e}" for error in (row.absolute, row.relative, row.tolerance)]
            lines.append((str(row.order), row.input, row.method, *errors, where, compared))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        padded = [[c.ljust(w) for c, w in zip(line, widths, strict=True)] for line in lines]
        return "\n".join([*("  ".join(line).rstrip() for line in padded), *self.kinks])
