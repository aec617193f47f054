"""Losses of predictions, and the reductions of all losses."""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from tinygrad_cnn.core.composition import composition
from tinygrad_cnn.core.declaration import Draw, Strategies
from tinygrad_cnn.core.op import op
from tinygrad_cnn.core.variable import Array, Variable, array_of
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.engine.reduction import total
from tinygrad_cnn.ops.arithmetic import abs, clip, sub
from tinygrad_cnn.ops.entries import Index, Letters, LocalEntry, at
from tinygrad_cnn.ops.reduction import sum as sum_over
from tinygrad_cnn.support.arguments import number, positive

Reduction: TypeAlias = Literal["mean", "sum", "none"]
REDUCTIONS: tuple[str, ...] = get_args(Reduction)


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
    check_pair("mse", prediction, target, reduction)
    difference = prediction - target
    return reduced(difference * difference, reduction)


@mse.derivative("prediction", formula="2·g·(p − t) / n", latex=r"\tfrac2n\,g\,(p-t)")
def _(g: Array, *, prediction: Array, target: Array, reduction: Reduction) -> Array:
    return g * (2.0 / share(prediction.shape, reduction)) * (prediction - target)


@mse.derivative("target", formula="2·g·(t − p) / n", latex=r"\tfrac2n\,g\,(t-p)")
def _(g: Array, *, prediction: Array, target: Array, reduction: Reduction) -> Array:
    return g * (2.0 / share(prediction.shape, reduction)) * (target - prediction)


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
    check_pair("squared_error", prediction, target, reduction)
    difference = prediction - target
    return reduced(difference * difference * 0.5, reduction)


@squared_error.derivative("prediction", formula="g·(Y − y)", latex=r"g\,(Y-y)", equation="23")
def _(g: Array, *, prediction: Array, target: Array, reduction: Reduction) -> Array:
    return g * (1.0 / share(prediction.shape, reduction)) * (prediction - target)


@squared_error.derivative("target", formula="g·(y − Y)", latex=r"g\,(y-Y)")
def _(g: Array, *, prediction: Array, target: Array, reduction: Reduction) -> Array:
    return g * (1.0 / share(prediction.shape, reduction)) * (target - prediction)


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


@composition(formula="Σ |p − t| / n")
def l1(prediction: Array, target: Array, reduction: Reduction = "mean") -> Array:
    """Return the mean absolute error.

    Parameters
    ----------
    prediction, target : Tensor or array_like
        Of the same shape. Where they are equal, the derivative is 0.
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
    >>> tg.l1(tg.Tensor([1.0, -2.0]), tg.Tensor([0.0, 0.0])).item()
    1.5
    """
    return reduced(abs(_difference_of("l1", prediction, target, reduction)), reduction)


@composition(formula="Σ (½d² where |d| < δ, else δ·(|d| − ½δ)) / n, d = p − t")
def huber(
    prediction: Array, target: Array, reduction: Reduction = "mean", delta: float = 1.0
) -> Array:
    """Return the Huber loss: half the squared error up to `delta`, linear beyond.

    Parameters
    ----------
    prediction, target : Tensor or array_like
        Of the same shape.
    reduction : {"mean", "sum", "none"}
        The reduction over all elements.
    delta : float
        The error at which the two parts meet, with the same slope. Above 0.

    Raises
    ------
    ValueError
        If the shapes differ, there is nothing to average, or an option is out of range.

    Notes
    -----
    Huber, "Robust estimation of a location parameter", 1964.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.huber(tg.Tensor([1.0, -4.0]), tg.Tensor([0.0, 0.0]), "none")
    Tensor([0.5, 3.5])
    """
    positive("huber", "delta", delta)
    difference = _difference_of("huber", prediction, target, reduction)
    return reduced(_huber(difference, delta), reduction)


@composition(formula="Σ (½d²/β where |d| < β, else |d| − ½β) / n, d = p − t")
def smooth_l1(
    prediction: Array, target: Array, reduction: Reduction = "mean", beta: float = 1.0
) -> Array:
    """Return the absolute error, smooth around 0: the Huber loss with delta = beta, over `beta`.

    Parameters
    ----------
    prediction, target, reduction
        As for `huber`.
    beta : float
        The error below which the loss is quadratic; 0 gives `l1`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.smooth_l1(tg.Tensor([1.0, -4.0]), tg.Tensor([0.0, 0.0]), "none", beta=2.0)
    Tensor([0.25, 3.  ])
    """
    number("smooth_l1", "beta", beta)
    difference = _difference_of("smooth_l1", prediction, target, reduction)
    losses = _huber(difference, beta) * (1.0 / beta) if beta else abs(difference)
    return reduced(losses, reduction)


def _huber(difference: Array, delta: float) -> Array:
    """Return δ·(|d| − ½δ) where |d| > δ, else ½d²: both are c·(d − ½c) with d clipped to c."""
    clipped = clip(difference, -delta, delta)
    return clipped * (difference - 0.5 * clipped)


def _difference_of(name: str, prediction: Array, target: Array, reduction: Reduction) -> Array:
    check_pair(name, prediction, target, reduction)
    return sub(prediction, target)


def check_pair(name: str, prediction: Array, target: Array, reduction: str, *others: str) -> None:
    """Raise if the shapes differ, or the reduction does not apply to them."""
    shape, expected = np.shape(array_of(target)), np.shape(array_of(prediction))
    if shape != expected:
        raise ValueError(f"{name}: prediction has shape {expected} but target {shape}")
    check_reduction(name, reduction, expected, *others)


def check_reduction(name: str, reduction: str, shape: Shape, *others: str) -> None:
    """Raise if `reduction` is unknown, and none of `others`, or a mean is undefined."""
    if reduction not in REDUCTIONS and reduction not in others:
        known = (*REDUCTIONS, *others)
        listed = ", ".join(map(repr, known[:-1]))
        raise ValueError(f"{name}: reduction is {reduction!r}, expected {listed} or {known[-1]!r}")
    if 0 in shape and reduction.endswith("mean"):
        raise ValueError(f"{name}: nothing to average: the shape is {shape}")


def reduced(losses: Array, reduction: str, count: float | None = None) -> Array:
    """Return the losses, their sum, or their sum divided by `count`, by default their number."""
    if reduction == "none":
        return losses
    summed = sum_over(losses) if isinstance(losses, Variable) else total(np.asarray(losses))
    return summed * (1.0 / (share(losses.shape, reduction) if count is None else count))


def share(shape: Shape, reduction: str) -> int:
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
    return x, divided(f"{at(own, x)} − {at(other, x)}", share(shape, reduction), factor)


def divided(difference: str, count: int, factor: str = "") -> str:
    """Return a difference with the factor of the loss and of its reduction."""
    if not factor and count == 1:
        return difference
    return f"{factor}({difference})" + (f" / {count}" if count > 1 else "")
