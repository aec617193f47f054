"""`Summary`: a table of a model's layers."""

from __future__ import annotations

from dataclasses import dataclass

from tinygrad_cnn.core.observer import ForwardEvent, Observer
from tinygrad_cnn.core.recording import recording
from tinygrad_cnn.support.text import aligned, shape_text


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One layer of a `Summary`.

    Attributes
    ----------
    name : str
        The path in the model, such as ``"features.0"``; empty for the model itself.
    kind : str
        The class name.
    output_shape : tuple of int or None
        Of the last call, without the batch axis. None if the layer was not called.
    parameters : int
        The number of learned values in the layer itself.
    multiply_adds : int or None
        Of all calls for one example. None if the model was not run.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...] | None
    parameters: int
    multiply_adds: int | None


@dataclass(frozen=True, slots=True, repr=False)
class Summary:
    """The result of `Module.summary`; prints as a table.

    Attributes
    ----------
    rows : tuple of SummaryRow
        The layers, in the order of the model's attributes.
    """

    rows: tuple[SummaryRow, ...]

    @property
    def parameters(self) -> int:
        """The number of learned values."""
        return sum(row.parameters for row in self.rows)

    @property
    def multiply_adds(self) -> int | None:
        """The multiply-adds of a forward pass of one example; None if the model was not run."""
        counts = [row.multiply_adds for row in self.rows]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    def __str__(self) -> str:
        cells: list[tuple[str, ...]] = [("layer", "kind", "output", "parameters", "multiply-adds")]
        for row in self.rows:
            cells.append((row.name, row.kind, shape_text(row.output_shape),
                          _grouped(row.parameters), _grouped(row.multiply_adds)))  # fmt: skip
        cells.append(("total", "", "", _grouped(self.parameters), _grouped(self.multiply_adds)))
        if self.multiply_adds is None:
            cells = [(name, kind, parameters) for name, kind, _, parameters, _ in cells]
        return "\n".join(aligned(cells, "<<>" if len(cells[0]) == 3 else "<<<>"))

    __repr__ = __str__


class CostCounter(Observer):
    """Sums the multiply-adds of each module's own ops, by the module's id."""

    def __init__(self) -> None:
        self.costs: dict[int, int] = {}

    def forward(self, event: ForwardEvent) -> None:
        """Add the cost of an op to those of the module that called it."""
        module = recording.get().module
        if module is not None and event.output is not None:
            key = id(module)
            self.costs[key] = self.costs.get(key, 0) + event.op.cost(event.arguments, event.output)


def _grouped(count: int | None) -> str:
    return "" if count is None else f"{count:,}"
