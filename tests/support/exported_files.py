"""Files that `tinygrad_cnn.onnx.export` makes, run by onnxruntime."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

import tinygrad_cnn as tg
from support.machine import lacking

TOLERANCE = 1e-5


def outputs(file: Any, *inputs: Any) -> list[np.ndarray]:
    """Return what onnxruntime computes from a file."""
    try:
        from support.onnxruntime_runs import computed
    except ImportError:
        lacking("onnxruntime")
    return computed(file, list(map(np.asarray, inputs)))


def flat(result: Any) -> list[np.ndarray]:
    """Return the arrays of a model's result."""
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, list | tuple):
        return [array for part in result for array in flat(part)]
    return [np.asarray(getattr(result, "_array", result))]


def assert_same(file: Any, model: Any, *inputs: Any, tolerance: float = TOLERANCE) -> None:
    """Check that onnxruntime computes what the model does, relative to the largest value."""
    read = {name for node in file.graph.node for name in node.input}
    assert {entry.name for entry in file.graph.initializer} <= read
    with tg.no_grad():
        expected = flat(model(*inputs))
    arrays = [getattr(value, "_array", value) for value in inputs]
    found = outputs(file, *arrays)
    assert [a.shape for a in found] == [a.shape for a in expected]
    assert [a.dtype for a in found] == [a.dtype for a in expected]
    for theirs, ours in zip(found, expected, strict=True):
        scale = max(1.0, float(np.abs(ours).max(initial=0.0)))
        np.testing.assert_allclose(theirs, ours, rtol=0.0, atol=tolerance * scale)


def operators(file: Any) -> dict[str, int]:
    """Return how often each operator stands in a file."""
    return dict(Counter(node.op_type for node in file.graph.node))
