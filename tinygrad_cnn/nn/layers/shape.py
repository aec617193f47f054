"""Layers that reshape."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.nn.module import Module


class Flatten(Module):
    """Flatten each example: (N, ...) → (N, product of the rest).

    Raises
    ------
    ValueError
        On a call, if the input has no batch axis.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> tg.nn.Flatten()(tg.Tensor(np.zeros((8, 1, 28, 28)))).shape
    (8, 784)
    """

    def forward(self, x: Any) -> Any:
        """Return `x`, of shape (N, ...), reshaped to (N, product)."""
        shape = np.shape(x) if not hasattr(x, "shape") else x.shape
        if not shape:
            raise ValueError(f"{type(self).__name__}: x has no axes, expected (N, ...)")
        return ops.reshape(x, (shape[0], math.prod(shape[1:])))
