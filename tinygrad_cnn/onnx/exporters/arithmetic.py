"""Exporters of `tinygrad_cnn.ops.arithmetic`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from tinygrad_cnn import ops
from tinygrad_cnn.core.recording import float_dtype
from tinygrad_cnn.onnx.exporters.values import cast, one_to_one
from tinygrad_cnn.onnx.graph import Graph, Reference, exporter

exporter(ops.add)(one_to_one("Add"))
exporter(ops.sub)(one_to_one("Sub"))
exporter(ops.mul)(one_to_one("Mul"))
exporter(ops.div)(one_to_one("Div"))
exporter(ops.neg)(one_to_one("Neg"))
exporter(ops.abs)(one_to_one("Abs"))
exporter(ops.maximum)(one_to_one("Max"))
exporter(ops.minimum)(one_to_one("Min"))
exporter(ops.where)(one_to_one("Where"))


@exporter(ops.multiply_add)
def _(graph: Graph, a: Reference, b: Reference, c: Reference) -> Any:
    return graph.node("Add", graph.node("Mul", a, b), c)


@exporter(ops.clip)
def _(graph: Graph, x: Reference, low: float | None = None, high: float | None = None) -> Any:
    dtype = np.clip(x.array[..., np.newaxis][..., :0], low, high).dtype
    if dtype.kind == "f" and x.dtype.kind != "f":
        dtype = np.dtype(float_dtype.get())
    limits = [None if limit is None else np.asarray(limit, dtype) for limit in (low, high)]
    return graph.node("Clip", cast(graph, x, dtype), *limits)


@exporter(ops.astype)
def _(graph: Graph, x: Reference, dtype: DTypeLike) -> Any:
    return graph.node("Identity", cast(graph, x, dtype))
