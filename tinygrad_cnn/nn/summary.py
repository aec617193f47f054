"""`Summary`: a table of a model's layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_cnn.core.dtypes import get_default_dtype
from tinygrad_cnn.core.observer import ForwardEvent, Observer, observe
from tinygrad_cnn.core.recording import changed_recording, no_grad, recording
from tinygrad_cnn.core.tensor import Parameter, Tensor
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


def summarize(module: Any, input_shape: tuple[int, ...] | None) -> Summary:
    """Return the summary of a `Module`; without `input_shape`, only parameters are counted."""
    shapes, costs = ({}, None) if input_shape is None else _trace(module, tuple(input_shape))
    counted: set[int] = set()
    rows = []
    for name, inner in module.named_modules():
        members = (member for _, member in inner._members())
        own = {id(p): p._array.size for p in members if isinstance(p, Parameter)}
        learned = sum(size for key, size in own.items() if key not in counted)
        counted.update(own)
        cost = None if costs is None else costs.get(id(inner), 0)
        is_layer = next(inner.children(), None) is None
        if is_layer or learned or cost:
            shape = shapes.get(id(inner))
            rows.append(SummaryRow(name, type(inner).__name__, shape, learned, cost))
    return Summary(tuple(rows))


def _trace(
    module: Any, input_shape: tuple[int, ...]
) -> tuple[dict[int, tuple[int, ...]], dict[int, int]]:
    """Run a model on zeros; return output shapes without batch axis, and multiply-adds, by id."""
    held = (t.dtype for _, t in module._named_tensors() if isinstance(t, Parameter))
    dtype = next(held, get_default_dtype())
    x = Tensor(np.zeros((1, *input_shape), dtype))
    modes = [(inner, inner.training) for inner in module.modules()]
    counter, shapes = CostCounter(), dict[int, tuple[int, ...]]()
    try:
        module.eval()
        with no_grad(), observe(counter), changed_recording(module=None, shapes=shapes):
            module(x)
    finally:
        for inner, training in modes:
            inner.training = training
    return {key: shape[1:] for key, shape in shapes.items()}, counter.costs
