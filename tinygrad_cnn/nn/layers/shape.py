"""Layers that reshape, or leave a value as it is."""

from __future__ import annotations

import math

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.core.tensor import A
from tinygrad_cnn.nn.module import Parameterless


class Identity(Parameterless):
    """The input itself: stands where a network may have a layer or none, such as a shortcut.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> shortcut = tg.nn.Identity()
    >>> shortcut(tg.Tensor([1.0, 2.0]))
    Tensor([1., 2.])
    """

    def forward(self, x: A) -> A:
        """Return `x`."""
        return x


class Flatten(Parameterless):
    """Join the axes from `start_dim` to `end_dim`: by default (N, ...) → (N, product of the rest).

    Parameters
    ----------
    start_dim, end_dim : int
        The first and the last axis to join; negative ones count from the end.

    Raises
    ------
    ValueError
        On a call, if the input lacks these axes, or they are in the wrong order.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> tg.nn.Flatten()(tg.Tensor(np.zeros((8, 1, 28, 28)))).shape
    (8, 784)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, x: A) -> A:
        """Return `x` with these axes as one."""
        shape: tuple[int, ...] = x.shape if hasattr(x, "shape") else np.shape(x)
        start: int = self.start_dim + (len(shape) if self.start_dim < 0 else 0)
        stop: int = self.end_dim + (len(shape) if self.end_dim < 0 else 0)
        if not 0 <= start <= stop < len(shape):
            raise ValueError(
                f"{type(self).__name__}: x has shape {shape}, expected axes {self.start_dim} to "
                f"{self.end_dim} in it"
            )
        joined = math.prod(shape[start : stop + 1])
        return ops.reshape(x, (*shape[:start], joined, *shape[stop + 1 :]))
