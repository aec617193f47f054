"""Dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.core.declaration import Draw, Strategies
from tinygrad_cnn.core.op import op
from tinygrad_cnn.core.variable import Array
from tinygrad_cnn.engine import selection


@op(
    formula="x·m / (1 − p)",
    latex=r"\frac{x\,m}{1-p}",
    elementwise=True,
    role="regularization",
    aliases={"mask": "m"},
)
def dropout(x: Array, mask: Array, p: float = 0.5) -> Array:
    """Return `x` where `mask` holds and 0 elsewhere, scaled so that the mean is kept.

    Parameters
    ----------
    x : Tensor or array_like
    mask : Tensor or array_like of bool
        The values to keep, of a shape that broadcasts to that of `x`. `nn.Dropout` draws it.
    p : float
        The probability of dropping a value, from 0 to 1. The scale is 1 / (1 − p); for 1, all is 0.

    Raises
    ------
    ValueError
        If `p` is out of range.
    TypeError
        If `mask` is not bool.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.dropout(tg.Tensor([1.0, 2.0, 3.0]), [True, False, True], p=0.5)
    Tensor([2., 0., 6.])
    """
    mask = np.asarray(mask)
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout: p is {p}, expected a number from 0 to 1")
    if mask.dtype != bool:
        raise TypeError(f"dropout: mask holds {mask.dtype}, expected bool")
    if np.broadcast_shapes(np.shape(x), mask.shape) != np.shape(x):
        raise ValueError(f"dropout: mask has shape {mask.shape} but x {np.shape(x)}")
    return selection.select(x, mask) * (1.0 / (1.0 - p) if p < 1.0 else 0.0)


@dropout.derivative("x", formula="g·m / (1 − p)", latex=r"\frac{g\,m}{1-p}")
def _(g: Array, *, mask: Array, p: float) -> Array:
    return dropout(g, mask, p)


@dropout.calls
def _(draw: Draw, s: Strategies) -> Any:
    x = draw(s.arrays())
    return {
        "x": x,
        "mask": draw(s.masks(tuple(draw(s.sampled_from([1, n])) for n in x.shape))),
        "p": draw(s.sampled_from([0.0, 0.25, 0.5])),
    }
