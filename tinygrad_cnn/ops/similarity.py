"""Distances and angles between vectors, and the losses that compare vectors by them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.core.composition import composition
from tinygrad_cnn.core.effects import pure
from tinygrad_cnn.core.variable import Array, array_of
from tinygrad_cnn.ops.arithmetic import clip, div, maximum, minimum, sub, where
from tinygrad_cnn.ops.loss import Reduction, check_reduction, reduced
from tinygrad_cnn.ops.reduction import sum as sum_over
from tinygrad_cnn.ops.statistics import norm
from tinygrad_cnn.support.arguments import first_index, indexed, number


@composition(formula="x / max(‖x‖, ε)")
def normalize(x: Array, p: float = 2.0, axis: int = 1, eps: float = 1e-12) -> Array:
    """Return `x` divided by its norm along `axis`: vectors of length 1.

    Parameters
    ----------
    x : Tensor or array_like
    p : float
        The exponent of the norm, as for `norm`.
    axis : int
    eps : float
        The least divisor: vectors of 0 stay 0.

    Raises
    ------
    ValueError
        If `x` has no such axis, or `p` is less than 1.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.normalize(tg.Tensor([[3.0, 4.0], [0.0, 0.0]]))
    Tensor([[0.6, 0.8],
            [0. , 0. ]])
    """
    return div(x, maximum(norm(x, p, axis, True), eps))


@composition(formula="‖a − b + ε‖")
def pairwise_distance(
    x1: Array, x2: Array, p: float = 2.0, eps: float = 1e-6, keepdims: bool = False
) -> Array:
    """Return the distance between two vectors, along the last axis.

    Parameters
    ----------
    x1, x2 : Tensor or array_like
        Of shape (..., D), which broadcast.
    p : float
        The exponent of the norm, as for `norm`.
    eps : float
        Added to each difference, as in PyTorch, so that equal vectors have a gradient.
    keepdims : bool
        Keep the last axis, with length 1.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.pairwise_distance(tg.Tensor([[3.0, 4.0]]), tg.Tensor([[0.0, 0.0]]), eps=0.0)
    Tensor([5.])
    """
    return norm(sub(x1, x2) + eps, p, -1, keepdims)


@composition(formula="a·b / (‖a‖·‖b‖)")
def cosine_similarity(x1: Array, x2: Array, axis: int = 1, eps: float = 1e-8) -> Array:
    """Return the cosine of the angle between two vectors along `axis`.

    Parameters
    ----------
    x1, x2 : Tensor or array_like
        Of shapes that broadcast.
    axis : int
    eps : float
        The least length to divide by: the cosine with a vector of 0 is 0.

    Raises
    ------
    ValueError
        If the vectors have no such axis.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.cosine_similarity(tg.Tensor([[3.0, 4.0]]), tg.Tensor([[1.0, 0.0]]))
    Tensor([0.6])
    """
    return sum_over(normalize(x1, 2.0, axis, eps) * normalize(x2, 2.0, axis, eps), axis)


@composition(formula="Σ max(0, ‖a − p‖ − ‖a − n‖ + margin) / N")
def triplet_margin(
    anchor: Array,
    positive: Array,
    negative: Array,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: Reduction = "mean",
) -> Array:
    """Return the triplet loss: the positive should be closer to the anchor than the negative.

    Parameters
    ----------
    anchor, positive, negative : Tensor or array_like
        Of the same shape (..., D).
    margin : float
        By how much closer. 0 or more.
    p, eps : float
        Of the distance, as for `pairwise_distance`.
    swap : bool
        Whether the negative counts as close if it is close to the positive.
    reduction : {"mean", "sum", "none"}
        The reduction over the triplets.

    Raises
    ------
    ValueError
        If the shapes differ, there is nothing to average, or an option is out of range.

    Notes
    -----
    Balntas et al., "Learning local feature descriptors with triplets and shallow convolutional
    neural networks", 2016.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> a, p, n = tg.Tensor([[0.0, 0.0]]), tg.Tensor([[3.0, 0.0]]), tg.Tensor([[0.0, 3.5]])
    >>> tg.triplet_margin(a, p, n, eps=0.0).item()
    0.5
    """
    number("triplet_margin", "margin", margin)
    shapes = [np.shape(array_of(x)) for x in (anchor, positive, negative)]
    if len(set(shapes)) > 1 or not shapes[0]:
        raise ValueError(
            f"triplet_margin: anchor, positive and negative have shapes {shapes}, expected the "
            "same (..., D)"
        )
    check_reduction("triplet_margin", reduction, shapes[0][:-1])
    near = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = minimum(far, pairwise_distance(positive, negative, p, eps))
    return reduced(clip(near - far + margin, 0.0), reduction)


@composition(formula="Σ (1 − cos where t = 1, else max(0, cos − margin)) / N")
def cosine_embedding(
    x1: Array,
    x2: Array,
    target: Array,
    margin: float = 0.0,
    reduction: Reduction = "mean",
) -> Array:
    """Return the cosine embedding loss: vectors should agree, or differ, in direction.

    Parameters
    ----------
    x1, x2 : Tensor or array_like
        Of the same shape (N, D) or (D,).
    target : array_like
        Of shape (N,) or (): 1 where the vectors should agree, −1 where they should differ.
    margin : float
        The cosine up to which vectors differ enough, from −1 to 1.
    reduction : {"mean", "sum", "none"}
        The reduction over the pairs.

    Raises
    ------
    ValueError
        If the shapes do not match, the target is not 1 and −1, there is nothing to average, or an
        option is out of range.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> a, b = tg.Tensor([[0.0, 2.0], [0.0, 2.0]]), tg.Tensor([[0.0, 1.0], [0.0, 1.0]])
    >>> tg.cosine_embedding(a, b, [1, -1], reduction="none")
    Tensor([0., 1.])
    """
    number("cosine_embedding", "margin", margin, -1.0, np.nextafter(1.0, 2.0))
    shapes = [np.shape(array_of(x)) for x in (x1, x2)]
    signs = np.asarray(array_of(target))
    if shapes[0] != shapes[1] or not shapes[0] or signs.shape != shapes[0][:-1]:
        raise ValueError(
            f"cosine_embedding: x1 and x2 have shapes {shapes} and target {signs.shape}, expected "
            "(N, D) twice and (N,)"
        )
    check_reduction("cosine_embedding", reduction, signs.shape)
    known = np.isin(signs, (1, -1))
    if not known.all():
        index = first_index(~known)
        raise ValueError(
            f"cosine_embedding: {indexed('target', index)} is {signs[index]}, expected 1 or -1"
        )
    cosine = cosine_similarity(x1, x2, -1)
    return reduced(where(_agree(target), 1.0 - cosine, clip(cosine - margin, 0.0)), reduction)


@pure
def _agree(target: Array) -> Any:
    """Return where a target is 1."""
    return np.asarray(np.asarray(array_of(target)) == 1)
