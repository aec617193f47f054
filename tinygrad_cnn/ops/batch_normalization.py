"""Batch normalization, and the statistics that a call of it leaves for running averages."""

from __future__ import annotations

import math
from typing import Any

from tinygrad_cnn.core.declaration import Draw, Strategies
from tinygrad_cnn.core.observer import announce
from tinygrad_cnn.core.op import op
from tinygrad_cnn.core.variable import Array, Variable
from tinygrad_cnn.engine import normalization as engine
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.ops.entries import Index, Letters, LocalEntry, Quantities, at
from tinygrad_cnn.ops.indexing import stack
from tinygrad_cnn.ops.normalization import (
    check_affine,
    mean_and_deviation,
    normalization_letters,
    normalized_entry,
)
from tinygrad_cnn.ops.ranks import Ranks, SingleProcess, rank_average
from tinygrad_cnn.ops.reduction import sum as sum_over


@op(
    formula="w·(x − μ) / √(σ² + ε) + b",
    latex=r"w\,\frac{x-\mu}{\sqrt{\sigma^2+\epsilon}} + b",
    role="normalization",
    kind="batch-norm",
    aliases={"bias": "b", "eps": "ε"},
)
def batch_norm(
    x: Array,
    w: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
    ranks: Ranks | None = None,
    *,
    statistics: Array = ...,
) -> Array:
    """Return `x` normalized by the mean and variance of each channel, scaled and shifted.

    Parameters
    ----------
    x : Tensor or array_like
        Of shape (N, C, ...), with at least one value per channel. Statistics are taken over all
        axes but the second.
    w, bias : Tensor or array_like, optional
        The scale and shift of each channel, of shape (C,); None for 1 and 0.
    eps : float
        Added to the variance.
    ranks : Ranks, optional
        Take the statistics over the values of all these ranks; see
        `tinygrad_cnn.distributed.convert_sync_batchnorm`. A rank may have no example.

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
    check_affine("batch_norm", x.shape[1:2], w=w, bias=bias)
    return engine.normalized(x, statistics, _along(w, x), _along(bias, x))


@batch_norm.intermediate
def statistics(x: Array, eps: float, ranks: Ranks | None) -> Array:
    """Return μ and σ = √(variance + ε) of each channel; of an array, `engine.statistics`."""
    if len(x.shape) < 2 or 0 in x.shape[ranks is not None :]:
        raise ValueError(f"batch_norm: x has shape {x.shape}, expected (N, C, ...), none of them 0")
    return mean_and_deviation("batch_norm", x, _other_axes(x), eps, ranks)


@batch_norm.intermediate
def moments(g: Array, x: Array, statistics: Array) -> Array:
    """Return Σ g and Σ g·x̂ of each channel."""
    if not isinstance(g, Variable):
        return engine.moments(g, x, statistics)
    axes = _other_axes(x)
    normal = (x - statistics[0]) / statistics[1]
    return stack([sum_over(g, axes, True), sum_over(g * normal, axes, True)])


@batch_norm.derivative(
    "x",
    formula="w·(g − mean g − x̂·mean(g·x̂)) / √(σ² + ε)",
    latex=r"\frac{w}{\sqrt{\sigma^2+\epsilon}}\,(g - \overline{g} - \hat x\,\overline{g\,\hat x})",
)
def _(
    g: Array,
    *,
    x: Array,
    w: Array | None,
    ranks: Ranks | None,
    statistics: Array,
    moments: Array,
) -> Array:
    center, deviation = statistics[0], statistics[1]
    slope = (1.0 if w is None else _along(w, x)) / deviation
    count = math.prod(x.shape) // x.shape[1]
    if ranks is not None:
        moments, count = rank_average(moments, count, ranks), max(count, 1)
    p, q = moments[0] / count, moments[1] / count
    if not isinstance(g, Variable):
        return engine.input_gradient(g, x, statistics, slope, None, p, q)
    return slope * (g - p - (x - center) / deviation * q)


@batch_norm.derivative("w", formula="Σ g·x̂", latex=r"\sum g\,\hat x")
def _(g: Array, *, moments: Array) -> Array:
    return moments[1].reshape(-1)


@batch_norm.derivative("bias", formula="Σ g", latex=r"\sum g")
def _(g: Array, *, moments: Array) -> Array:
    return moments[0].reshape(-1)


@batch_norm.calls
def _(draw: Draw, s: Strategies) -> Any:
    shape = draw(s.shapes(min_dims=2, max_dims=4, max_side=3))
    return {
        "x": draw(s.arrays(shape)),
        "w": draw(s.one_of(s.none(), s.arrays(shape[1:2]))),
        "bias": draw(s.one_of(s.none(), s.arrays(shape[1:2]))),
        "eps": draw(s.sampled_from([1e-3, 0.5])),
        "ranks": draw(s.sampled_from([None, SingleProcess()])),
    }


def _other_axes(x: Array) -> tuple[int, ...]:
    return (0, *range(2, len(x.shape)))


def _along(values: Any, x: Array) -> Any:
    """Reshape one value per channel to broadcast with `x`: (C,) → (1, C, 1, ...); None stays."""
    return None if values is None else values.reshape((1, -1) + (1,) * (len(x.shape) - 2))


def saved_statistics(y: Array) -> Array | None:
    """Return the statistics that ``y = batch_norm(x, ...)`` saved for its derivative, if it did."""
    node = getattr(y, "node", None)
    if node is None or "statistics" not in node.plan.names:
        return None
    found: Array = node.kept()[node.plan.names.index("statistics")]
    return found


def batch_statistics(
    saved: Array | None, x: Array, ranks: Ranks | None = None
) -> tuple[Array, Array, int]:
    """Return the mean and unbiased variance of each channel of `x`, an array.

    They are the `saved` ones if these are given. The third is the number of values that they are
    of, on all ranks.
    """
    found = saved
    if found is None:
        found = mean_and_deviation("batch_norm", x, _other_axes(x), 0.0, ranks)
    count = x.size // x.shape[1] if ranks is None else round(found[3].item(0))
    unbiased = count / max(count - 1, 1)
    return found[0].reshape(-1), found[2].reshape(-1) * unbiased, count


def announce_inference(
    x: Array, mean: Array, variance: Array, weight: Array, bias: Array, eps: float, y: Array
) -> None:
    """Report a batch normalization by running statistics to the observers, as one call."""
    arguments = {"mean": mean, "variance": variance, "weight": weight, "bias": bias, "eps": eps}
    announce("batch_norm_inference", {"x": x, **arguments}, y)


# --- entries of the derivatives ------------------------------------------------------------------


@batch_norm.letters
def _(*, y_shape: Shape) -> Quantities:
    return normalization_letters(y_shape, y_shape[1:2], "each channel")


@batch_norm.entry("x")
def _(y: Index, letters: Letters, *, x_shape: Shape, w: Array | None) -> LocalEntry:
    fresh = (letters.fresh(n) for n in (x_shape[0], *x_shape[2:]))
    x = (next(fresh), y[1], *fresh)
    return x, normalized_entry(y, x, y[1:2], math.prod(x_shape) // x_shape[1], w, y[1:2])


@batch_norm.entry("w")
def _(y: Index, letters: Letters) -> LocalEntry:
    return y[1:2], at("x̂", y)


@batch_norm.entry("bias")
def _(y: Index, letters: Letters) -> LocalEntry:
    return y[1:2], "1"
