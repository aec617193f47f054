"""One cell of a layer explained: its terms and its receptive field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.studio.explain.equations import equation_of
from tinygrad_cnn.studio.explain.field import Rectangle, receptive_field, seen_by
from tinygrad_cnn.studio.explain.forward import ExplainError, LayerCall, forward, softmax_of
from tinygrad_cnn.studio.explain.tables import PrintedSoftmax, PrintedSum
from tinygrad_cnn.studio.explain.terms import Picture, Rest, SumTerm, sentence_of, sum_of
from tinygrad_cnn.train import TrainedModel

__all__ = ["Cell", "Source", "explain_cell"]


@dataclass(frozen=True)
class Source:
    """The part of a layer's input that a cell is computed from.

    Each unit of a one-dimensional input is a channel with one cell.

    Attributes
    ----------
    layer : str
        The layer with this output; "input" for the network's input, empty inside a composite layer.
    channels : list of int
        Start and end, end excluded.
    top, left, bottom, right : int
        Rows `top` to below `bottom`, columns `left` to below `right`.
    """

    layer: str
    channels: list[int]
    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True)
class Cell:
    """The computation of a cell's value.

    Attributes
    ----------
    layer, kind : str
    cell : list of int
    value : float
    sentence : str
        What such a layer computes, in words; may be empty.
    equation : str
    mathml : str or None
    reference : str
        The equation's number in the text.
    written : str
        The equation in numbers; it holds exactly as printed.
    field : Rectangle
        The receptive field in the network's input.
    source : Source

    The other attributes are those of a `Sum`.
    """

    layer: str
    kind: str
    cell: list[int]
    value: float
    sentence: str
    equation: str
    mathml: str | None
    reference: str
    written: str
    terms: list[SumTerm]
    rest: Rest | None
    bias: float | None
    constants: dict[str, float]
    winner: list[int] | None
    picture: Picture | None
    printed: PrintedSum | PrintedSoftmax | None
    field: Rectangle
    source: Source


def explain_cell(
    run: TrainedModel,
    picture: NDArray[np.uint8],
    layer: str,
    cell: Sequence[int],
    temperature: float = 1.0,
) -> Cell:
    """Return the computation of one cell of a layer's output.

    Parameters
    ----------
    run : TrainedModel
    picture : ndarray of uint8
        The network's input: (28, 28).
    layer : str
        A layer name from `explain_layers`.
    cell : sequence of int
        Channel, row and column; or the unit.
    temperature : float
        Temperature of the softmax after the network.

    Raises
    ------
    ExplainError
        If the layer or cell does not exist, or the layer cannot be written out: its kind is
        unknown, or it computes several ops.
    """
    seen = forward(run, picture)
    found = _found([*seen.layers, softmax_of(seen, temperature)], layer)
    index = tuple(cell)
    shape = found.output.shape
    if len(index) != len(shape) or not all(
        0 <= place < size for place, size in zip(index, shape, strict=True)
    ):
        raise ExplainError(
            f"the cell is {list(index)}, but {layer} gives {' × '.join(map(str, shape))}: "
            f"expected {len(shape)} integers >= 0 and below these sizes"
        )
    parts = sum_of(found, index)
    equation = equation_of(found.op)
    value = float(found.output[index])
    return Cell(
        layer=found.name,
        kind=found.kind,
        cell=list(index),
        value=value,
        sentence=sentence_of(found.op),
        equation=equation.text,
        mathml=equation.mathml,
        reference=equation.reference,
        written=parts.written.text(value),
        terms=parts.terms,
        rest=parts.rest,
        bias=parts.bias,
        constants=parts.constants,
        winner=parts.winner,
        picture=parts.picture,
        printed=parts.printed,
        field=receptive_field(found, index),
        source=_source(found, index),
    )


def _found(layers: list[LayerCall], name: str) -> LayerCall:
    for layer in layers:
        if layer.name == name:
            return layer
    known = ", ".join(layer.name for layer in layers)
    raise ExplainError(f"the network has no layer {name!r}; expected one of {known}")


def _source(layer: LayerCall, cell: tuple[int, ...]) -> Source:
    region = seen_by(layer, tuple((place, place + 1) for place in cell))
    channels, rows, columns = region if len(region) == 3 else (region[0], (0, 1), (0, 1))
    inner = "" if layer.picture is not None else "input"
    name = inner if layer.source is None else layer.source.name
    return Source(name, list(channels), rows[0], columns[0], rows[1], columns[1])
