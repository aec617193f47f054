"""Losses of classifiers: cross-entropies of logits, log-probabilities and probabilities."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from tinygrad_cnn.core.composition import composition
from tinygrad_cnn.core.declaration import Draw, Strategies
from tinygrad_cnn.core.effects import constant, pure
from tinygrad_cnn.core.op import op
from tinygrad_cnn.core.variable import Array, Variable, array_of
from tinygrad_cnn.engine import softmax as classes
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.engine.reduction import total
from tinygrad_cnn.engine.selection import select
from tinygrad_cnn.ops.activation import softplus
from tinygrad_cnn.ops.arithmetic import mul, neg, sub, where
from tinygrad_cnn.ops.elementary import exp, log, log1p
from tinygrad_cnn.ops.entries import Index, Letters, LocalEntry, Quantities, at
from tinygrad_cnn.ops.indexing import getitem
from tinygrad_cnn.ops.loss import Reduction, check_pair, check_reduction, divided, reduced, share
from tinygrad_cnn.ops.reduction import sum as sum_over
from tinygrad_cnn.ops.shape import reshape
from tinygrad_cnn.ops.targets import checked_target, class_axis, refuse_ambiguous, without
from tinygrad_cnn.support.arguments import first_index, indexed


@op(
    formula="−Σ t·ln softmax x / n",
    latex=r"-\frac1n \sum t\,\ln \operatorname{softmax} x",
    role="loss of logits",
    aliases={"logits": "x", "target": "t"},
)
def cross_entropy(
    logits: Array,
    target: Array,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    axis: int | None = None,
    weight: Array | None = None,
    ignore_index: int = -100,
    *,
    powers: Array = ...,
) -> Array:
    """Return the cross-entropy between the softmax of `logits` and the target classes.

    Parameters
    ----------
    logits : Tensor or array_like
        Of shape (N, classes), (N, classes, ...) or (classes,): unnormalized scores, not
        probabilities.
    target : array_like
        Integer labels of the shape of `logits` without the class axis, or one-hot rows or
        probabilities of the shape of `logits`. Floating rows need not sum to 1: they are class
        weights, as in PyTorch.
    reduction : {"mean", "sum", "none"}
        The reduction over the examples, and over the positions if there are any.
    label_smoothing : float
        The fraction of each target, from 0 to 1, that is spread evenly over all classes.
    axis : int, optional
        The class axis. As in PyTorch, the default is axis 1 of three or more axes, else the last.
    weight : array_like, optional
        A factor for each class. The mean is then the sum divided by the weights of the labels; with
        rows, by their number. No gradient flows to it.
    ignore_index : int
        Examples with this label have no loss and no gradient, and do not count in the mean.

    Returns
    -------
    Tensor
        Without axes, or of the shape of `logits` without the class axis for ``"none"``.

    Raises
    ------
    ValueError
        If the shapes do not match, a label is out of range, a target is negative or not finite, an
        integer row is not one-hot, an option is out of range, or no example counts in the mean.
        Also if `axis` is left out and the target suggests that the classes are on the last axis.
    TypeError
        If labels are not integers.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.cross_entropy(tg.Tensor([[0.0, 0.0], [0.0, 9.0]]), [0, 1]).item()
    0.3466...
    """
    shape, dtype = logits.shape, logits.real.dtype
    at = class_axis("cross_entropy", shape, axis)
    if axis is None:
        refuse_ambiguous("cross_entropy", target, shape)
    check_reduction("cross_entropy", reduction, without(shape, at))
    chosen = checked_target("cross_entropy", target, shape, at, weight, ignore_index, dtype)
    count = chosen.count(reduction)
    if chosen.rows is None and not label_smoothing:
        losses = classes.log_total(powers, at).reshape(chosen.labels.shape)
        losses = losses - _logarithms(powers, logits, chosen.labels, at)
        if chosen.shares is not None:
            losses = np.where(chosen.shares == 0, 0, losses * chosen.shares)
        return reduced(losses, reduction, count)
    wanted = chosen.smoothed(label_smoothing)
    terms = wanted * select(classes.log_softmax(logits, at), wanted != 0)  # 0·(−∞) counts as 0
    return reduced(-total(terms, at), reduction, count)


@cross_entropy.intermediate
def powers(logits: Array, axis: int | None) -> Array:
    """Return e^(x − m), with m the largest logit of each example: the softmax times its sum."""
    at = class_axis("cross_entropy", logits.shape, axis)
    if isinstance(logits, Variable):
        return exp(logits - np.real(array_of(logits)).max(axis=at, keepdims=True))
    return classes.powers(logits, at)


@cross_entropy.derivative("logits", formula="g·(softmax x − t) / n",
                          latex=r"\tfrac1n\,g\,(\operatorname{softmax} x - t)")  # fmt: skip
def _(
    g: Array,
    *,
    powers: Array,
    target: Array,
    reduction: Reduction,
    label_smoothing: float,
    axis: int | None,
    weight: Array | None,
    ignore_index: int,
) -> Array:
    shape, dtype = powers.shape, powers.dtype
    at = class_axis("cross_entropy", shape, axis)
    chosen = checked_target("cross_entropy", target, shape, at, weight, ignore_index, dtype)
    if reduction == "none":
        g = reshape(g, (*g.shape[:at], 1, *g.shape[at:]))
    g = g * (1.0 / chosen.count(reduction))
    recorded = isinstance(g, Variable) or isinstance(powers, Variable)
    sums = sum_over(powers, at, True) if recorded else total(powers, at, True)
    if chosen.rows is None and not label_smoothing:
        if chosen.shares is not None:
            g = g * np.expand_dims(chosen.shares, at)
        if recorded:
            return powers * (g / sums) - chosen.one_hot() * g
        return classes.less_at_labels(powers, g / sums, g, chosen.labels, at)
    wanted = chosen.smoothed(label_smoothing)
    probabilities = powers / sums
    if chosen.rows is not None or chosen.shares is not None:  # rows that need not sum to 1
        probabilities = probabilities * total(wanted, at, keepdims=True)
    return (probabilities - wanted) * g


@cross_entropy.calls(
    of=["logits"],  # of weights as targets, there is no derivative
    always=[
        {"logits": np.zeros((0, 3)), "target": np.zeros(0, int), "reduction": "sum"},
        {"logits": np.eye(3), "target": np.array([2, 1, 0]), "ignore_index": 1},
    ],
)
def _(draw: Draw, s: Strategies) -> Any:
    logits = draw(s.arrays(s.shapes(min_dims=1)))
    axis = draw(s.integers(0, logits.ndim - 1))
    examples, classes = without(logits.shape, axis), logits.shape[axis]
    if draw(s.booleans()):
        target = draw(s.labels(examples, classes))
    else:
        target = np.moveaxis(draw(s.probabilities((*examples, classes))), -1, axis)
    return {
        "logits": logits,
        "target": target,
        "reduction": draw(s.sampled_from(["mean", "sum", "none"])),
        "label_smoothing": draw(s.sampled_from([0.0, 0.125, 1.0])),
        "axis": axis,
        "weight": draw(s.sampled_from([None, np.arange(1.0, classes + 1) / 2])),
    }


_FEW = {"f": 1e-30, "d": 1e-300}  # smaller powers have fewer digits, or none


def _logarithms(powers: Array, logits: Array, labels: Array, at: int) -> Array:
    """Return ln e^(x − m) at the labels."""
    picked = classes.picked(powers, labels, at)
    few = np.asarray(picked.real < _FEW[picked.real.dtype.char])
    if not few.any():
        return np.log(picked)
    rows = np.moveaxis(logits, at, -1)[few]
    own = rows[np.arange(len(rows)), labels[few]] - rows.real.max(axis=-1)
    logarithms = np.asarray(np.log(np.where(few, 1.0, picked)))
    logarithms[few] = own
    return logarithms


@composition(formula="−Σ w_t·x_t / Σ w_t")
def nll(
    log_probabilities: Array,
    target: Array,
    reduction: Reduction = "mean",
    axis: int | None = None,
    weight: Array | None = None,
    ignore_index: int = -100,
) -> Array:
    """Return the negative log-likelihood of labels: minus the log-probability of each.

    Of a `log_softmax`, it is the `cross_entropy`.

    Parameters
    ----------
    log_probabilities : Tensor or array_like
        Of shape (N, classes), (N, classes, ...) or (classes,).
    target : array_like
        Integer labels of that shape without the class axis.
    reduction, axis, weight, ignore_index
        As for `cross_entropy`.

    Raises
    ------
    ValueError
        If the shapes do not match, a label is out of range, or no example counts in the mean.
    TypeError
        If labels are not integers.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.log_softmax(tg.Tensor([[0.0, 0.0], [0.0, 9.0]]))
    >>> tg.nll(x, [0, 1]).item()
    0.3466...
    """
    x = np.asarray(array_of(log_probabilities))
    target = np.asarray(array_of(target))
    at = class_axis("nll", x.shape, axis)
    if axis is None:
        refuse_ambiguous("nll", target, x.shape)
    examples = without(x.shape, at)
    check_reduction("nll", reduction, examples)
    if target.shape != examples:
        raise ValueError(f"nll: target has shape {target.shape}, expected labels of {examples}")
    dtype = np.result_type(x.real, 0.0)
    labels, counts, shares, factor = _shares(
        target, x.shape, at, weight, ignore_index, dtype, reduction
    )
    places = [constant(place) for place in np.indices(examples, sparse=True)]
    places.insert(at, labels)
    losses = neg(getitem(log_probabilities, tuple(places)))
    # a captured step hides the labels: its replays must be right for any
    if weight is not None or type(counts) is not np.ndarray or not counts.all():
        losses = where(counts, mul(losses, shares), 0.0)
    return losses if reduction == "none" else mul(reduced(losses, "sum"), factor)


@pure
def _shares(
    target: Array,
    shape: Shape,
    at: int,
    weight: Array | None,
    ignore_index: int,
    dtype: np.dtype[Any],
    reduction: str,
) -> tuple[Any, ...]:
    """Return labels, which of them count, their weights, and the factor of the summed losses."""
    chosen = checked_target("nll", target, shape, at, weight, ignore_index, dtype)
    shares = chosen.shares
    if shares is None:
        shares = np.ones(chosen.labels.shape, chosen.dtype)
    factor = np.asarray(1.0 / chosen.count(reduction), chosen.dtype)
    return chosen.labels, np.asarray(shares != 0), shares, factor


@composition(formula="−Σ w·(t·ln p + (1 − t)·ln(1 − p)) / n")
def binary_cross_entropy(
    prediction: Array,
    target: Array,
    reduction: Reduction = "mean",
    weight: Array | None = None,
) -> Array:
    """Return the cross-entropy between probabilities of one of two classes and the target.

    `binary_cross_entropy_with_logits` keeps more digits, and needs no sigmoid before it.

    Parameters
    ----------
    prediction : Tensor or array_like
        Probabilities.
    target : Tensor or array_like
        Of the same shape, from 0 to 1.
    reduction : {"mean", "sum", "none"}
        The reduction over all elements.
    weight : Tensor or array_like, optional
        Factors that broadcast to the shape of `prediction`.

    Raises
    ------
    ValueError
        If the shapes differ, a prediction is not from 0 to 1, there is nothing to average, or
        `reduction` is none of the three.

    Notes
    -----
    A logarithm below −100 counts as −100, as in PyTorch, and has no gradient. So predictions of 0
    and 1 give finite numbers.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.binary_cross_entropy(tg.Tensor([0.5, 0.0]), tg.Tensor([1.0, 1.0]), "none")
    Tensor([  0.6931472, 100.       ])
    """
    name = "binary_cross_entropy"
    check_pair(name, prediction, target, reduction)
    p = np.asarray(array_of(prediction)).real
    if p.size and not (p.min() >= 0 and p.max() <= 1):
        index = first_index(~((p >= 0) & (p <= 1)))
        raise ValueError(
            f"{name}: {indexed('prediction', index)} is {p[index]}, expected 0 to 1; for logits, "
            f"use {name}_with_logits"
        )
    one = mul(target, _log(prediction))
    below = _is_less(prediction, 1.0)  # then ln(1 − p) ≥ −38
    log_zero = where(below, log1p(where(below, neg(prediction), 0.0)), -100.0)
    zero = sub(1.0, target) * log_zero
    return reduced(_weighted(-(one + zero), weight), reduction)


@composition(formula="−Σ w·(v·t·ln σ(x) + (1 − t)·ln σ(−x)) / n")
def binary_cross_entropy_with_logits(
    logits: Array,
    target: Array,
    reduction: Reduction = "mean",
    weight: Array | None = None,
    pos_weight: Array | None = None,
) -> Array:
    """Return the `binary_cross_entropy` of the sigmoid of `logits`, exact where that saturates.

    Parameters
    ----------
    logits : Tensor or array_like
        Unnormalized scores.
    target : Tensor or array_like
        Of the same shape, from 0 to 1.
    reduction : {"mean", "sum", "none"}
        The reduction over all elements.
    weight, pos_weight : Tensor or array_like, optional
        Factors that broadcast to the shape of `logits`: of the whole loss, and of the targets 1.

    Raises
    ------
    ValueError
        If the shapes differ, there is nothing to average, or `reduction` is none of the three.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x, t = tg.Tensor([0.0, -1e4]), tg.Tensor([1.0, 1.0])
    >>> tg.binary_cross_entropy_with_logits(x, t, "none")
    Tensor([6.931472e-01, 1.000000e+04])
    """
    check_pair("binary_cross_entropy_with_logits", logits, target, reduction)
    one = _weighted(mul(target, softplus(neg(logits))), pos_weight)
    zero = sub(1.0, target) * softplus(logits)
    return reduced(_weighted(one + zero, weight), reduction)


@composition(formula="Σ t·(ln t − x) / n")
def kl_div(
    log_probabilities: Array,
    target: Array,
    reduction: Literal["mean", "sum", "none", "batchmean"] = "mean",
    log_target: bool = False,
) -> Array:
    """Return the Kullback-Leibler divergence of log-probabilities from a target distribution.

    Parameters
    ----------
    log_probabilities : Tensor or array_like
        Logarithms of probabilities, such as a `log_softmax`.
    target : Tensor or array_like
        Of the same shape: probabilities, or with `log_target` their logarithms.
    reduction : {"mean", "sum", "none", "batchmean"}
        The reduction over all elements. ``"batchmean"`` divides the sum by the length of the first
        axis, as the definition does. ``"mean"`` divides it by the number of elements.
    log_target : bool
        Whether `target` holds logarithms.

    Raises
    ------
    ValueError
        If the shapes differ, there is nothing to average, or `reduction` is none of the four.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> x = tg.Tensor(np.log([[0.5, 0.5]]))
    >>> tg.kl_div(x, np.array([[1.0, 0.0]]), "batchmean").item()
    0.693147...
    """
    check_pair("kl_div", log_probabilities, target, reduction, "batchmean")
    if log_target:
        losses = mul(exp(target), sub(target, log_probabilities))
    else:
        losses = mul(target, sub(_log(target), log_probabilities))
    if reduction == "batchmean":
        return reduced(losses, "mean", losses.shape[0] if losses.shape else 1)
    return reduced(losses, reduction)


def _log(p: Array) -> Array:
    """Return ln p, but −100 and without gradient where it is less, as at 0."""
    large = _is_less(math.exp(-100.0), p)
    return where(large, log(where(large, p, 1.0)), -100.0)


@pure
def _is_less(a: Array, b: Array) -> Any:
    """Return where a < b; of arrays, where their real parts are."""
    a, b = (v if isinstance(v, Variable) else np.asarray(v).real for v in (a, b))
    return a < b


def _weighted(losses: Array, weight: Array | None) -> Array:
    return losses if weight is None else mul(losses, weight)


# --- entries of the derivatives ------------------------------------------------------------------


@cross_entropy.entry("logits")
def _(
    y: Index,
    letters: Letters,
    *,
    logits_shape: Shape,
    target: Array,
    reduction: Reduction,
    axis: int | None,
    weight: Array | None,
) -> LocalEntry | None:
    classes = class_axis("cross_entropy", logits_shape, axis)
    target = np.asarray(target)
    if weight is not None or (target.ndim < len(logits_shape) and np.any(target < 0)):
        return None  # with weights or ignored labels, each example has a factor of its own
    if target.shape == logits_shape and not np.allclose(target.sum(axis=classes), 1.0):
        return None  # with weights, the softmax is multiplied by their sum
    if reduction == "none":
        x: Index = (*y[:classes], letters.fresh(logits_shape[classes]), *y[classes:])
    else:
        x = letters.index(logits_shape)
    difference = f"{at('S(logits)', x)} − {at('target', x)}"
    rows = logits_shape[:classes] + logits_shape[classes + 1 :]
    return x, divided(difference, share(rows, reduction))


@cross_entropy.letters
def _(*, logits_shape: Shape, axis: int | None) -> Quantities:
    classes = class_axis("cross_entropy", logits_shape, axis)
    last = classes == len(logits_shape) - 1
    return {"S(logits)": (logits_shape, "softmax of logits" + f" over axis {classes}" * (not last))}
