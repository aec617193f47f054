"""Matrix products and sums of products."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.importers.values import refused
from tinygrad_cnn.onnx.operator import Operator, importer


@importer("MatMul")
def _(node: Operator, a: Any, b: Any) -> Any:
    return ops.matmul(a, b)


@importer("Gemm")
def _(node: Operator, a: Any, b: Any, c: Any = None) -> Any:
    if a.ndim != 2 or b.ndim != 2:
        raise refused(node, f"a has shape {a.shape} and b {b.shape}, expected matrices")
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    a = ops.transpose(a) if node.get("transA", 0) else a
    across = bool(node.get("transB", 0))
    vector = c is None or c.shape == (b.shape[0 if across else 1],)
    if alpha == beta == 1 and across and vector and a.dtype.kind == "f":
        return ops.linear(a, b, c)
    y = ops.matmul(a, ops.transpose(b) if across else b)
    y = y if alpha == 1 else y * _factor(y, alpha)
    if c is None or beta == 0:
        return y
    return y + (c if beta == 1 else c * _factor(y, beta))


def _factor(y: Any, value: float) -> Any:
    """Return a factor in the dtype of `y`."""
    return np.asarray(value, y.dtype)


@importer("Einsum")
def _(node: Operator, *operands: Any) -> Any:
    return ops.einsum(node.get("equation", "").replace(" ", ""), *operands)
