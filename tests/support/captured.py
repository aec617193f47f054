"""What steps may be refused for: arrays that are computed beside the ops."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import pytest
from hypothesis import reject

import tinygrad_cnn as tg

NOT_CAPTURED = {
    *("AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "Upsample nearest", "Embedding"),
    *("NLL", "NLL-images", "BCE-weight", "BCEWithLogits-weights"),
    *("TripletMargin", "CosineEmbedding", "CosineEmbedding-margin"),
}
"""Layers and losses that compute with NumPy, beside the ops, on arrays that they are given."""


@contextmanager
def unless_refused() -> Iterator[None]:
    """Leave out an example with arrays that only an object holds, or that a function makes."""
    try:
        yield
    except tg.compiler.CompileError as error:
        if "neither" not in str(error):
            raise
        reject()


def captured(name: str) -> AbstractContextManager[Any]:
    """Expect a refusal where a layer or loss computes beside the ops."""
    if name in NOT_CAPTURED:
        return pytest.raises(tg.compiler.CompileError, match=r"compute.* with ops")
    return nullcontext()
