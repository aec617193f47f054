"""What several families share: constants, casts, and images without a batch axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tinygrad_cnn.onnx.graph import Graph, Reference

__all__ = [
    "as_floats",
    "both",
    "cast",
    "common",
    "in_int64",
    "int64",
    "joined",
    "like",
    "on_batches",
    "one_to_one",
]


def like(x: Reference, value: Any) -> NDArray[Any]:
    """Return a constant in the dtype of `x`."""
    return np.asarray(value, x.dtype)


def int64(values: Any) -> NDArray[Any]:
    """Return a constant of int64, as axes and sizes are."""
    return np.asarray(values, np.int64)


def one_to_one(op_type: str, **attributes: Any) -> Callable[..., Any]:
    """Return the exporter of an op that is an operator of the standard, with the same arguments."""

    def export(graph: Graph, **arguments: Any) -> Any:
        return graph.node(op_type, *arguments.values(), **attributes)

    return export


def cast(graph: Graph, x: Reference, dtype: DTypeLike) -> Reference:
    """Add a conversion to a dtype, if `x` has another."""
    wanted = np.dtype(dtype)
    if x.dtype == wanted:
        return x
    with np.errstate(invalid="ignore"):  # NaN as an integer
        return replace(x, name=graph.node("Cast", x, to=wanted), array=x.array.astype(wanted))


def both(option: Any) -> tuple[int, int]:
    """Return an option for height and width as two ints, which may not vary with the input."""
    pair = option if isinstance(option, tuple | list | np.ndarray) else (option, option)
    return int(pair[0]), int(pair[1])


def in_int64(graph: Graph, indices: Any) -> Any:
    """Return indices, computed or not, in the dtype that operators take."""
    return cast(graph, indices, np.int64) if isinstance(indices, Reference) else int64(indices)


def common(graph: Graph, a: Reference, b: Reference) -> tuple[Reference, Reference]:
    """Return both in the dtype in which NumPy computes with them."""
    dtype = np.result_type(a.array, b.array)
    return cast(graph, a, dtype), cast(graph, b, dtype)


def as_floats(graph: Graph, x: Reference, compute: Callable[[Reference], Any]) -> Any:
    """Compute on `x`; if it holds integers, on floats that hold them, and convert the result."""
    if x.dtype.kind == "f":
        return compute(x)
    wide = cast(graph, x, np.float64)
    return cast(graph, replace(wide, name=compute(wide)), x.dtype).name


def on_batches(graph: Graph, x: Reference, ndim: int, compute: Callable[[Any], Any]) -> Any:
    """Compute on `x` with `ndim` axes; without its first, a batch, it gets one for the while."""
    if x.array.ndim == ndim:
        return compute(x)
    first = int64([0])
    return graph.node("Squeeze", compute(graph.node("Unsqueeze", x, first)), first)


def joined(graph: Graph, x: Any, shape: Sequence[int], per_cell: int, cells: Any, axis: int) -> Any:
    """Return `x` in a shape whose last length is `per_cell` times those of `cells` from `axis` on.

    With −1 in its place, an empty batch would leave that length open.
    """
    lengths = cells.shape[axis:] if isinstance(cells, Reference) else [None]
    if all(isinstance(n, int) for n in lengths):
        return graph.node("Reshape", x, int64([*shape, per_cell * prod(lengths)]))
    count = graph.node("ReduceProd", graph.node("Shape", cells, start=axis), keepdims=1)
    last = graph.node("Mul", count, int64([per_cell])) if per_cell != 1 else count
    # No Concat, for which onnxruntime puts the −1 in again.
    place = np.arange(len(shape) + 1) == len(shape)
    return graph.node("Reshape", x, graph.node("Where", place, last, int64([*shape, 0])))
