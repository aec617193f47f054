"""Reductions over axes; `axis` is an int, a tuple of ints, or None for all axes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from tinygrad_cnn.core.declaration import Draw, Prose, Strategies
from tinygrad_cnn.core.op import op
from tinygrad_cnn.core.variable import Array
from tinygrad_cnn.engine import reduction as engine
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.engine.softmax import log_total
from tinygrad_cnn.ops.arithmetic import masked, where
from tinygrad_cnn.ops.elementary import exp
from tinygrad_cnn.ops.entries import Index, Letters, LocalEntry, at
from tinygrad_cnn.ops.shape import axes_of, broadcast_to, flip, reshape

Axis: TypeAlias = int | tuple[int, ...] | None


@op(formula="Σ x", latex=r"\sum x", integers="widened", letter="s", selecting=True)
def sum(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return the sum of `x` over `axis`.

    Parameters
    ----------
    x : Tensor or array_like
    axis : int or tuple of int, optional
        The axes to reduce. Defaults to all.
    keepdims : bool
        Keep the reduced axes, with length 1.

    Returns
    -------
    Tensor
        In the dtype of `x`.

    Raises
    ------
    ValueError
        If `x` has no such axis.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.sum(tg.Tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    Tensor([4., 6.])
    """
    axes_of("sum", np.shape(x), axis)
    return engine.total(x, axis, keepdims)


@sum.derivative("x", formula="g repeated", latex="g")
def _(g: Array, *, x_shape: Shape, axis: Axis) -> Array:
    return _spread(g, x_shape, axis)


@op(formula="Σ x / n", latex=r"\frac{1}{n}\sum x", letter="s")
def mean(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return the mean of `x` over `axis`.

    Parameters
    ----------
    x, axis, keepdims
        As for `sum`.

    Raises
    ------
    ValueError
        If `x` has no such axis, or there are no values to average.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.mean(tg.Tensor([[1.0, 2.0], [3.0, 4.0]])).item()
    2.5
    """
    _at_least_one("mean", x, axis)
    return engine.average(x, axis, keepdims)


@mean.derivative("x", formula="g repeated / n", latex=r"\frac{g}{n}")
def _(g: Array, *, x_shape: Shape, axis: Axis) -> Array:
    return _spread(g * (1.0 / _count(x_shape, axis)), x_shape, axis)


@op(formula="max x", latex=r"\max x", integers="kept", selecting=True)
def max(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return the largest value over `axis`.

    Of equal values, the first in row-major order gets the gradient.

    Parameters
    ----------
    x, axis, keepdims
        As for `sum`.

    Raises
    ------
    ValueError
        If `x` has no such axis, or there are no values to reduce.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.max(tg.Tensor([[1.0, 5.0], [3.0, 4.0]]), axis=1)
    Tensor([5., 4.])
    """
    _at_least_one("max", x, axis)
    if np.iscomplexobj(x):
        return np.sum(masked(x, first_maximum(x, axis)), axis=axis, keepdims=keepdims)
    return np.max(x, axis=axis, keepdims=keepdims)


@max.residual
def first_maximum(x: Array, axis: Axis) -> Array:
    return _first(np.argmax, np.real(x), axis)


@max.derivative("x", formula=Prose("g at the first maximum, else 0"), latex=r"g\,[x = \max x]")
def _(g: Array, *, first_maximum: Array, x_shape: Shape, axis: Axis) -> Array:
    return masked(_spread(g, x_shape, axis), first_maximum)


@op(formula="min x", latex=r"\min x", integers="kept", selecting=True)
def min(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return the smallest value over `axis`.

    Of equal values, the first in row-major order gets the gradient.

    Parameters
    ----------
    x, axis, keepdims
        As for `sum`.

    Raises
    ------
    ValueError
        If `x` has no such axis, or there are no values to reduce.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.min(tg.Tensor([[1.0, 5.0], [3.0, 4.0]]), axis=1)
    Tensor([1., 3.])
    """
    _at_least_one("min", x, axis)
    if np.iscomplexobj(x):
        return np.sum(masked(x, first_minimum(x, axis)), axis=axis, keepdims=keepdims)
    return np.min(x, axis=axis, keepdims=keepdims)


@min.residual
def first_minimum(x: Array, axis: Axis) -> Array:
    return _first(np.argmin, np.real(x), axis)


@min.derivative("x", formula=Prose("g at the first minimum, else 0"), latex=r"g\,[x = \min x]")
def _(g: Array, *, first_minimum: Array, x_shape: Shape, axis: Axis) -> Array:
    return masked(_spread(g, x_shape, axis), first_minimum)


@op(formula="ln Σ eˣ", latex=r"\ln \sum e^{x}")
def logsumexp(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return the logarithm of the summed exponentials over `axis`, without overflow.

    Its derivative is the softmax.

    Parameters
    ----------
    x, axis, keepdims
        As for `sum`.

    Raises
    ------
    ValueError
        If `x` has no such axis, or there are no values to reduce.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.logsumexp(tg.Tensor([1000.0, 1000.0])).item()
    1000.693...
    """
    _at_least_one("logsumexp", x, axis)
    peak = np.max(np.real(x), axis=axis, keepdims=True)
    peak = np.where(np.isfinite(peak), peak, 0.0).astype(peak.dtype)
    total = log_total(np.exp(x - peak), axis) + peak
    return total if keepdims else total.reshape(np.sum(peak, axis=axis).shape)


@logsumexp.derivative("x", formula="g·e^(x − y)", latex=r"g\,e^{x-y}")
def _(g: Array, *, x: Array, y: Array, axis: Axis) -> Array:
    finite = where(y > -np.inf, y, 0.0)  # if all x are −∞, their weights are 0
    weights = exp(x - _spread(finite, x.shape, axis))
    total = sum(weights, axis, True)  # 1, unless x is so large that y is coarse
    g = reshape(g, total.shape) / where(total > 0, total, 1.0)
    return broadcast_to(g, x.shape) * weights


def _example(draw: Draw, s: Strategies) -> Any:
    x = draw(s.arrays(low=-1.0, high=1.0))  # with ties
    return {"x": x, "axis": draw(s.axes(x.ndim)), "keepdims": draw(s.booleans())}


for _reduction in (sum, mean, max, min, logsumexp):
    _reduction.calls(_example, always=[{"x": np.zeros((0, 3)), "axis": 1}])


@op(
    formula=Prose("Σ of x up to there"),
    latex=r"\sum_{k \leq i} x_k",
    integers="widened",
    letter="s",
    selecting=True,
)
def cumsum(x: Array, axis: int | None = None) -> Array:
    """Return the running sums of `x` along `axis`.

    Parameters
    ----------
    x : Tensor or array_like
    axis : int, optional
        By default, the sums run over the vector of all entries.

    Raises
    ------
    ValueError
        If `x` has no such axis.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.cumsum(tg.Tensor([1.0, 2.0, 4.0]))
    Tensor([1., 3., 7.])
    """
    if isinstance(axis, tuple):
        raise ValueError(f"cumsum: axis is {axis}, expected None or an int")
    axes_of("cumsum", np.shape(x), axis)
    # In float64, because n additions one after the other lose n roundings.
    sums = np.cumsum(
        x, axis, dtype=np.promote_types(x.dtype, "f8") if x.dtype.kind in "fc" else None
    )
    return sums.astype(x.dtype, copy=False) if x.dtype.kind in "fc" else sums


@cumsum.derivative("x", formula=Prose("Σ of g from there on"), latex=r"\sum_{i \geq k} g_i")
def _(g: Array, *, axis: int | None, x_shape: Shape) -> Array:
    if axis is None:
        return reshape(flip(cumsum(flip(g))), x_shape)
    return flip(cumsum(flip(g, axis), axis), axis)


@cumsum.calls(always=[{"x": np.zeros((0, 3)), "axis": 0}])
def _(draw: Draw, s: Strategies) -> Any:
    x = draw(s.arrays())
    axis = s.one_of(s.none(), s.integers(-x.ndim, x.ndim - 1)) if x.ndim else s.none()
    return {"x": x, "axis": draw(axis)}


def _axes(shape: Shape, axis: Axis) -> tuple[int, ...]:
    """Return the reduced axes as nonnegative ints."""
    if axis is None:
        return tuple(range(len(shape)))
    return tuple(a % len(shape) for a in (axis if isinstance(axis, tuple) else (axis,)))


def _count(shape: Shape, axis: Axis) -> int:
    """Return the number of values per result."""
    return math.prod(shape[a] for a in _axes(shape, axis))


def _at_least_one(name: str, x: Array, axis: Axis) -> None:
    axes = axes_of(name, np.shape(x), axis)
    if 0 in [np.shape(x)[a] for a in axes]:
        raise ValueError(f"{name}: x has shape {np.shape(x)}: no values along axis {axis}")


def _spread(g: Array, shape: Shape, axis: Axis) -> Array:
    """Return `g`, the gradient of a reduction over `axis`, repeated to `shape`."""
    axes = _axes(shape, axis)
    kept = tuple(1 if a in axes else n for a, n in enumerate(shape))
    return broadcast_to(reshape(g, kept), shape)


def _first(choose: Callable[..., Array], x: Array, axis: Axis) -> Array:
    """Return a mask of `x`, True at the element of each reduced group that `choose` selects."""
    axes = _axes(x.shape, axis)
    # Move the reduced axes last and flatten them, for row-major order: (kept..., group)
    order = [a for a in range(x.ndim) if a not in axes] + sorted(axes)
    moved = x.transpose(order)
    flat = moved.reshape(*moved.shape[: x.ndim - len(axes)], _count(x.shape, axis))
    mask = np.zeros(flat.shape, bool)
    np.put_along_axis(mask, choose(flat, axis=-1)[..., np.newaxis], True, axis=-1)
    return mask.reshape(moved.shape).transpose(np.argsort(order))


# --- entries of the derivatives ------------------------------------------------------------------


@sum.entry("x")
def _(y: Index, letters: Letters, *, x_shape: Shape, axis: Axis, keepdims: bool) -> LocalEntry:
    return _reduced(y, letters, x_shape, axis, keepdims), "1"


@mean.entry("x")
def _(y: Index, letters: Letters, *, x_shape: Shape, axis: Axis, keepdims: bool) -> LocalEntry:
    count = _count(x_shape, axis)
    return _reduced(y, letters, x_shape, axis, keepdims), f"1 / {count}" if count > 1 else "1"


@max.entry("x")
@min.entry("x")
def _(y: Index, letters: Letters, *, x_shape: Shape, axis: Axis, keepdims: bool) -> LocalEntry:
    x = _reduced(y, letters, x_shape, axis, keepdims)
    return x, f"[{at('y', y)} took {at('x', x)}]"


@logsumexp.entry("x")
def _(y: Index, letters: Letters, *, x_shape: Shape, axis: Axis, keepdims: bool) -> LocalEntry:
    x = _reduced(y, letters, x_shape, axis, keepdims)
    return x, f"exp({at('x', x)} − {at('y', y)})"


@cumsum.entry("x")
def _(y: Index, letters: Letters, *, x_shape: Shape, axis: int | None) -> LocalEntry | None:
    if axis is None and len(x_shape) != 1:
        return None
    a = (axis or 0) % len(y)
    k = letters.fresh(x_shape[a])
    return (*y[:a], k, *y[a + 1 :]), f"[{k} ≤ {y[a]}]" if k else "1"


def _reduced(y: Index, letters: Letters, shape: Shape, axis: Axis, keepdims: bool) -> Index:
    """Return the index of the argument of a reduction."""
    gone = _axes(shape, axis)
    if len(gone) == len(shape):
        return letters.index(shape)
    left = iter([letter for a, letter in enumerate(y) if not (keepdims and a in gone)])
    return tuple(letters.fresh(n) if a in gone else next(left) for a, n in enumerate(shape))
