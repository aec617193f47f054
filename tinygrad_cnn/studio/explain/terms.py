"""A cell's value number by number: what each kind of layer adds up, weighs or chooses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.draw.text import number
from tinygrad_cnn.engine.windows import Axis
from tinygrad_cnn.studio.encoding import Maps, encode
from tinygrad_cnn.studio.explain.forward import ExplainError, Layer

__all__ = ["Picture", "Rest", "Sum", "Term", "sum_of"]

LARGEST = 10
"""How many terms of a dense layer are told one by one."""

IN_A_LINE = 12
"""How many terms are written out in a sentence."""

Cells: TypeAlias = list[list[float | None]]
Cell: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Term:
    """One term of a sum.

    Attributes
    ----------
    source : str
        Where it comes from, such as "channel 2" or "unit 17".
    index : list of int
        The same as the first places of an index of what the layer was given.
    patch : list of list
        What the layer was given there, row by row; None where a max-pooling's window lies outside.
    kernel : list of list, or None
        What each is multiplied by.
    product_sum : float
        The sum of the products, or what the layer makes of the patch.
    """

    source: str
    index: list[int]
    patch: Cells
    kernel: Cells | None
    product_sum: float


@dataclass(frozen=True)
class Rest:
    """The terms that are not told one by one: how many, and their sum."""

    count: int
    product_sum: float


@dataclass(frozen=True)
class Picture:
    """What a dense layer's unit sees of a picture: its entries, weights and products, (C, H, W)."""

    inputs: Maps
    weights: Maps
    products: Maps


@dataclass(frozen=True)
class Sum:
    """How a value comes about.

    The value is the sum of all ``product_sum``, of the rest's too, and the bias. Of a softmax it is
    one exponential, the term of the cell's own index, divided by ``constants["sum"]``, that of all.

    Attributes
    ----------
    terms : list of Term
    rest : Rest or None
    bias : float or None
    constants : dict of str to float
        The other numbers of the equation, by name.
    winner : list of int, or None
        Row and column, in the patch, of the cell that a max-pooling took.
    picture : Picture or None
    written : str
        The equation in numbers, without the value.
    """

    terms: list[Term]
    written: str
    rest: Rest | None = None
    bias: float | None = None
    constants: dict[str, float] = field(default_factory=dict)
    winner: list[int] | None = None
    picture: Picture | None = None


def sum_of(layer: Layer, cell: Cell) -> Sum:
    """Return how the value of ``layer.output[cell]`` comes about.

    Raises
    ------
    ExplainError
        If the layer is of a kind that is not known here.
    """
    write = WRITERS.get(layer.kind)
    if write is None and layer.op.elementwise and layer.given.shape == layer.output.shape:
        write = _elementwise
    if write is None:
        raise ExplainError(
            f"{layer.name} is a layer of the kind {layer.kind}, expected one of "
            f"{', '.join(WRITERS)}, or one that takes each entry by itself"
        )
    return write(layer, cell)


def _convolution(layer: Layer, cell: Cell) -> Sum:
    out, row, column = cell
    kernels = layer.arrays["w"].astype(np.float64)
    channels = kernels.shape[1]
    first = out // (len(kernels) // layer.options["groups"]) * channels
    terms = []
    for channel in range(first, first + channels):
        patch, on = _patch(layer, channel, row, column)
        seen, kernel = np.where(on, patch, 0.0), kernels[out, channel - first]
        total = float(np.sum(seen * kernel))
        terms.append(Term(f"channel {channel}", [channel], seen.tolist(), kernel.tolist(), total))
    bias = _bias(layer, out)
    return Sum(terms, _added(terms, bias), bias=bias)


def _max_pooling(layer: Layer, cell: Cell) -> Sum:
    patch, on = _patch(layer, *cell)
    place = int(np.argmax(np.where(on, patch, -np.inf)))
    winner = [int(i) for i in np.unravel_index(place, patch.shape)]
    shown: Cells = [
        [entry if is_on else None for entry, is_on in zip(*pair, strict=True)]
        for pair in zip(patch.tolist(), on.tolist(), strict=True)
    ]
    value = float(patch.flat[place])
    term = Term(f"channel {cell[0]}", [cell[0]], shown, None, value)
    seen = [number(entry, 4) for entry in patch[on].tolist()]
    return Sum([term], f"max({_short(seen, ', ')})", winner=winner)


def _average_pooling(layer: Layer, cell: Cell) -> Sum:
    patch, on = _patch(layer, *cell)
    seen = np.where(on, patch, 0.0)
    counted = on
    if layer.options["count_include_pad"]:
        assert layer.windows is not None
        axes = (layer.windows.rows, layer.windows.columns)
        sides = [
            (places >= -axis.before) & (places < axis.size + axis.after)
            for axis, places in zip(axes, _places(layer, *cell[1:]), strict=True)
        ]
        counted = sides[0][:, np.newaxis] & sides[1]
    cells = int(np.count_nonzero(counted))
    kernel = np.where(counted, 1 / cells, 0.0)
    term = Term(
        f"channel {cell[0]}", [cell[0]], seen.tolist(), kernel.tolist(), float(np.sum(seen) / cells)
    )
    entries = [number(entry, 4) for entry in seen[counted].tolist()]
    written = f"({_short(entries, ' + ')}) / {cells}".replace("+ −", "− ")
    return Sum([term], written, constants={"cells": float(cells)})


def _dense(layer: Layer, cell: Cell) -> Sum:
    (out,) = cell
    x, w = layer.given.astype(np.float64), layer.arrays["w"][out].astype(np.float64)
    products = x * w
    order = np.argsort(-np.abs(products), kind="stable")
    flattened = layer.flattened
    terms = []
    for unit in order[:LARGEST].tolist():
        source = f"unit {unit}"
        if flattened is not None:
            channel, row, column = np.unravel_index(unit, flattened.shape)
            source = f"channel {channel}, row {row}, column {column}"
        patch: Cells = [[float(x[unit])]]
        terms.append(Term(source, [unit], patch, [[float(w[unit])]], float(products[unit])))
    others = order[LARGEST:]
    rest = Rest(len(others), float(products[others].sum())) if len(others) else None
    picture = None
    if flattened is not None:
        shaped = (array.reshape(flattened.shape) for array in (x, w, products))
        picture = Picture(*map(encode, shaped))
    bias = _bias(layer, out)
    return Sum(terms, _added(terms, bias, rest), rest, bias, picture=picture)


def _elementwise(layer: Layer, cell: Cell) -> Sum:
    z = float(layer.given[cell])
    forms = {"relu": f"max(0, {number(z, 4)})", "sigmoid": f"1 / (1 + e^({number(-z, 4)}))"}
    return Sum([_alone(layer, cell)], forms.get(layer.kind, f"{layer.kind}({number(z, 4)})"))


def _batch_norm(layer: Layer, cell: Cell) -> Sum:
    numbers = {
        name: float(array[cell[0]] if array.ndim else array) for name, array in layer.arrays.items()
    }
    x = float(layer.given[cell])
    w, bias, mean = numbers["w"], numbers["bias"], numbers["mean"]
    deviation = math.sqrt(numbers["variance"] + numbers["epsilon"])
    scaled = w * (x - mean) / deviation
    term = Term(f"channel {cell[0]}", [*cell], [[x]], [[w / deviation]], scaled)
    written = (
        f"{number(w, 4)}·({_joined([number(x, 4), number(-mean, 4)])}) / "
        f"√({number(numbers['variance'], 4)} + {number(numbers['epsilon'], 4)})"
    )
    constants = {
        "scale": w,
        "mean": mean,
        "variance": numbers["variance"],
        "epsilon": numbers["epsilon"],
    }
    return Sum([term], _joined([written, number(bias, 4)]), bias=bias, constants=constants)


def _flatten(layer: Layer, cell: Cell) -> Sum:
    unit = int(np.ravel_multi_index(cell, layer.output.shape))
    place = tuple(int(i) for i in np.unravel_index(unit, layer.given.shape))
    names = ("channel", "row", "column") if len(place) == 3 else ("unit",) * len(place)
    source = ", ".join(f"{name} {at}" for name, at in zip(names, place, strict=True))
    x = float(layer.given[place])
    return Sum([Term(source, [*place], [[x]], None, x)], f"the entry of {source}")


def _softmax(layer: Layer, cell: Cell) -> Sum:
    temperature = float(layer.options["temperature"])
    z = layer.given.astype(np.float64)
    largest = float(z.max())
    powers = np.exp((z - largest) / temperature)
    total = float(powers.sum())
    terms = [
        Term(f"unit {unit}", [unit], [[float(z[unit])]], None, float(power))
        for unit, power in enumerate(powers)
    ]
    constants = {"temperature": temperature, "largest": largest, "sum": total}
    difference = _joined([number(float(z[cell]), 4), number(-largest, 4)])
    written = f"e^(({difference}) / {number(temperature, 4)}) / {number(total, 4)}"
    return Sum(terms, written, constants=constants)


WRITERS: dict[str, Callable[[Layer, Cell], Sum]] = {
    "convolution": _convolution,
    "max-pooling": _max_pooling,
    "average-pooling": _average_pooling,
    "dense": _dense,
    "batch-norm": _batch_norm,
    "flatten": _flatten,
    "softmax": _softmax,
}
"""By the kind of layer."""


def _alone(layer: Layer, cell: Cell) -> Term:
    """Return the term of an op that takes each entry by itself."""
    names = ("channel", "row", "column") if len(cell) == 3 else ("unit",) * len(cell)
    source = ", ".join(f"{name} {place}" for name, place in zip(names, cell, strict=True))
    z = float(layer.given[cell])
    return Term(source, [*cell], [[z]], None, float(layer.output[cell]))


def _bias(layer: Layer, out: int) -> float | None:
    bias = layer.arrays.get("bias")
    return None if bias is None else float(bias[out])


# --- windows -------------------------------------------------------------------------------------


def _patch(
    layer: Layer, channel: int, row: int, column: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return what lies under a window, and which of its cells lie on the image."""
    rows, columns = _places(layer, row, column)
    image = layer.given[channel].astype(np.float64)
    height, width = image.shape
    on_rows, on_columns = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
    patch = image[np.ix_(rows.clip(0, height - 1), columns.clip(0, width - 1))]
    return patch, on_rows[:, np.newaxis] & on_columns


def _places(layer: Layer, row: int, column: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the rows and columns of a window's cells, on the image and off it."""
    assert layer.windows is not None
    return _along(layer.windows.rows, row), _along(layer.windows.columns, column)


def _along(axis: Axis, window: int) -> NDArray[Any]:
    return window * axis.stride - axis.before + np.arange(axis.kernel) * axis.dilation


# --- sentences -----------------------------------------------------------------------------------


def _added(terms: Sequence[Term], bias: float | None, rest: Rest | None = None) -> str:
    """Return the sum of terms in numbers."""
    shown = [number(term.product_sum, 4) for term in terms[:IN_A_LINE]]
    more = terms[IN_A_LINE:]
    count = len(more) + (rest.count if rest else 0)
    if count:
        total = sum(term.product_sum for term in more) + (rest.product_sum if rest else 0.0)
        shown.append(f"{number(total, 4)} ({count:,} more)")
    return _joined(shown if bias is None else [*shown, number(bias, 4)])


def _joined(numbers: Sequence[str]) -> str:
    return " + ".join(numbers).replace("+ −", "− ")


def _short(numbers: Sequence[str], separator: str) -> str:
    """Return numbers in a row, without what lies behind the first few."""
    shown = list(numbers[:IN_A_LINE]) + ["…"] * (len(numbers) > IN_A_LINE)
    return separator.join(shown)
