"""Small ONNX models for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 20
FLOAT = TensorProto.FLOAT


def node(op_type: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    """Return a node; names are divided by spaces, and "-" is left out."""
    ends = [["" if name == "-" else name for name in text.split()] for text in (inputs, outputs)]
    return helper.make_node(op_type, *ends, **attributes)


def value(name: str, shape: Sequence[int | str | None] | None, kind: int = FLOAT) -> Any:
    """Return the declaration of an input or output."""
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    nodes: Sequence[Any],
    inputs: Mapping[str, Any],
    outputs: Sequence[str],
    initializers: Mapping[str, NDArray[Any]] | None = None,
    opset: int = OPSET,
    functions: Sequence[Any] = (),
    domains: Mapping[str, int] | None = None,
) -> Any:
    """Return a ModelProto; of an input, the shape or a whole declaration."""
    declared = [
        helper.make_tensor_value_info(name, FLOAT, shape)
        if shape is None or isinstance(shape, list | tuple)
        else shape
        for name, shape in inputs.items()
    ]
    graph = helper.make_graph(
        list(nodes),
        "graph",
        declared,
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (initializers or {}).items()],
    )
    versions = {"": opset, **(domains or {})}
    imports = [helper.make_opsetid(domain, version) for domain, version in versions.items()]
    return helper.make_model(graph, opset_imports=imports, functions=list(functions), ir_version=9)


def ran(proto: Any, inputs: Mapping[str, NDArray[Any]]) -> list[Any]:
    """Return the outputs of onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, dict(inputs)))


def block() -> Any:
    """Return a model of many operators, with folded sizes, a branch and a function."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> NDArray[Any]:
        return rng.normal(size=shape).astype("f4")

    def array(*values: Any) -> NDArray[Any]:
        return np.array(values, np.int64)

    one = helper.make_tensor_value_info("one", FLOAT, None)
    then_branch = helper.make_graph([node("Add", "h6 bias", "one")], "then", [], [one])
    other = helper.make_tensor_value_info("other", FLOAT, None)
    else_branch = helper.make_graph([node("Sub", "h6 bias", "other")], "else", [], [other])
    double = helper.make_function(
        "local", "Double", ["a"], ["b"],
        [node("Constant", "", "two", value_float=2.0), node("Mul", "a two", "b")],
        [helper.make_opsetid("", OPSET)],
    )  # fmt: skip
    nodes = [
        node("Conv", "x conv.weight conv.bias", "h0", name="/conv/Conv", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "h0 bn.weight bn.bias bn.mean bn.var", "h1", name="/bn/Bn"),
        node("Relu", "h1", "h2", name="/relu/Relu"),
        node("MaxPool", "h2", "h3", kernel_shape=[2, 2], strides=[2, 2]),
        node("Shape", "h3", "shape"),
        node("Gather", "shape zero", "batch", axis=0),
        node("Unsqueeze", "batch first", "batches"),
        node("Concat", "batches rest", "sizes", axis=0),
        node("Reshape", "h3 sizes", "h4"),
        node("Gemm", "h4 fc.weight fc.bias", "h5", name="/fc/Gemm", transB=1),
        node("Double", "h5", "h6", domain="local"),
        node("Shape", "fc.weight", "fc_shape"),
        node("Gather", "fc_shape zero", "classes"),
        node("Constant", "", "four", value_int=4),
        node("Equal", "classes four", "same"),
        node("If", "same", "h7", then_branch=then_branch, else_branch=else_branch),
        node("Clip", "h7 low -", "h8"),
        node("Pad", "h8 pads", "h9"),
        node("Slice", "h9 first last axes", "h10"),
        node("Split", "h10", "a b", axis=1, num_outputs=2),
        node("Concat", "b a", "h11", axis=1),
        node("Transpose", "h11", "h12", perm=[1, 0]),
        node("Unsqueeze", "h12 axes01", "h13"),
        node("Resize", "h13 - scales", "h14", mode="nearest"),
        node("ReduceMean", "h14 axes2", "h15", keepdims=0),
        node("ConstantOfShape", "four1", "zeros"),
        node("Tile", "zeros repeats", "tiled"),
        node("ReduceSum", "tiled", "total", keepdims=0),
        node("Add", "h15 total", "h16"),
        node("Softmax", "h16", "y", axis=-1),
    ]
    initializers = {
        "conv.weight": normal(3, 2, 3, 3), "conv.bias": normal(3), "bn.weight": normal(3),
        "bn.bias": normal(3), "bn.mean": normal(3), "bn.var": rng.random(3).astype("f4") + 1,
        "zero": np.array(0), "first": array(0), "rest": array(12), "fc.weight": normal(4, 12),
        "fc.bias": normal(4), "bias": normal(4), "low": np.array(-2, "f4"),
        "pads": array(0, 1, 0, 1), "last": array(4), "axes": array(1), "axes01": array(0, 1),
        "scales": np.array([1, 1, 2, 1], "f4"), "axes2": array(2), "four1": array(4),
        "repeats": array(2),
    }  # fmt: skip
    return model(
        nodes, {"x": ["N", 2, 4, 4]}, ["y"], initializers, functions=[double], domains={"local": 1}
    )


def save_with_data(proto: Any, path: Any, location: str = "weights.bin") -> None:
    """Write a model with its weights in a file beside it."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    onnx.save_model(copy, path, save_as_external_data=True, location=location, size_threshold=0)
