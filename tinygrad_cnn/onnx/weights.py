"""Which constants of a file are parameters, and which are buffers.

A parameter is a floating constant that a gradient can reach. Constants that only decide a size, a
limit or another setting stay constants; tables here say at which inputs of an operator they stand.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeAlias

from numpy.typing import NDArray

from tinygrad_cnn.onnx.calls import Body, NodeCall

__all__ = ["SETTINGS", "weights"]

_Arrays: TypeAlias = dict[str, NDArray[Any]]

SETTINGS: dict[str, Sequence[int]] = {
    "AffineGrid": [1], "CenterCropPad": [1], "Clip": [1, 2], "Compress": [1],
    "ConstantOfShape": [0], "CumSum": [1], "DequantizeLinear": [1, 2], "Dropout": [1, 2],
    "Expand": [1], "Gather": [1], "GatherElements": [1], "GatherND": [1], "Loop": [0, 1],
    "MaxUnpool": [1, 2], "OneHot": [0, 1, 2], "Pad": [1, 2, 3], "QuantizeLinear": [1, 2],
    "Range": [0, 1, 2], "ReduceL1": [1], "ReduceL2": [1], "ReduceLogSum": [1],
    "ReduceLogSumExp": [1], "ReduceMax": [1], "ReduceMean": [1], "ReduceMin": [1],
    "ReduceProd": [1], "ReduceSum": [1], "ReduceSumSquare": [1], "Reshape": [1],
    "Resize": [1, 2, 3], "Slice": [1, 2, 3, 4], "Split": [1], "Squeeze": [1], "Tile": [1],
    "TopK": [1], "Trilu": [1], "Unsqueeze": [1], "Upsample": [1],
}  # fmt: skip
"""The inputs that no gradient reaches, by operator: sizes, limits, axes, indices."""

_STEPS = {
    "And", "ArgMax", "ArgMin", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor",
    "Ceil", "ConstantOfShape", "ConvInteger", "DynamicQuantizeLinear", "Equal", "EyeLike", "Floor",
    "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", "MatMulInteger",
    "NonMaxSuppression", "NonZero", "Not", "OneHot", "Or", "QuantizeLinear", "RandomNormalLike",
    "RandomUniformLike", "Round", "Shape", "Sign", "Size", "Xor",
}  # fmt: skip
"""The operators whose results have no gradient."""

_WEIGHTED: dict[str, Sequence[int]] = {
    "BatchNormalization": [1, 2], "Conv": [1, 2], "ConvTranspose": [1, 2], "DeformConv": [1, 3],
    "GRU": [1, 2, 3], "Gemm": [1, 2],
    "LSTM": [1, 2, 3], "LayerNormalization": [1, 2], "MatMul": [0, 1], "PRelu": [1],
    "RNN": [1, 2, 3],
}  # fmt: skip
"""The inputs that are weights, even of a single element."""

_STATISTICS: dict[str, Sequence[int]] = {"BatchNormalization": [3, 4]}
"""The inputs that follow the data in train mode: buffers."""

_CONSTANT = re.compile(r"/constant[^/]*$", re.IGNORECASE)
"""The names that exporters give to constants, such as "/pool/Constant_output_0"."""

_FLOATS = (1, 10, 11, 16)  # FLOAT, FLOAT16, DOUBLE, BFLOAT16


def weights(body: Body) -> tuple[_Arrays, _Arrays]:
    """Return the parameters and the buffers among the constants of a graph, by name."""
    reached = _reached(body)
    weighted, buffers = (_at(body, table) for table in (_WEIGHTED, _STATISTICS))
    parameters: _Arrays = {}
    for name, array in body.constants.items():
        if array.dtype.kind != "f" or name not in reached or name in buffers:
            continue
        is_large = array.size > 1 if name in body.from_nodes else array.ndim > 0
        if name in weighted or (is_large and not _CONSTANT.search(name)):
            parameters[name] = array
    return parameters, {
        name: array
        for name, array in body.constants.items()
        if name in buffers and array.dtype.kind == "f"
    }


def _reached(body: Body) -> set[str]:
    """Return the names of the values that the gradient of an output can reach."""
    reached = set(body.outputs)
    _reach(body.calls, reached)
    return reached


def _reach(calls: Sequence[NodeCall], reached: set[str]) -> None:
    """Add the names that the gradient of one of `reached` can reach, also in graphs of calls."""
    for call in reversed(calls):
        op_type = call.operator.op_type
        if op_type in _STEPS or reached.isdisjoint(call.outputs):
            continue
        if op_type == "Cast" and call.operator.get("to") not in _FLOATS:
            continue
        settings = SETTINGS.get(op_type, ())
        reached.update(name for i, name in enumerate(call.inputs) if i not in settings)
        for inner in call.bodies():
            reached.update(inner.outputs)
            _reach(inner.calls, reached)


def _at(body: Body, table: dict[str, Sequence[int]]) -> dict[str, NodeCall]:
    """Return the names at these inputs, also of calls in graphs, each with a call."""
    return {
        call.inputs[i]: call
        for outer in body.calls
        for call in outer.nested()
        for i in table.get(call.operator.op_type, ())
        if i < len(call.inputs)
    }
