"""Single ONNX nodes, computed by our importers and by onnxruntime."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import numpy as np
import onnx.helper as make
import onnxruntime

import tinygrad_cnn.onnx.importers as families
from tinygrad_cnn.core.variable import array_of
from tinygrad_cnn.onnx.operator import IMPORTERS, Operator

for family in pkgutil.iter_modules(families.__path__):
    importlib.import_module(f"{families.__name__}.{family.name}")

onnxruntime.set_default_logger_severity(4)


def imported(
    op_type: str, *inputs: Any, opset: int = 20, outputs: int = 1, **attributes: Any
) -> Any:
    """Return what our importer computes."""
    node = Operator(op_type, op_type, opset, attributes, outputs)
    return IMPORTERS[op_type](node, *inputs)


def expected(op_type: str, *inputs: Any, outputs: int = 1, **options: Any) -> Any:
    """Return what onnxruntime computes, an array or a list of several."""
    model, arrays = _model(op_type, inputs, outputs, **options)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )
    found = session.run(None, arrays)
    return found if outputs > 1 else found[0]


def _model(
    op_type: str, inputs: Any, outputs: int, opset: int = 20, **attributes: Any
) -> tuple[Any, dict[str, Any]]:
    """Return a model of one node, and its inputs by name."""
    arrays = {f"x{k}": np.asarray(x) for k, x in enumerate(inputs) if x is not None}
    names = [f"x{k}" if x is not None else "" for k, x in enumerate(inputs)]
    results = [f"y{k}" for k in range(outputs)]
    graph = make.make_graph(
        [make.make_node(op_type, names, results, **attributes)],
        "node",
        [_value(name, array) for name, array in arrays.items()],
        [make.make_empty_tensor_value_info(name) for name in results],
    )
    versions = [make.make_opsetid("", opset)]
    return make.make_model(graph, opset_imports=versions, ir_version=8), arrays


def agree(
    op_type: str, *inputs: Any, rtol: float = 1e-4, atol: float = 1e-5, **options: Any
) -> None:
    """Raise AssertionError unless both compute the same."""
    result, wanted = imported(op_type, *inputs, **options), expected(op_type, *inputs, **options)
    if options.get("outputs", 1) == 1:
        result, wanted = (result,), [wanted]
    for a, b in zip(result, wanted, strict=False):
        a = np.asarray(array_of(a))
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol, atol)


def _value(name: str, array: Any) -> Any:
    return make.make_tensor_value_info(
        name, make.np_dtype_to_tensor_dtype(array.dtype), array.shape
    )
