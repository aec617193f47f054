"""Reports of passed checks: of a function's gradients and of an op."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygrad_cnn.check.comparison import InputComparison, Position
from tinygrad_cnn.support.text import aligned

HEADER = ("order", "input", "method", "worst error", "relative", "allowed", "where", "compared")
COLUMNS = ("op", "input", "orders", "method", "worst error", "examples", "largest", "time")


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
    where: Position | None
    tolerance: float
    compared: int
    size: int
    directions: int
    kinks: tuple[str, ...]

    @classmethod
    def of(cls, made: InputComparison) -> InputReport:
        """Return the report of a comparison."""
        known = made.known
        error = np.where(known, np.abs(made.gradient - made.reference), 0.0)
        where: Position | None = None
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
        return "\n".join([*aligned(lines, "<"), *self.kinks])


@dataclass(frozen=True, slots=True)
class OperandReport:
    """The report of one input of an op.

    Attributes
    ----------
    input : str
        The name of the parameter.
    order : int
        The highest order of the checked derivatives.
    method : str
        "complex" or "central", or both if it differed between calls.
    worst : float
        The worst error over all examples and orders, relative to the largest entry of the
        derivative (or to 1 if that is larger).
    """

    input: str
    order: int
    method: str
    worst: float


@dataclass(frozen=True, slots=True)
class OpReport:
    """The report of an op that keeps the promises of its declaration.

    Attributes
    ----------
    op : str
    operands : tuple of OperandReport
    examples : int
        The number of tried calls.
    seconds : float
    largest : int
        The number of entries of the largest array in a large call; 0 if there was none.
    asked : int or None
        The number of requested calls, if the inputs have fewer and all of them were tried.
    """

    op: str
    operands: tuple[OperandReport, ...]
    examples: int
    seconds: float
    largest: int = 0
    asked: int | None = None

    @property
    def worst(self) -> float:
        """The worst error over all inputs."""
        return max((operand.worst for operand in self.operands), default=0.0)

    def rows(self) -> list[tuple[str, ...]]:
        """Return a row of text for each input, in the order of `COLUMNS`."""
        made: list[tuple[str, ...]] = []
        for k, row in enumerate(self.operands):
            count = f"{self.examples} of {self.asked}" if self.asked else str(self.examples)
            once = (count, str(self.largest or "-"), f"{self.seconds:.2f} s")
            tried = once if k == 0 else ("", "", "")
            orders = "1" if row.order == 1 else f"1 to {row.order}"
            op = self.op if k == 0 else ""
            made.append((op, row.input, orders, row.method, f"{row.worst:.1e}", *tried))
        return made

    def __str__(self) -> str:
        return "\n".join(aligned([COLUMNS, *self.rows()], "<"))
