"""Losses: how far a prediction is from its target."""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.engine.reduction import total
from tinygrad_cnn.graph import Array
from tinygrad_cnn.op import op
from tinygrad_cnn.ops.activation import log_softmax, softmax
from tinygrad_cnn.ops.shape import Shape, reshape

Reduction: TypeAlias = Literal["mean", "sum", "none"]


@op(formula="Σ (p − t)² / n", latex=r"\frac1n \sum (p-t)^2")
def mse(prediction: Array, target: Array, reduction: Reduction = "mean") -> Array:
    """Return the mean squared error.

    Parameters
    ----------
    prediction, target : Tensor or array_like
        Of one shape.
    reduction : {"mean", "sum", "none"}
        Over all elements.

    Returns
    -------
    Tensor
        Without axes, or of the shape of `prediction` for ``"none"``.

    Raises
    ------
    ValueError
        If the shapes differ, there is nothing to average, or `reduction` is none of the three.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.mse(tg.Tensor([1.0, 2.0]), tg.Tensor([0.0, 0.0])).item()
    2.5
    """
    _check_pair("mse", prediction, target, reduction)
    difference = prediction - target
    return _reduce(difference * difference, reduction)


@mse.derivative("prediction", formula="2·g·(p − t) / n", latex=r"\tfrac2n\,g\,(p-t)")
def _(g: Array, *, prediction: Array, target: Array, reduction: Reduction) -> Array:
    return g * (prediction - target) * (2.0 / _share(prediction.shape, reduction))


@mse.derivative("target", formula="2·g·(t − p) / n", latex=r"\tfrac2n\,g\,(t-p)")
def _(g: Array, *, prediction: Array, target: Array, reduction: Reduction) -> Array:
    return g * (target - prediction) * (2.0 / _share(prediction.shape, reduction))


@op(formula="½ Σ (Y − y)²", latex=r"\tfrac12 \sum (Y-y)^2", equation="17, 18")
def squared_error(prediction: Array, target: Array, reduction: Reduction = "sum") -> Array:
    """Return half the squared error: E_tot = Σ (Y_i − y_i)² / 2 (eq 18).

    Parameters
    ----------
    prediction, target : Tensor or array_like
        Of one shape: Y and y in the text.
    reduction : {"sum", "mean", "none"}
        ``"none"`` gives the E_i of eq 17. ``"mean"`` divides the sum by the number of elements.

    Returns
    -------
    Tensor
        Without axes, or of the shape of `prediction` for ``"none"``.

    Raises
    ------
    ValueError
        If the shapes differ, there is nothing to average, or `reduction` is none of the three.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.squared_error(tg.Tensor([1.0, 2.0]), tg.Tensor([0.0, 0.0])).item()
    2.5
    """
    _check_pair("squared_error", prediction, target, reduction)
    difference = prediction - target
    return _reduce(difference * difference * 0.5, reduction)


@squared_error.derivative("prediction", formula="g·(Y − y)", latex=r"g\,(Y-y)", equation="23")
def _(g: Array, *, prediction: Array, target: Array, reduction: Reduction) -> Array:
    return g * (prediction - target) * (1.0 / _share(prediction.shape, reduction))


@squared_error.derivative("target", formula="g·(y − Y)", latex=r"g\,(y-Y)")
def _(g: Array, *, prediction: Array, target: Array, reduction: Reduction) -> Array:
    return g * (target - prediction) * (1.0 / _share(prediction.shape, reduction))


@op(formula="−Σ t·ln softmax x / n", latex=r"-\frac1n \sum t\,\ln \operatorname{softmax} x")
def cross_entropy(
    logits: Array,
    target: Array,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
) -> Array:
    """Return the cross-entropy between the softmax of `logits` and the target classes.

    Parameters
    ----------
    logits : Tensor or array_like
        Of shape (..., classes): what the softmax is taken of, so pass no probabilities.
    target : array_like
        Integer labels of shape (...), or one-hot rows (or probabilities) of shape (..., classes).
    reduction : {"mean", "sum", "none"}
        Over the examples.
    label_smoothing : float
        The share of each target, from 0 to 1, that is spread evenly over all classes.

    Returns
    -------
    Tensor
        Without axes, or of shape (...) for ``"none"``.

    Raises
    ------
    ValueError
        If the shapes do not fit, a label is no class, a probability is negative, a row does not sum
        to 1, or an option is out of range.
    TypeError
        If labels are not integers.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.cross_entropy(tg.Tensor([[0.0, 0.0], [0.0, 9.0]]), [0, 1]).item()
    0.3466...
    """
    if np.ndim(logits) == 0 or logits.shape[-1] == 0:
        raise ValueError(f"cross_entropy: logits has shape {np.shape(logits)}, expected "
                         "(..., classes)")  # fmt: skip
    target = np.asarray(target)
    _check_reduction("cross_entropy", reduction, logits.shape[:-1])
    if target.shape == logits.shape[:-1] and not label_smoothing:
        losses = -_picked(log_softmax.forward(logits), _labels(target, logits.shape[-1]))
        return _reduce(losses, reduction)
    wanted = _probabilities(target, logits.shape, label_smoothing, logits.real.dtype)
    logarithms = np.where(wanted == 0, 0, log_softmax.forward(logits))  # for 0·(−∞) is 0 here
    return _reduce(-total(wanted * logarithms, -1), reduction)


@cross_entropy.derivative("logits", formula="g·(softmax x − t) / n",
                          latex=r"\tfrac1n\,g\,(\operatorname{softmax} x - t)")  # fmt: skip
def _(
    g: Array, *, logits: Array, target: Array, reduction: Reduction, label_smoothing: float
) -> Array:
    if reduction == "none":
        g = reshape(g, (*g.shape, 1))
    g = g * (1.0 / _share(logits.shape[:-1], reduction))
    probabilities = softmax(logits)
    if np.ndim(target) < logits.ndim and not label_smoothing:
        labels = np.asarray(target).reshape(-1)  # which the forward has checked
        return (probabilities - _one_hot(labels, logits.shape, logits.dtype)) * g
    wanted = _probabilities(target, logits.shape, label_smoothing, logits.dtype)
    if np.ndim(target) == logits.ndim:  # rows that sum to 1 up to rounding
        probabilities = probabilities * total(wanted, -1, keepdims=True)
    return (probabilities - wanted) * g


def _probabilities(target: Array, shape: Shape, smoothing: float, dtype: Any) -> NDArray[Any]:
    """Return the target as probabilities of `shape`, smoothed; refuse what is none."""
    target = np.asarray(target)
    wanted: NDArray[Any]
    classes = shape[-1]
    if not 0.0 <= smoothing <= 1.0:
        raise ValueError(f"cross_entropy: label_smoothing is {smoothing}, expected 0 to 1")
    if target.shape == shape and target.dtype.kind in "fiub":
        if not (target >= 0).all():
            raise ValueError("cross_entropy: target holds NaN or a negative probability")
        if not np.allclose(target.sum(axis=-1), 1.0, atol=1e-3):
            raise ValueError("cross_entropy: target has a row that does not sum to 1")
        wanted = target.astype(dtype)
    elif target.shape == shape[:-1]:
        wanted = _one_hot(_labels(target, classes), shape, dtype)
    else:
        raise ValueError(
            f"cross_entropy: target has shape {target.shape} and dtype {target.dtype}; expected "
            f"labels of shape {shape[:-1]} or floating rows of shape {shape}"
        )
    if smoothing:
        wanted *= 1.0 - smoothing
        wanted += smoothing / classes
    return wanted


def _one_hot(labels: NDArray[Any], shape: Shape, dtype: Any) -> NDArray[Any]:
    """Return rows of `shape` (..., classes) with a 1 at the label of each, 0 elsewhere."""
    rows = np.zeros((labels.size, shape[-1]), dtype)
    rows[np.arange(labels.size), labels] = 1.0
    return rows.reshape(shape)


def _labels(target: NDArray[Any], classes: int) -> NDArray[Any]:
    """Return integer labels in a row; refuse what is no class."""
    if target.dtype.kind not in "iu":
        raise TypeError(f"cross_entropy: target holds {target.dtype}, expected integer labels")
    labels = target.reshape(-1)
    places = labels.view(f"u{labels.itemsize}")  # where a negative label is a very large number
    if labels.size and np.maximum.reduce(places) >= classes:
        first = int(np.argmax(places >= classes))
        raise ValueError(
            f"cross_entropy: target has label {labels[first]} at {first}, expected 0 to "
            f"{classes - 1}"
        )
    return labels


def _picked(x: Array, labels: NDArray[Any]) -> Array:
    """Return the value of each row of `x` (..., classes) at its label: (...)."""
    rows = x.reshape(labels.size, x.shape[-1])
    return rows[np.arange(labels.size), labels].reshape(x.shape[:-1])


def _check_pair(name: str, prediction: Array, target: Array, reduction: Reduction) -> None:
    if np.shape(prediction) != np.shape(target):
        raise ValueError(
            f"{name}: prediction has shape {np.shape(prediction)} but target {np.shape(target)}"
        )
    _check_reduction(name, reduction, np.shape(prediction))


def _check_reduction(name: str, reduction: Reduction, shape: Shape) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{name}: reduction is {reduction!r}, expected 'mean', 'sum' or 'none'")
    if reduction == "mean" and math.prod(shape) == 0:
        raise ValueError(f"{name}: nothing to average: the shape is {shape}")


def _reduce(losses: Array, reduction: Reduction) -> Array:
    if reduction == "none":
        return losses
    return total(losses) * (1.0 / _share(losses.shape, reduction))


def _share(shape: Shape, reduction: Reduction) -> int:
    """Return what the sum over `shape` is divided by."""
    return math.prod(shape) if reduction == "mean" else 1
