"""Normalization of each example: by the statistics of a layer or of groups of channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_cnn.core.composition import composition
from tinygrad_cnn.core.declaration import Draw, Prose, Strategies
from tinygrad_cnn.core.op import op
from tinygrad_cnn.core.variable import Array, Variable, array_of
from tinygrad_cnn.engine import layer_norm as rows
from tinygrad_cnn.engine import normalization as engine
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.ops.arithmetic import astype, mul
from tinygrad_cnn.ops.elementary import pow, sqrt
from tinygrad_cnn.ops.entries import Index, Letters, LocalEntry, Quantities, at, equal
from tinygrad_cnn.ops.indexing import stack
from tinygrad_cnn.ops.padding import pad
from tinygrad_cnn.ops.pooling import avgpool
from tinygrad_cnn.ops.ranks import Ranks, average_statistics, rank_average
from tinygrad_cnn.ops.reduction import mean
from tinygrad_cnn.ops.reduction import sum as sum_over
from tinygrad_cnn.ops.shape import reshape
from tinygrad_cnn.support.arguments import whole


@op(
    formula=Prose("w·(x − μ) / √(σ² + ε) + b, μ and σ² over the last axes"),
    latex=r"w\,\frac{x-\mu}{\sqrt{\sigma^2+\epsilon}} + b",
    role="normalization",
    aliases={"weight": "w", "bias": "b", "eps": "ε"},
)
def layer_norm(
    x: Array,
    normalized_shape: int | Sequence[int],
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
    *,
    row_statistics: Array = ...,
) -> Array:
    """Return `x` normalized by the mean and variance over its last axes.

    Parameters
    ----------
    x : Tensor or array_like
    normalized_shape : int or sequence of int
        The lengths of these axes.
    weight, bias : Tensor or array_like, optional
        The scale and shift of each value, of shape `normalized_shape`.
    eps : float
        Added to the variance.

    Raises
    ------
    ValueError
        If the shapes do not match, or `eps` is negative.

    Notes
    -----
    Ba, Kiros and Hinton, "Layer normalization", 2016.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.layer_norm(tg.Tensor([[1.0, 3.0], [10.0, 30.0]]), 2, eps=0.0)
    Tensor([[-1.,  1.],
            [-1.,  1.]])
    """
    inner = _inner(normalized_shape)
    check_affine("layer_norm", inner, weight=weight, bias=bias)
    return rows.normalized(x, inner, row_statistics, weight, bias)


@layer_norm.intermediate
def row_statistics(x: Array, normalized_shape: Any, eps: float) -> Array:
    """Return μ and σ of each row of values; of an array, `engine.statistics`."""
    inner, shape = _inner(normalized_shape), x.shape
    if not inner or shape[-len(inner) :] != inner or 0 in inner:
        raise ValueError(
            f"layer_norm: x has shape {shape}, expected (..., {', '.join(map(str, inner))}), none "
            "of them 0"
        )
    return mean_and_deviation(
        "layer_norm", x, tuple(range(len(shape) - len(inner), len(shape))), eps
    )


@layer_norm.intermediate
def gradients(
    g: Array, x: Array, normalized_shape: Any, weight: Array | None, row_statistics: Array
) -> Any:
    """Return the gradients of x, of the scale and of the shift."""
    inner = _inner(normalized_shape)
    if not isinstance(g, Variable):
        return rows.gradients(g, x, inner, row_statistics, weight)
    first = len(x.shape) - len(inner)
    outer, last = tuple(range(first)), tuple(range(first, len(x.shape)))
    normal = (x - row_statistics[0]) / row_statistics[1]
    h = g if weight is None else g * weight
    dx = (h - mean(h, last, True) - normal * mean(h * normal, last, True)) / row_statistics[1]
    return dx, sum_over(g * normal, outer), sum_over(g, outer)


@layer_norm.derivative(
    "x",
    formula=Prose("(w·g − mean w·g − x̂·mean w·g·x̂) / √(σ² + ε)"),
    latex=r"\frac{wg - \overline{wg} - \hat x\,\overline{wg\,\hat x}}{\sqrt{\sigma^2+\epsilon}}",
)
def _(g: Array, *, gradients: Any) -> Array:
    return gradients[0]


@layer_norm.derivative(
    "weight", formula=Prose("Σ g·x̂ over the other axes"), latex=r"\sum g\,\hat x"
)
def _(g: Array, *, gradients: Any) -> Array:
    return gradients[1]


@layer_norm.derivative("bias", formula=Prose("Σ g over the other axes"), latex=r"\sum g")
def _(g: Array, *, gradients: Any) -> Array:
    return gradients[2]


@layer_norm.calls
def _(draw: Draw, s: Strategies) -> Any:
    shape = draw(s.shapes(min_dims=1, max_dims=3))
    inner = shape[draw(s.integers(0, len(shape) - 1)) :]
    optional = s.one_of(s.none(), s.arrays(inner))
    return {
        "x": draw(s.arrays(shape)),
        "normalized_shape": inner,
        "weight": draw(optional),
        "bias": draw(optional),
        "eps": draw(s.sampled_from([1e-3, 0.5])),
    }


@op(
    formula=Prose("w·(x − μ) / √(σ² + ε) + b, μ and σ² of groups of channels"),
    latex=r"w\,\frac{x-\mu}{\sqrt{\sigma^2+\epsilon}} + b",
    role="normalization",
    aliases={"weight": "w", "bias": "b", "eps": "ε"},
)
def group_norm(
    x: Array,
    num_groups: int,
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
    *,
    group_statistics: Array = ...,
) -> Array:
    """Return `x` normalized by the mean and variance of groups of channels of each example.

    Parameters
    ----------
    x : Tensor or array_like
        Of shape (N, C, ...).
    num_groups : int
        The number of groups, a divisor of C.
    weight, bias : Tensor or array_like, optional
        The scale and shift of each channel, of shape (C,).
    eps : float
        Added to the variance.

    Raises
    ------
    ValueError
        If the shapes do not match, or an argument is out of range.

    Notes
    -----
    Wu and He, "Group normalization", 2018.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.group_norm(tg.Tensor([[1.0, 3.0, 10.0, 30.0]]), 2, eps=0.0)
    Tensor([[-1.,  1., -1.,  1.]])
    """
    check_affine("group_norm", x.shape[1:2], weight=weight, bias=bias)
    parts = _parts(x, num_groups)
    w, b = (None if v is None else _parts_of_channels(v, x, num_groups) for v in (weight, bias))
    return engine.normalized(parts, group_statistics, w, b).reshape(x.shape)


@group_norm.intermediate
def group_statistics(x: Array, num_groups: int, eps: float) -> Array:
    """Return μ and σ of each group, with the axes of `_parts`; of an array, `engine.statistics`."""
    shape = x.shape
    groups = whole("group_norm", "num_groups", num_groups)
    if len(shape) < 2 or 0 in shape[1:] or shape[1] % groups:
        raise ValueError(
            f"group_norm: x has shape {shape}, expected (N, C, ...) with C a multiple of "
            f"num_groups={groups}, and none of C, ... 0"
        )
    return mean_and_deviation("group_norm", _parts(x, groups), tuple(range(2, len(shape) + 1)), eps)


@group_norm.intermediate
def group_moments(g: Array, x: Array, num_groups: int, group_statistics: Array) -> Array:
    """Return Σ g and Σ g·x̂ of each channel of each example, with the axes of `_parts`."""
    g, x = _parts(g, num_groups), _parts(x, num_groups)
    axes = tuple(range(3, len(x.shape)))
    if not isinstance(g, Variable):
        single = (*x.shape[:3], *[1] * len(axes))
        return engine.moments(
            g, x, np.broadcast_to(group_statistics, (len(group_statistics), *single))
        )
    normal = (x - group_statistics[0]) / group_statistics[1]
    return stack([sum_over(g, axes, True), sum_over(g * normal, axes, True)])


@group_norm.derivative(
    "x",
    formula=Prose("(w·g − mean w·g − x̂·mean w·g·x̂) / √(σ² + ε)"),
    latex=r"\frac{wg - \overline{wg} - \hat x\,\overline{wg\,\hat x}}{\sqrt{\sigma^2+\epsilon}}",
)
def _(
    g: Array,
    *,
    x: Array,
    num_groups: int,
    weight: Array | None,
    group_statistics: Array,
    group_moments: Array,
) -> Array:
    w = None if weight is None else _parts_of_channels(weight, x, num_groups)
    sums = sum_over(group_moments if w is None else group_moments * w, 3, True)
    count = math.prod(x.shape[1:]) // num_groups
    p, q = sums[0] / count, sums[1] / count
    g, parts, inverse = _parts(g, num_groups), _parts(x, num_groups), 1.0 / group_statistics[1]
    if not isinstance(g, Variable):
        return engine.input_gradient(g, parts, group_statistics, inverse, w, p, q).reshape(x.shape)
    normal = (parts - group_statistics[0]) * inverse
    return (inverse * ((g if w is None else g * w) - p - normal * q)).reshape(x.shape)


@group_norm.derivative("weight", formula=Prose("Σ g·x̂ of each channel"), latex=r"\sum g\,\hat x")
def _(g: Array, *, group_moments: Array) -> Array:
    return sum_over(group_moments[1], 0).reshape(-1)


@group_norm.derivative("bias", formula=Prose("Σ g of each channel"), latex=r"\sum g")
def _(g: Array, *, group_moments: Array) -> Array:
    return sum_over(group_moments[0], 0).reshape(-1)


@group_norm.calls
def _(draw: Draw, s: Strategies) -> Any:
    shape = (draw(s.integers(1, 3)), 4, *draw(s.shapes(0, 2, 3)))
    optional = s.one_of(s.none(), s.arrays((4,)))
    return {
        "x": draw(s.arrays(shape)),
        "num_groups": draw(s.sampled_from([1, 2, 4])),
        "weight": draw(optional),
        "bias": draw(optional),
        "eps": draw(s.sampled_from([1e-3, 0.5])),
    }


# --- compositions --------------------------------------------------------------------------------


@composition(formula="w·(x − μ) / √(σ² + ε) + b, μ and σ² of each channel of each example")
def instance_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5
) -> Array:
    """Return `x` normalized by the mean and variance of each channel of each example.

    Parameters
    ----------
    x : Tensor or array_like
        Of shape (N, C, ...), with more than one value per channel.
    weight, bias : Tensor or array_like, optional
        The scale and shift of each channel, of shape (C,).
    eps : float
        Added to the variance.

    Raises
    ------
    ValueError
        If the shapes do not match, or `eps` is negative.

    Notes
    -----
    Ulyanov, Vedaldi and Lempitsky, "Instance normalization", 2016.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.instance_norm(tg.Tensor([[[1.0, 3.0], [10.0, 30.0]]]), eps=0.0)
    Tensor([[[-1.,  1.],
             [-1.,  1.]]])
    """
    shape = np.shape(array_of(x))
    if len(shape) < 3 or math.prod(shape[2:]) < 2 or not shape[1]:
        raise ValueError(
            f"instance_norm: x has shape {shape}, expected (N, C, ...) with more than one value a "
            "channel"
        )
    return group_norm(x, shape[1], weight, bias, eps)


@composition(formula="x·(k + α·mean x²)^−β, the mean over neighboring channels")
def local_response_norm(
    x: Array, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Array:
    """Return `x` divided by a power of the mean square of neighboring channels.

    Parameters
    ----------
    x : Tensor or array_like
        Of shape (N, C, ...).
    size : int
        The number of channels in a mean, from ``size // 2`` before each channel on. Channels beyond
        the first and the last count as 0.
    alpha, beta, k : float
        As in the formula.

    Raises
    ------
    ValueError
        If `x` has fewer than three axes, or `size` is not positive.

    Notes
    -----
    Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural
    networks", 2012, with α / n for their α, as in PyTorch.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.local_response_norm(tg.Tensor([[[2.0], [4.0]]]), 1, alpha=1.0, beta=1.0, k=0.0)
    Tensor([[[0.5 ],
             [0.25]]])
    """
    shape, size = np.shape(array_of(x)), whole("local_response_norm", "size", size)
    if len(shape) < 3:
        raise ValueError(f"local_response_norm: x has shape {shape}, expected (N, C, ...)")
    # (N, C, ...) → (N, 1, C, ...): the channels are the rows of an image, averaged over windows
    squares = reshape(mul(x, x), (shape[0], 1, shape[1], math.prod(shape[2:])))
    before = size // 2
    squares = pad(squares, ((0, 0), (0, 0), (before, size - 1 - before), (0, 0)))
    means = reshape(avgpool(squares, (size, 1), 1), shape)
    return x * pow(k + alpha * means, -beta)


def mean_and_deviation(
    name: str, x: Array, axes: Shape, eps: float, ranks: Ranks | None = None
) -> Array:
    """Return μ and σ = √(variance + ε) over `axes`, stacked; of an array, `engine.statistics`."""
    if not eps >= 0:
        raise ValueError(f"{name}: eps is {eps}, expected 0 or more")
    count = math.prod(x.shape[axis] for axis in axes)
    if not isinstance(x, Variable):
        if ranks is None:
            return engine.statistics(x, axes, eps)
        return average_statistics(engine.statistics(x, axes, 0.0), count, eps, ranks)

    def averaged(x: Array) -> Array:
        if ranks is None:
            return mean(x, axes, True)
        return rank_average(sum_over(x, axes, True) / max(count, 1), count, ranks)

    center = averaged(x)
    centered = x - center
    with np.errstate(over="ignore"):
        deviation = sqrt(averaged(centered * centered) + eps)
    values = array_of(deviation)
    if values.dtype.char == "f" and not 1e-15 < values.min() <= values.max() < np.inf:
        wide = astype(centered, np.float64)  # float32 cannot hold the squares
        deviation = astype(sqrt(averaged(wide * wide) + eps), values.dtype)
    return stack([center, deviation])


def check_affine(function: str, shape: Shape, **given: Array | None) -> None:
    """Raise ValueError unless the scale and the shift, if given, have `shape`."""
    for name, value in given.items():
        if value is not None and np.shape(value) != shape:
            raise ValueError(f"{function}: {name} has shape {np.shape(value)}, expected {shape}")


def _inner(normalized_shape: Any) -> Shape:
    """Return `normalized_shape` as a tuple."""
    return (normalized_shape,) if np.ndim(normalized_shape) == 0 else tuple(normalized_shape)


def _parts(x: Array, groups: int) -> Array:
    """Return (N, C, ...) as (N, groups, C / groups, ...)."""
    n, channels, *rest = x.shape
    return x.reshape((n, groups, channels // groups, *rest))


def _parts_of_channels(values: Array, x: Array, groups: int) -> Array:
    """Return one value per channel, to broadcast with `_parts`."""
    return values.reshape((1, groups, -1, *[1] * (len(x.shape) - 2)))


# --- entries of the derivatives ------------------------------------------------------------------


@layer_norm.letters
def _(*, y_shape: Shape, normalized_shape: Any) -> Quantities:
    return normalization_letters(y_shape, _outer(y_shape, normalized_shape), "the last axes")


@layer_norm.entry("x")
def _(
    y: Index, letters: Letters, *, x_shape: Shape, normalized_shape: Any, weight: Array | None
) -> LocalEntry:
    first = len(_outer(x_shape, normalized_shape))
    x = (*y[:first], *map(letters.fresh, x_shape[first:]))
    return x, normalized_entry(y, x, y[:first], math.prod(x_shape[first:]), weight, y[first:])


@layer_norm.entry("weight")
def _(y: Index, letters: Letters, *, weight_shape: Shape) -> LocalEntry:
    return y[len(y) - len(weight_shape) :], at("x̂", y)


@layer_norm.entry("bias")
def _(y: Index, letters: Letters, *, bias_shape: Shape) -> LocalEntry:
    return y[len(y) - len(bias_shape) :], "1"


@group_norm.letters
def _(*, y_shape: Shape, num_groups: int) -> Quantities:
    return normalization_letters(y_shape, (y_shape[0], num_groups), "each group")


@group_norm.entry("x")
def _(
    y: Index, letters: Letters, *, x_shape: Shape, num_groups: int, weight: Array | None
) -> LocalEntry:
    each = x_shape[1] // num_groups  # channels per group
    channel = y[1] if each == 1 else letters.fresh(x_shape[1])
    x = (y[0], channel, *map(letters.fresh, x_shape[2:]))
    groups = [c if each == 1 else f"⌊{c} / {each}⌋" for c in (y[1], channel)]
    group = "" if num_groups == 1 else groups[0]
    count = each * math.prod(x_shape[2:])
    entry = normalized_entry(y, x, (y[0], group), count, weight, y[1:2])
    return x, entry if num_groups == 1 or each == 1 else f"{equal(*groups)}·{entry}"


@group_norm.entry("weight")
def _(y: Index, letters: Letters) -> LocalEntry:
    return y[1:2], at("x̂", y)


@group_norm.entry("bias")
def _(y: Index, letters: Letters) -> LocalEntry:
    return y[1:2], "1"


def _outer(shape: Shape, normalized_shape: Any) -> Shape:
    return shape[: len(shape) - len(_inner(normalized_shape))]


def normalization_letters(shape: Shape, statistics: Shape, over: str) -> Quantities:
    """Return x̂ of the shape of x, and the mean μ and the variance v that it is computed with."""
    return {
        "x̂": (shape, "(x − μ) / √(v + ε)"),
        "μ": (statistics, f"mean of x over {over}"),
        "v": (statistics, f"variance of x over {over}"),
    }


def normalized_entry(
    y: Index, x: Index, row: Index, count: int, w: Array | None, scale: Index
) -> str:
    """Return the entry for x of a normalization of `count` values: μ and v depend on each."""
    pairs = zip(y, x, strict=True)
    same = "·".join(equal(i, k) for i, k in pairs if i != k) or "1"
    slope = "" if w is None else f"{at('w', scale)}·"
    spread = f"(1 + {at('x̂', y)}·{at('x̂', x)}) / {count}"
    return f"{slope}({same} − {spread}) / √({at('v', row)} + ε)"
