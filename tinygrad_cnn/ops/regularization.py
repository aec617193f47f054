"""Dropout and batch normalization."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.core.declaration import Draw, Strategies
from tinygrad_cnn.core.op import op
from tinygrad_cnn.core.variable import Array, array_of
from tinygrad_cnn.engine import selection
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.ops.arithmetic import astype
from tinygrad_cnn.ops.elementary import sqrt
from tinygrad_cnn.ops.entries import Index, Letters, LocalEntry, at
from tinygrad_cnn.ops.reduction import mean
from tinygrad_cnn.ops.reduction import sum as sum_over
from tinygrad_cnn.ops.shape import reshape


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
        The probability of dropping a value, 0 ≤ p < 1. The scale is 1 / (1 − p).

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
    if not 0.0 <= p < 1.0:
        raise ValueError(f"dropout: p is {p}, expected >= 0 and < 1")
    if mask.dtype != bool:
        raise TypeError(f"dropout: mask holds {mask.dtype}, expected bool")
    if np.broadcast_shapes(np.shape(x), mask.shape) != np.shape(x):
        raise ValueError(f"dropout: mask has shape {mask.shape} but x {np.shape(x)}")
    return selection.select(x, mask) * (1.0 / (1.0 - p))


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


@op(
    formula="w·(x − μ) / √(σ² + ε) + b",
    latex=r"w\,\frac{x-\mu}{\sqrt{\sigma^2+\epsilon}} + b",
    role="normalization",
    kind="batch-norm",
    aliases={"bias": "b", "eps": "ε"},
)
def batch_norm(x: Array, w: Array, bias: Array, eps: float = 1e-5, *, normal: Array = ...) -> Array:
    """Return `x` normalized by the mean and variance of each channel, scaled and shifted.

    Parameters
    ----------
    x : Tensor or array_like
        Of shape (N, C, ...), with at least one value per channel. Statistics are taken over all
        axes but the second.
    w, bias : Tensor or array_like
        The scale and shift of each channel, of shape (C,).
    eps : float
        Added to the variance.

    Raises
    ------
    ValueError
        If the shapes do not match, a channel is empty, or `eps` is negative.

    Notes
    -----
    Ioffe and Szegedy, "Batch Normalization", 2015. With x̂ the normalized values, n per channel,
    ∂x = w/σ · (g − Σ g / n − x̂ · Σ g·x̂ / n).

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.Tensor([[0.0], [2.0]])
    >>> tg.batch_norm(x, tg.Tensor([3.0]), tg.Tensor([10.0]), eps=0.0)
    Tensor([[ 7.],
            [13.]])
    """
    for name, value in (("w", w), ("bias", bias)):
        if np.shape(value) != x.shape[1:2]:
            raise ValueError(f"batch_norm: {name} has shape {np.shape(value)}, expected "
                             f"{x.shape[1:2]}")  # fmt: skip
    return _along(w, x) * normal + _along(bias, x)


@batch_norm.intermediate
def centered(x: Array) -> Array:
    """Return x − μ."""
    if len(x.shape) < 2 or 0 in x.shape:
        raise ValueError(f"batch_norm: x has shape {x.shape}, expected (N, C, ...), none of them 0")
    return x - mean(x, _other_axes(x), True)


@batch_norm.intermediate
def deviation(centered: Array, eps: float) -> Array:
    """Return σ = √(variance + ε) of each channel."""
    if not eps >= 0:
        raise ValueError(f"batch_norm: eps is {eps}, expected 0 or more")
    axes = _other_axes(centered)
    with np.errstate(over="ignore"):
        deviation = sqrt(mean(centered * centered, axes, True) + eps)
    values = array_of(deviation)
    if values.dtype.char == "f" and not 1e-15 < values.min() <= values.max() < np.inf:
        wide = astype(centered, np.float64)  # float32 cannot hold the squares
        deviation = astype(sqrt(mean(wide * wide, axes, True) + eps), values.dtype)
    return deviation


@batch_norm.intermediate
def normal(centered: Array, deviation: Array) -> Array:
    """Return x̂ = (x − μ) / σ."""
    return centered / deviation


@batch_norm.derivative(
    "x",
    formula="w·(g − mean g − x̂·mean(g·x̂)) / √(σ² + ε)",
    latex=r"\frac{w}{\sqrt{\sigma^2+\epsilon}}\,(g - \overline{g} - \hat x\,\overline{g\,\hat x})",
)
def _(g: Array, *, w: Array, normal: Array, deviation: Array) -> Array:
    axes = _other_axes(g)
    inner = g - mean(g, axes, True) - normal * mean(g * normal, axes, True)
    return _along(w, g) / deviation * inner


@batch_norm.derivative("w", formula="Σ g·x̂", latex=r"\sum g\,\hat x")
def _(g: Array, *, normal: Array) -> Array:
    return sum_over(g * normal, _other_axes(g))


@batch_norm.derivative("bias", formula="Σ g", latex=r"\sum g")
def _(g: Array) -> Array:
    return sum_over(g, _other_axes(g))


@batch_norm.calls
def _(draw: Draw, s: Strategies) -> Any:
    shape = draw(s.shapes(min_dims=2, max_dims=4, max_side=3))
    return {
        "x": draw(s.arrays(shape)),
        "w": draw(s.arrays(shape[1:2])),
        "bias": draw(s.arrays(shape[1:2])),
        "eps": draw(s.sampled_from([1e-3, 0.5])),
    }


def _other_axes(x: Array) -> tuple[int, ...]:
    return (0, *range(2, len(x.shape)))


def _along(values: Array, x: Array) -> Array:
    """Reshape one value per channel to broadcast with `x`: (C,) → (1, C, 1, ...)."""
    return reshape(values, (1, -1) + (1,) * (len(x.shape) - 2))


# --- entries of the derivatives ------------------------------------------------------------------


@batch_norm.entry("x")
def _(y: Index, letters: Letters, *, x_shape: Shape) -> LocalEntry:
    """Return the plain derivative; the channel index is shared, as channels are independent."""
    fresh = (letters.fresh(n) for n in (x_shape[0], *x_shape[2:]))
    x = (next(fresh), y[1], *fresh)
    return x, f"∂{at('y', y)}/∂{at('x', x)}"


@batch_norm.entry("bias")
def _(y: Index, letters: Letters) -> LocalEntry:
    return y[1:2], "1"
