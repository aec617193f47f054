"""Loss functions."""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.declaration import Draw, Strategies
from tinygrad_cnn.core.op import op
from tinygrad_cnn.core.variable import Array
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.engine.reduction import total
from tinygrad_cnn.ops.activation import log_softmax
from tinygrad_cnn.ops.elementary import exp
from tinygrad_cnn.ops.entries import Index, Letters, LocalEntry, at
from tinygrad_cnn.ops.shape import reshape

Reduction: TypeAlias = Literal["mean", "sum", "none"]


@op(
    formula="Σ (p − t)² / n",
    latex=r"\frac1n \sum (p-t)^2",
    role="loss",
    aliases={"prediction": "p", "target": "t"},
)
def mse(prediction: Array, target: Array, reduction: Reduction = "mean") -> Array:
    """Return the mean squared error.

    Parameters
    ----------
    prediction, target : Tensor or array_like
        Of the same shape.
    reduction : {"mean", "sum", "none"}
        The reduction over all elements.

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
    return g * (2.0 / _share(prediction.shape, reduction)) * (prediction - target)


@mse.derivative("target", formula="2·g·(t − p) / n", latex=r"\tfrac2n\,g\,(t-p)")
def _(g: Array, *, prediction: Array, target: Array, reduction: Reduction) -> Array:
    return g * (2.0 / _share(prediction.shape, reduction)) * (target - prediction)


@op(
    formula="½ Σ (Y − y)²",
    latex=r"\tfrac12 \sum (Y-y)^2",
    equation="17, 18",
    role="loss",
    aliases={"prediction": "Y", "target": "y"},
)
def squared_error(prediction: Array, target: Array, reduction: Reduction = "sum") -> Array:
    """Return half the squared error: E_tot = Σ (Y_i − y_i)² / 2 (eq 18).

    Parameters
    ----------
    prediction, target : Tensor or array_like
        Of the same shape: Y and y in the text.
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
    return g * (1.0 / _share(prediction.shape, reduction)) * (prediction - target)


@squared_error.derivative("target", formula="g·(y − Y)", latex=r"g\,(y-Y)")
def _(g: Array, *, prediction: Array, target: Array, reduction: Reduction) -> Array:
    return g * (1.0 / _share(prediction.shape, reduction)) * (target - prediction)


_NO_ROWS = np.zeros((0, 3))


@mse.calls(always=[{"prediction": _NO_ROWS, "target": _NO_ROWS, "reduction": "sum"}])
@squared_error.calls(always=[{"prediction": _NO_ROWS, "target": _NO_ROWS, "reduction": "sum"}])
def _(draw: Draw, s: Strategies) -> Any:
    shape = draw(s.shapes())
    return {
        "prediction": draw(s.arrays(shape)),
        "target": draw(s.arrays(shape)),
        "reduction": draw(s.sampled_from(["mean", "sum", "none"])),
    }


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
    *,
    logarithms: Array = ...,
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

    Returns
    -------
    Tensor
        Without axes, or of the shape of `logits` without the class axis for ``"none"``.

    Raises
    ------
    ValueError
        If the shapes do not match, a label is out of range, a target is negative or not finite, an
        integer row is not one-hot, or an option is out of range. Also if `axis` is left out and the
        target suggests that the classes are on the last axis.
    TypeError
        If labels are not integers.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.cross_entropy(tg.Tensor([[0.0, 0.0], [0.0, 9.0]]), [0, 1]).item()
    0.3466...
    """
    target, shape = np.asarray(target), np.shape(logits)
    at = class_axis(shape, axis)
    if axis is None and len(shape) > 2:
        _refuse_ambiguous(target, shape)
    examples = _without(shape, at)
    _check_reduction("cross_entropy", reduction, examples)
    if target.shape == examples and not label_smoothing:
        return _reduce(-_picked(logarithms, _labels(target, shape[at]), at), reduction)
    wanted = _probabilities(target, shape, at, label_smoothing, logits.real.dtype)
    terms = wanted * np.where(wanted == 0, 0, logarithms)  # 0·(−∞) counts as 0
    return _reduce(-total(terms, at), reduction)


@cross_entropy.intermediate
def logarithms(logits: Array, axis: int | None) -> Array:
    """Return the logarithm of the softmax of `logits`."""
    return log_softmax(logits, class_axis(logits.shape, axis))


@cross_entropy.derivative("logits", formula="g·(softmax x − t) / n",
                          latex=r"\tfrac1n\,g\,(\operatorname{softmax} x - t)")  # fmt: skip
def _(
    g: Array,
    *,
    logarithms: Array,
    target: Array,
    reduction: Reduction,
    label_smoothing: float,
    axis: int | None,
) -> Array:
    shape = logarithms.shape
    at = class_axis(shape, axis)
    if reduction == "none":
        g = reshape(g, (*g.shape[:at], 1, *g.shape[at:]))
    g = g * (1.0 / _share(_without(shape, at), reduction))
    probabilities = exp(logarithms)
    if np.ndim(target) < len(shape) and not label_smoothing:
        labels = np.asarray(target).reshape(-1)  # checked by the forward
        return (probabilities - _one_hot(labels, shape, at, logarithms.dtype)) * g
    wanted = _probabilities(target, shape, at, label_smoothing, logarithms.dtype)
    if np.ndim(target) == len(shape):  # rows that need not sum to 1
        probabilities = probabilities * total(wanted, at, keepdims=True)
    return (probabilities - wanted) * g


@cross_entropy.calls(
    of=["logits"],  # of weights as targets, there is no derivative
    always=[{"logits": _NO_ROWS, "target": np.zeros(0, int), "reduction": "sum"}],
)
def _(draw: Draw, s: Strategies) -> Any:
    logits = draw(s.arrays(s.shapes(min_dims=1)))
    axis = draw(s.integers(0, logits.ndim - 1))
    examples = logits.shape[:axis] + logits.shape[axis + 1 :]
    if draw(s.booleans()):
        target = draw(s.labels(examples, logits.shape[axis]))
    else:
        target = np.moveaxis(draw(s.probabilities((*examples, logits.shape[axis]))), -1, axis)
    return {
        "logits": logits,
        "target": target,
        "reduction": draw(s.sampled_from(["mean", "sum", "none"])),
        "label_smoothing": draw(s.sampled_from([0.0, 0.125, 1.0])),
        "axis": axis,
    }


def class_axis(shape: Shape, axis: int | None) -> int:
    """Return the class axis of logits of `shape`, not negative."""
    if axis is None:
        axis = 1 if len(shape) > 2 else len(shape) - 1
    whole = isinstance(axis, int | np.integer) and not isinstance(axis, bool)
    if shape and not (whole and -len(shape) <= axis < len(shape)):
        raise ValueError(f"cross_entropy: axis is {axis!r}, but logits has shape {shape}")
    if not shape or shape[axis] == 0:
        raise ValueError(f"cross_entropy: logits has shape {shape}, expected one class or more")
    return axis % len(shape)


def _without(shape: Shape, at: int) -> Shape:
    return shape[:at] + shape[at + 1 :]


def _refuse_ambiguous(target: NDArray[Any], shape: Shape) -> None:
    """Raise if the target suggests that the classes are on the last of three or more axes."""
    if target.shape == shape:
        fits = [np.allclose(target.sum(axis=k), 1.0, atol=1e-3) for k in (1, -1)]
        doubtful = fits == [False, True]
    else:
        doubtful = target.shape == shape[:-1]
    if doubtful:
        raise ValueError(
            f"cross_entropy: logits has shape {shape} and target {target.shape}, as if the classes "
            "were on the last axis, but by default they are on axis 1; pass axis=-1 or axis=1"
        )


def _probabilities(
    target: Array, shape: Shape, at: int, smoothing: float, dtype: Any
) -> NDArray[Any]:
    """Return the target as smoothed class weights of `shape`; raise if it is invalid."""
    target = np.asarray(target)
    wanted: NDArray[Any]
    if not 0.0 <= smoothing <= 1.0:
        raise ValueError(f"cross_entropy: label_smoothing is {smoothing}, expected 0 to 1")
    if target.shape == shape and target.dtype.kind in "fiub":
        if target.size and not (target.min() >= 0 and target.max() < np.inf):
            raise ValueError("cross_entropy: target holds a negative number, NaN or infinity")
        if target.dtype.kind != "f" and not (target.sum(axis=at) == 1).all():
            raise ValueError(
                f"cross_entropy: target holds {target.dtype} of the shape of the logits, {shape}, "
                "but its rows are not one-hot; weights are floats"
            )
        wanted = target.astype(dtype)
    elif target.shape == _without(shape, at):
        wanted = _one_hot(_labels(target, shape[at]), shape, at, dtype)
    else:
        raise ValueError(
            f"cross_entropy: target has shape {target.shape} and dtype {target.dtype}; expected "
            f"labels of shape {_without(shape, at)} or floating rows of shape {shape}"
        )
    if smoothing:
        wanted *= 1.0 - smoothing
        wanted += smoothing / shape[at]
    return wanted


def _one_hot(labels: NDArray[Any], shape: Shape, at: int, dtype: Any) -> NDArray[Any]:
    """Return the one-hot encoding of `labels` along axis `at` of an array of `shape`."""
    rows = np.zeros((labels.size, shape[at]), dtype)
    rows[np.arange(labels.size), labels] = 1.0
    if at == len(shape) - 1:
        return rows.reshape(shape)
    return np.moveaxis(rows.reshape(*_without(shape, at), shape[at]), -1, at)


def _labels(target: NDArray[Any], classes: int) -> NDArray[Any]:
    """Return the labels flattened; raise if they are not integers in range."""
    if target.dtype.kind not in "iu":
        raise TypeError(f"cross_entropy: target holds {target.dtype}, expected integer labels")
    labels = target.reshape(-1)
    if labels.size and (np.minimum.reduce(labels) < 0 or np.maximum.reduce(labels) >= classes):
        first = int(np.argmax((labels < 0) | (labels >= classes)))
        raise ValueError(
            f"cross_entropy: target has label {labels[first]} at {first}, expected 0 to "
            f"{classes - 1}"
        )
    return labels


def _picked(x: Array, labels: NDArray[Any], at: int) -> Array:
    """Return the values of `x` along axis `at` at the labels."""
    examples = _without(x.shape, at)
    rows = x if at == x.ndim - 1 else np.moveaxis(x, at, -1)
    rows = rows.reshape(labels.size, x.shape[at])
    return rows[np.arange(labels.size), labels].reshape(examples)


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
    """Return the divisor of the sum over `shape`."""
    return math.prod(shape) if reduction == "mean" else 1


# --- entries of the derivatives ------------------------------------------------------------------


@mse.entry("prediction")
def _(y: Index, letters: Letters, *, prediction_shape: Shape, reduction: Reduction) -> LocalEntry:
    return _difference("prediction", "target", y, letters, prediction_shape, reduction, "2·")


@mse.entry("target")
def _(y: Index, letters: Letters, *, target_shape: Shape, reduction: Reduction) -> LocalEntry:
    return _difference("target", "prediction", y, letters, target_shape, reduction, "2·")


@squared_error.entry("prediction")
def _(y: Index, letters: Letters, *, prediction_shape: Shape, reduction: Reduction) -> LocalEntry:
    return _difference("prediction", "target", y, letters, prediction_shape, reduction)


@squared_error.entry("target")
def _(y: Index, letters: Letters, *, target_shape: Shape, reduction: Reduction) -> LocalEntry:
    return _difference("target", "prediction", y, letters, target_shape, reduction)


@cross_entropy.entry("logits")
def _(
    y: Index,
    letters: Letters,
    *,
    logits_shape: Shape,
    target: Array,
    reduction: Reduction,
    axis: int | None,
) -> LocalEntry | None:
    if class_axis(logits_shape, axis) != len(logits_shape) - 1:
        return None  # S runs over the last axis
    target = np.asarray(target)
    if target.shape == logits_shape and not np.allclose(target.sum(axis=-1), 1.0):
        return None  # with weights, the softmax is multiplied by their sum
    if reduction == "none":
        x: Index = (*y, letters.fresh(logits_shape[-1]))
    else:
        x = letters.index(logits_shape)
    difference = f"S({at('logits', x)}) − {at('target', x)}"
    return x, _shared(difference, _share(logits_shape[:-1], reduction))


def _difference(
    own: str,
    other: str,
    y: Index,
    letters: Letters,
    shape: Shape,
    reduction: Reduction,
    factor: str = "",
) -> LocalEntry:
    x = y if reduction == "none" else letters.index(shape)
    return x, _shared(f"{at(own, x)} − {at(other, x)}", _share(shape, reduction), factor)


def _shared(difference: str, count: int, factor: str = "") -> str:
    """Return a difference with the factor of the loss and of its reduction."""
    if not factor and count == 1:
        return difference
    return f"{factor}({difference})" + (f" / {count}" if count > 1 else "")
