"""Exporters of `tinygrad_cnn.ops.activation`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.exporters.values import cast, like, one_to_one
from tinygrad_cnn.onnx.graph import Graph, Reference, exporter

exporter(ops.sigmoid)(one_to_one("Sigmoid"))
exporter(ops.tanh)(one_to_one("Tanh"))
exporter(ops.softplus)(one_to_one("Softplus"))


@exporter(ops.relu)
def _(graph: Graph, x: Reference, at_zero: float = 1.0) -> Any:
    if x.dtype.kind == "f":
        return graph.node("Relu", x)
    integers = cast(graph, x, np.int64) if x.dtype.kind == "b" else x
    return graph.node("Max", integers, like(integers, 0))


@exporter(ops.leaky_relu)
def _(graph: Graph, x: Reference, negative_slope: float = 0.01, at_zero: float = 1.0) -> Any:
    return graph.node("LeakyRelu", x, alpha=float(negative_slope))


@exporter(ops.softmax)
def _(graph: Graph, x: Reference, axis: int = -1, temperature: float = 1.0) -> Any:
    return graph.node("Softmax", _cooled(graph, x, temperature), axis=int(axis))


@exporter(ops.log_softmax)
def _(graph: Graph, x: Reference, axis: int = -1, temperature: float = 1.0) -> Any:
    return graph.node("LogSoftmax", _cooled(graph, x, temperature), axis=int(axis))


def _cooled(graph: Graph, x: Reference, temperature: float) -> Any:
    return x if temperature == 1.0 else graph.node("Div", x, like(x, temperature))


exporter("softsign")(one_to_one("Softsign"))
