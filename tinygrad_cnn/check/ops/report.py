"""Reports and errors of op checks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tinygrad_cnn.check.calls import Call
from tinygrad_cnn.check.mismatch import GradientMismatch


class OpCheckError(AssertionError):
    """An op breaks a promise of its declaration.

    Attributes
    ----------
    op : str
        The name of the op.
    property : str
        The property that fails.
    parameter : str
        The input concerned; empty if none in particular.
    example : str
        The smallest failing call found.
    """

    op: str
    parameter: str

    def __init__(self, call: Call, broken: str, parameter: str, message: str) -> None:
        self.op = call.op.name
        self.property = broken
        self.parameter = parameter
        self.example = str(call)
        for_one = f", for {parameter}" if parameter else ""
        super().__init__(
            f"{self.op} breaks “{broken}”{for_one}\n\n{message}\n\nexample: {self.example}"
        )


class OpGradientError(OpCheckError, GradientMismatch):
    """A derivative of an op is wrong; also has the attributes of a `GradientMismatch`."""


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
        return text_table([self])


COLUMNS = ("op", "input", "orders", "method", "worst error", "examples", "largest", "time")


def text_table(reports: Iterable[OpReport]) -> str:
    """Return the reports as one text table."""
    lines = [COLUMNS, *(row for report in reports for row in report.rows())]
    widths = [max(len(line[k]) for line in lines) for k in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
