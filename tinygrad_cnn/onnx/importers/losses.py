"""Losses of classifiers, and dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.importers.values import plain
from tinygrad_cnn.onnx.operator import Operator, importer


@importer("NegativeLogLikelihoodLoss")
def _(node: Operator, x: Any, target: Any, weight: Any = None) -> Any:
    return ops.nll(x, target, axis=1, weight=weight, **_options(node))


@importer("SoftmaxCrossEntropyLoss")
def _(node: Operator, x: Any, target: Any, weight: Any = None) -> Any:
    options = _options(node)
    if node.outputs < 2:
        return ops.cross_entropy(x, target, axis=1, weight=weight, **options)
    logs = ops.log_softmax(x, axis=1)
    return ops.nll(logs, target, axis=1, weight=weight, **options), logs


def _options(node: Operator) -> dict[str, Any]:
    return {
        "reduction": node.get("reduction", "mean"),
        "ignore_index": node.get("ignore_index", -100),
    }


@importer("Dropout")
def _(node: Operator, x: Any, ratio: Any = None, training: Any = None) -> Any:
    """Drop entries where the file says so, or in train mode."""
    p = float(plain(node.get("ratio", 0.5) if ratio is None else ratio).item())
    asked = training is not None and bool(np.asarray(training).item())
    if not (asked or node.training) or p == 0:
        y, mask = x, np.ones(x.shape, np.bool_)
    else:
        mask = _generator(node).random(x.shape) >= p
        y = ops.dropout(x, mask, p)
    return y if node.outputs < 2 else (y, mask)


def _generator(node: Operator) -> Any:
    """Return the default generator, or that of the node's seed."""
    from tinygrad_cnn.core.random import default_generator

    seed = node.get("seed")
    return default_generator() if seed is None else np.random.RandomState(seed)
