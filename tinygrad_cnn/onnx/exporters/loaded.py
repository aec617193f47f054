"""Exporter of nodes of a loaded file that no op computes: of integers, bools and shapes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.onnx.graph import Graph, exporter
from tinygrad_cnn.onnx.operator import Operator


@exporter("onnx_node")
def _(graph: Graph, operator: Operator, inputs: list[Any]) -> Any:
    from onnx import numpy_helper

    attributes = dict(operator.attributes)
    for name, value in attributes.items():
        if isinstance(value, np.ndarray):
            attributes[name] = numpy_helper.from_array(value)
    if "axes" in attributes and len(inputs) == 1:  # an attribute before opset 13 or 18
        inputs = [*inputs, np.array(attributes.pop("axes"), np.int64)]
    found = graph.node(operator.op_type, *inputs, outputs=operator.outputs, **attributes)
    return (found,) if isinstance(found, str) else found
