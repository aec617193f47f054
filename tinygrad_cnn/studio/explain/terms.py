"""The terms of a cell's value: the numbers that each kind of layer adds, weighs or selects."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.notation import FUNCTIONS
from tinygrad_cnn.core.op import Op
from tinygrad_cnn.engine.windows import WindowAxis
from tinygrad_cnn.ops import softmax
from tinygrad_cnn.studio.encoding import Maps, encode
from tinygrad_cnn.studio.explain.forward import ExplainError, LayerCall
from tinygrad_cnn.studio.explain.printed import PrintedEquation, added, joined
from tinygrad_cnn.studio.explain.tables import (
    PrintedSoftmax,
    PrintedSum,
    print_softmax,
    print_sum,
)

__all__ = ["Picture", "Rest", "Sum", "SumTerm", "sentence_of", "sum_of"]

LARGEST = 10
"""Maximum number of terms of a dense layer that are listed individually."""

IN_A_LINE = 12
"""Maximum number of terms that an equation writes out."""

Cells: TypeAlias = list[list[float | None]]
CellIndex: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class SumTerm:
    """One term of a sum.

    Attributes
    ----------
    source : str
        The source of the term, such as "channel 2" or "unit 17".
    index : list of int
        The leading indices in the layer's input.
    patch : list of list
        The input there, row by row; None where a max-pooling window lies outside the image.
    kernel : list of list, or None
        The weight of each entry.
    product_sum : float
        The sum of the products, or the layer's value for the patch.
    """

    source: str
    index: list[int]
    patch: Cells
    kernel: Cells | None
    product_sum: float


@dataclass(frozen=True)
class Rest:
    """The number and the sum of the terms that are not listed individually."""

    count: int
    product_sum: float


@dataclass(frozen=True)
class Picture:
    """The picture, weights and products of a dense layer's unit, each of shape (C, H, W)."""

    inputs: Maps
    weights: Maps
    products: Maps


@dataclass(frozen=True)
class Sum:
    """The terms that make up a value.

    The value is the sum of all ``product_sum``, including the rest's, and the bias. For a softmax
    it is the exponential of the cell's own index, divided by ``constants["sum"]``, the sum of all.

    Attributes
    ----------
    terms : list of SumTerm
    rest : Rest or None
    bias : float or None
    constants : dict of str to float
        The other numbers of the equation, by name.
    winner : list of int, or None
        Row and column, in the patch, of the maximum of a max-pooling.
    picture : Picture or None
    written : PrintedEquation
        The equation in numbers.
    printed : PrintedSum or PrintedSoftmax, or None
        The terms, of a convolution, a dense layer or a softmax, as text.
    """

    terms: list[SumTerm]
    written: PrintedEquation
    rest: Rest | None = None
    bias: float | None = None
    constants: dict[str, float] = field(default_factory=dict)
    winner: list[int] | None = None
    picture: Picture | None = None
    printed: PrintedSum | PrintedSoftmax | None = None


def sum_of(layer: LayerCall, cell: CellIndex) -> Sum:
    """Return the terms of the value of ``layer.output[cell]``.

    Raises
    ------
    ExplainError
        If the kind of layer is unknown, or the layer does not compute what its kind should.
    """
    if layer.composed_of:
        raise ExplainError(
            f"{layer.name} is a composite ({', '.join(layer.composed_of)}): only the cells of "
            "one op on one layer's result can be written out"
        )
    write, axes, _ = WRITERS.get(layer.kind, (None, 0, ""))
    if write is None and layer.op.elementwise and layer.given.shape == layer.output.shape:
        write = None if layer.arrays else _elementwise
    if write is None or layer.given.ndim != (axes or layer.given.ndim):
        on = "" if write is None else f" on {layer.given.ndim} axes where {axes} are known"
        raise ExplainError(
            f"{layer.name} is a layer of the kind {layer.kind}{on}, expected one of "
            f"{', '.join(WRITERS)}, or one that takes each entry by itself"
        )
    found = write(layer, cell)
    if not found.written.off(float(layer.output[cell])) <= _rounding(layer, found):
        raise ExplainError(
            f"{layer.name} does not compute what a layer of the kind {layer.kind} does: its value "
            f"is {layer.output[cell]:.4g}, the {layer.kind} would give "
            f"{found.written.compute(found.written.numbers):.4g}"
        )
    return found


def _rounding(layer: LayerCall, found: Sum) -> float:
    """Return the rounding error of the sum of terms, relative to their influence."""
    products = math.fsum(
        float(np.abs(np.asarray(term.patch, "f8") * np.asarray(term.kernel, "f8")).sum())
        for term in found.terms
        if term.kernel is not None
    )
    sums = math.fsum(abs(term.product_sum) for term in found.terms)
    lost = max(products / sums, 1.0) if sums else 1.0  # products may cancel inside a term
    return 1000 * lost * float(np.finfo(layer.output.dtype).eps)


def _convolution(layer: LayerCall, cell: CellIndex) -> Sum:
    out, row, column = cell
    kernels = layer.arrays["w"].astype(np.float64)
    channels = kernels.shape[1]
    first = out // (len(kernels) // layer.options["groups"]) * channels
    terms = []
    for channel in range(first, first + channels):
        patch, on = _patch(layer, channel, row, column)
        seen, kernel = np.where(on, patch, 0.0), kernels[out, channel - first]
        total = float(np.sum(seen * kernel))
        terms.append(
            SumTerm(f"channel {channel}", [channel], seen.tolist(), kernel.tolist(), total)
        )
    bias = _bias(layer, out)
    printed = print_sum(_operands(terms), float(layer.output[cell]), bias=bias)
    return Sum(terms, _added(_sums(terms), bias), bias=bias, printed=printed)


def _max_pooling(layer: LayerCall, cell: CellIndex) -> Sum:
    patch, on = _patch(layer, *cell)
    place = int(np.argmax(np.where(on, patch, -np.inf)))
    winner = [int(i) for i in np.unravel_index(place, patch.shape)]
    shown: Cells = [
        [entry if is_on else None for entry, is_on in zip(*pair, strict=True)]
        for pair in zip(patch.tolist(), on.tolist(), strict=True)
    ]
    value = float(patch.flat[place])
    term = SumTerm(f"channel {cell[0]}", [cell[0]], shown, None, value)
    seen = patch[on].tolist()
    hidden = len(seen) - IN_A_LINE
    if hidden > 0:
        seen = [value, *sorted(seen, reverse=True)[1:IN_A_LINE]]
    more = f", {hidden:,} smaller ones" if hidden > 0 else ""
    written = PrintedEquation(seen, lambda shown: f"max({', '.join(shown)}{more})", max)
    return Sum([term], written, winner=winner)


def _average_pooling(layer: LayerCall, cell: CellIndex) -> Sum:
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
    term = SumTerm(
        f"channel {cell[0]}", [cell[0]], seen.tolist(), kernel.tolist(), float(np.sum(seen) / cells)
    )
    total = _added(seen[counted].tolist())
    written = PrintedEquation(
        total.numbers,
        lambda shown: f"({total.write(shown)}) / {cells}",
        lambda numbers: total.compute(numbers) / cells,
    )
    return Sum([term], written, constants={"cells": float(cells)})


def _dense(layer: LayerCall, cell: CellIndex) -> Sum:
    (out,) = cell
    x, w = layer.given.astype(np.float64), layer.arrays["w"][out].astype(np.float64)
    products = x * w
    order = np.argsort(-np.abs(products), kind="stable")
    flattened = layer.flattened
    terms = []
    for unit in order[:LARGEST].tolist():
        source = f"unit {unit}"
        if flattened is not None:
            source = _place_name(np.unravel_index(unit, flattened.shape))
        patch: Cells = [[float(x[unit])]]
        terms.append(SumTerm(source, [unit], patch, [[float(w[unit])]], float(products[unit])))
    others = order[LARGEST:]
    rest = Rest(len(others), float(products[others].sum())) if len(others) else None
    picture = None
    if flattened is not None:
        shaped = (array.reshape(flattened.shape) for array in (x, w, products))
        picture = Picture(*map(encode, shaped))
    bias = _bias(layer, out)
    more = None if rest is None else rest.product_sum
    printed = print_sum(_operands(terms), float(layer.output[cell]), more, bias)
    written = _added(_sums(terms), bias, rest)
    return Sum(terms, written, rest, bias, picture=picture, printed=printed)


def _elementwise(layer: LayerCall, cell: CellIndex) -> Sum:
    z = float(layer.given[cell])
    written = PrintedEquation(
        [z],
        lambda shown: _in_numbers(layer, *shown),
        lambda numbers: float(layer.op(np.float64(numbers[0]), **layer.options)),
    )
    return Sum([_alone(layer, cell)], written)


def _in_numbers(layer: LayerCall, z: str) -> str:
    """Return the formula of an elementwise op with the number `z` for x.

    An op with other quantities in its formula, or with options that choose another, is written as a
    call.
    """
    minus = z.removeprefix("−") if z.startswith("−") else f"−{z}"
    formula = layer.op.formula.replace("⁻ˣ", f"^({minus})").replace("ˣ", f"^({z})")
    formula = re.sub(r"(?<=\w) x\b", "(x)", formula)
    known = {"e", "x", *FUNCTIONS}
    if layer.op.states(layer.options) and {*re.findall(r"[^\W\d_]+", formula)} <= known:
        formula = re.sub(r"^x$|(?<=[(|])x\b|(?<=, )x\b", z, formula)
        return re.sub(r"\bx\b", f"({z})" if z.startswith("−") else z, formula)
    options = "".join(
        f", {name}={value}"
        for name, value in layer.options.items()
        if re.search(rf"\b{layer.op.aliases.get(name, name)}\b", formula)
        or value != layer.op.signature.parameters[name].default
    )
    return f"{layer.kind}({z}{options})"


def _batch_norm(layer: LayerCall, cell: CellIndex) -> Sum:
    numbers = {
        name: float(array[cell[0]] if array.ndim else array) for name, array in layer.arrays.items()
    }
    x = float(layer.given[cell])
    w, bias, mean = numbers["w"], numbers["bias"], numbers["mean"]
    deviation = math.sqrt(numbers["variance"] + numbers["epsilon"])
    scaled = w * (x - mean) / deviation
    term = SumTerm(f"channel {cell[0]}", [*cell], [[x]], [[w / deviation]], scaled)
    written = PrintedEquation(
        [w, x, -mean, numbers["variance"], numbers["epsilon"], bias],
        lambda shown: joined(
            [f"{shown[0]}·({joined(shown[1:3])}) / √({joined(shown[3:5])})", shown[5]]
        ),
        lambda n: n[0] * (n[1] + n[2]) / math.sqrt(n[3] + n[4]) + n[5],
    )
    constants = {
        "scale": w,
        "mean": mean,
        "variance": numbers["variance"],
        "epsilon": numbers["epsilon"],
    }
    return Sum([term], written, bias=bias, constants=constants)


def _flatten(layer: LayerCall, cell: CellIndex) -> Sum:
    if layer.given.size != layer.output.size:
        raise ExplainError(f"{layer.name} also reshapes the batch axis")
    unit = int(np.ravel_multi_index(cell, layer.output.shape))
    place = tuple(int(i) for i in np.unravel_index(unit, layer.given.shape))
    source = _place_name(place)
    x = float(layer.given[place])
    written = PrintedEquation(
        [x], lambda shown: f"the entry of {source}", lambda numbers: numbers[0]
    )
    return Sum([SumTerm(source, [*place], [[x]], None, x)], written)


def _softmax(layer: LayerCall, cell: CellIndex) -> Sum:
    temperature = float(layer.options["temperature"])
    z = layer.given.astype(np.float64)
    largest = float(z.max())
    powers = np.exp((z - largest) / temperature)
    total = float(powers.sum())
    terms = [
        SumTerm(f"unit {unit}", [unit], [[float(z[unit])]], None, float(power))
        for unit, power in enumerate(powers)
    ]
    constants = {"temperature": temperature, "largest": largest, "sum": total}
    written = PrintedEquation(
        [float(z[cell]), -largest, temperature, total],
        lambda shown: f"e^(({joined(shown[:2])}) / {shown[2]}) / {shown[3]}",
        lambda n: math.exp(min((n[0] + n[1]) / n[2], 700.0)) / n[3],  # exp overflows above it
    )
    printed = print_softmax(z.tolist(), temperature)
    return Sum(terms, written, constants=constants, printed=printed)


WRITERS: dict[str, tuple[Callable[[LayerCall, CellIndex], Sum], int, str]] = {
    "convolution": (
        _convolution,
        3,
        "Each cell is a weighted sum of a small window, with the same kernel everywhere.",
    ),
    "max-pooling": (_max_pooling, 3, "Each cell is the maximum of a small window."),
    "average-pooling": (_average_pooling, 3, "Each cell is the mean of a small window."),
    "dense": (_dense, 1, "Each unit is a weighted sum of all inputs."),
    "batch-norm": (
        _batch_norm,
        3,
        "Each map is normalized: shifted and scaled to the same mean and spread.",
    ),
    "flatten": (_flatten, 0, "The maps are flattened into one vector."),
    softmax.kind: (_softmax, 1, "Ten numbers become ten probabilities."),
}
"""By layer kind: the function, the input's axes without the batch (0 for any), and a sentence."""


def sentence_of(op: Op[..., Any]) -> str:
    """Return what a layer of this op computes, in words; empty if they are not known.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> sentence_of(tg.sigmoid)
    'Every number is squeezed between 0 and 1.'
    """
    if op.dead_at_zero:
        return "Negative numbers become zero."
    if op.saturates_at is not None:
        low, high = (f"{limit:g}".replace("-", "−") for limit in op.saturates_at)
        return f"Every number is squeezed between {low} and {high}."
    return WRITERS[op.kind][2] if op.kind in WRITERS else ""


def _alone(layer: LayerCall, cell: CellIndex) -> SumTerm:
    """Return the term of an elementwise op."""
    z = float(layer.given[cell])
    return SumTerm(_place_name(cell), [*cell], [[z]], None, float(layer.output[cell]))


def _place_name(index: Sequence[Any]) -> str:
    names = ("channel", "row", "column") if len(index) == 3 else ("unit",) * len(index)
    return ", ".join(f"{name} {place}" for name, place in zip(names, index, strict=True))


def _bias(layer: LayerCall, out: int) -> float | None:
    bias = layer.arrays.get("bias")
    return None if bias is None else float(bias[out])


# --- windows -------------------------------------------------------------------------------------


def _patch(
    layer: LayerCall, channel: int, row: int, column: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the patch under a window, and a mask of the cells inside the image."""
    rows, columns = _places(layer, row, column)
    image = layer.given[channel].astype(np.float64)
    height, width = image.shape
    on_rows, on_columns = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
    patch = image[np.ix_(rows.clip(0, height - 1), columns.clip(0, width - 1))]
    return patch, on_rows[:, np.newaxis] & on_columns


def _places(layer: LayerCall, row: int, column: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the row and column indices of a window, inside and outside the image."""
    assert layer.windows is not None
    return _along(layer.windows.rows, row), _along(layer.windows.columns, column)


def _along(axis: WindowAxis, window: int) -> NDArray[Any]:
    return window * axis.stride - axis.before + np.arange(axis.kernel) * axis.dilation


# --- sentences -----------------------------------------------------------------------------------


def _operands(terms: Sequence[SumTerm]) -> list[tuple[Cells, Cells | None]]:
    return [(term.patch, term.kernel) for term in terms]


def _sums(terms: Sequence[SumTerm]) -> list[float]:
    return [term.product_sum for term in terms]


def _added(
    numbers: Sequence[float], bias: float | None = None, rest: Rest | None = None
) -> PrintedEquation:
    """Return the sum of numbers, rest and bias; all but the first few are combined."""
    shown, more = [*numbers[:IN_A_LINE]], numbers[IN_A_LINE:]
    count = len(more) + (rest.count if rest else 0)
    notes = []
    if count:
        shown.append(math.fsum(more) + (rest.product_sum if rest else 0.0))
        notes.append(f" ({count:,} more)")
    if bias is not None:
        shown.append(bias)
        notes.append("")
    return added(shown, notes)
