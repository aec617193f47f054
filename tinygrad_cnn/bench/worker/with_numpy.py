"""Bare NumPy: the chain without a graph, the baseline for recording overhead."""

from __future__ import annotations

from typing import Any

import numpy as np

from .task import REPEATS, Chain, chain_values

VARIANTS = ("",)
KINDS = None


def chain() -> Chain:
    """Return the chain with a handwritten backward: only the calls that the rules make."""
    x0, w, b = chain_values()
    ones = np.ones_like(x0)

    def forward() -> list[Any]:
        kept = [x0]
        for _ in range(REPEATS):
            product = kept[-1] * w
            kept.append(np.tanh(product + b))
        return kept

    def backward(kept: list[Any]) -> Any:
        g, w_gradient, b_gradient = ones, None, None
        for k in range(REPEATS, 0, -1):
            g = g * (1.0 - kept[k] * kept[k])
            b_gradient = g if b_gradient is None else b_gradient + g
            product = g * kept[k - 1]
            w_gradient = product if w_gradient is None else w_gradient + product
            g = g * w
        return w_gradient, b_gradient

    return Chain(forward, backward)
