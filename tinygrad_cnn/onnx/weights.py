"""Which constants of a file are parameters, and which are buffers.

A parameter is a floating constant that a gradient can reach. Constants that only decide a size, a
limit or another setting stay constants; tables here say at which inputs of an operator they stand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from numpy.typing import NDArray

from tinygrad_cnn.onnx.calls import Body, NodeCall
from tinygrad_cnn.onnx.errors import OnnxError
from tinygrad_cnn.onnx.operator import FLOATS
from tinygrad_cnn.onnx.part import place_of

__all__ = ["SETTINGS", "own_statistics", "weights"]

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

_STATISTICS: dict[str, dict[int, str]] = {
    "BatchNormalization": {3: "running_mean", 4: "running_var"}
}
"""The inputs that follow the data in train mode, with the names of copies: buffers."""

_CONSTANT = re.compile(r"/constant[^/]*$", re.IGNORECASE)
"""The names that exporters give to constants, such as "/pool/Constant_output_0"."""


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


def own_statistics(body: Body, taken: set[str], most: int) -> Body:
    """Return the body with a copy of each running statistic that has another use, too.

    Exporters store equal arrays once, such as the weight and the variance of a new layer; but in
    train mode a layer changes its statistics in place. Calls with the same weights and statistics
    are one layer, which keeps one, unless the array is used in other places as well.

    Parameters
    ----------
    body : Body
    taken : set of str
        The names that are in use; those of copies are added.
    most : int
        The most bytes of all copies.

    Raises
    ------
    OnnxError
        If the copies have more.
    """
    uses = _uses(body)
    copied = {name for name, kinds in uses.items() if len(kinds) > 1}
    calls, constants = list(body.calls), dict(body.constants)
    for number, call in enumerate(calls):
        inputs = list(call.inputs)
        for i, kind in _STATISTICS.get(call.operator.op_type, {}).items():
            name = inputs[i] if i < len(inputs) else ""
            kinds = uses.get(name, {})
            if name not in copied or (
                None not in kinds and next(iter(kinds)) == (i, call.inputs[1:])
            ):
                continue  # the first layer of several keeps the name
            most -= constants[name].nbytes
            if most < 0:
                raise OnnxError(f"{call.operator}: copies of running statistics exceed the limit")
            inputs[i] = _new_name(call, number, kind, copied, taken)
            constants[inputs[i]] = constants[name].copy()
        if inputs != list(call.inputs):
            calls[number] = replace(call, inputs=tuple(inputs))
    return replace(body, calls=calls, constants=constants)


def _uses(body: Body) -> dict[str, dict[Any, None]]:
    """Return how constants are used: as a statistic of a layer, or None for other ways."""
    uses: dict[str, dict[Any, None]] = {}
    for outer in body.calls:
        for call in outer.nested():
            statistics = _STATISTICS.get(call.operator.op_type, ())
            for i, name in enumerate(call.inputs):
                if name in body.constants:
                    kind = (i, call.inputs[1:]) if i in statistics else None
                    uses.setdefault(name, {})[kind] = None
    return uses


def _new_name(call: NodeCall, number: int, kind: str, copied: set[str], taken: set[str]) -> str:
    """Return a name for a copy: beside the weights of the layer, or in the part of the call."""
    owners = {name.rpartition(".")[0] for name in call.inputs[1:] if name not in copied}
    owner = owners.pop() if len(owners) == 1 else ""
    if not owner or f"{owner}.{kind}" in taken:
        owner = place_of(call, number)
    name = f"{owner}.{kind}"
    while name in taken:
        name += "_"
    taken.add(name)
    return name


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
        if op_type == "Cast" and call.operator.get("to") not in FLOATS:
            continue
        settings = SETTINGS.get(op_type, ())
        reached.update(name for i, name in enumerate(call.inputs) if i not in settings)
        for inner in call.bodies():
            reached.update(inner.outputs)
            _reach(inner.calls, reached)


def _at(body: Body, table: Mapping[str, Iterable[int]]) -> set[str]:
    """Return the names at these inputs, also of calls in graphs."""
    return {
        call.inputs[i]
        for outer in body.calls
        for call in outer.nested()
        for i in table.get(call.operator.op_type, ())
        if i < len(call.inputs)
    }
