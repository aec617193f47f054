"""Compositions that reduce: moments, norms and products; and searches, which have no derivative.

Arguments are as for `sum`: `axis` is an int, a tuple of ints, or None for all axes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.composition import composition
from tinygrad_cnn.core.dtypes import float_dtype
from tinygrad_cnn.core.effects import pure
from tinygrad_cnn.core.variable import Array, array_of
from tinygrad_cnn.ops.arithmetic import abs, div, mul, sub, where
from tinygrad_cnn.ops.axes import moveaxis
from tinygrad_cnn.ops.elementary import pow, sqrt
from tinygrad_cnn.ops.indexing import concatenate
from tinygrad_cnn.ops.reduction import Axis, max, mean, sum
from tinygrad_cnn.ops.shape import axes_of, reshape, shape_of


@composition(formula="Σ (x − mean x)² / (n − ddof)")
def var(x: Array, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Array:
    """Return the variance of `x` over `axis`.

    Parameters
    ----------
    x : Tensor or array_like
    axis : int or tuple of int, optional
        The axes to reduce. Defaults to all.
    ddof : int
        The sum of squares is divided by n − `ddof`, where n is the number of values. 1 gives the
        unbiased estimate, PyTorch's default.
    keepdims : bool
        Keep the reduced axes, with length 1.

    Raises
    ------
    ValueError
        If `x` has no such axis, or not more than `ddof` values along it.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.var(tg.Tensor([1.0, 2.0, 3.0]), ddof=1).item()
    1.0
    """
    return _variance("var", x, axis, ddof, keepdims)


@composition(formula="√(Σ (x − mean x)² / (n − ddof))")
def std(x: Array, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Array:
    """Return the standard deviation of `x` over `axis`: the root of the variance.

    Its derivative where all values are equal is 0.

    Parameters
    ----------
    x, axis, ddof, keepdims
        As for `var`.

    Raises
    ------
    ValueError
        If `x` has no such axis, or not more than `ddof` values along it.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.std(tg.Tensor([1.0, 2.0, 3.0]), ddof=1).item()
    1.0
    """
    return _root(_variance("std", x, axis, ddof, keepdims), 2)


@composition(formula="(Σ |x|ᵖ)^(1/p)")
def norm(x: Array, ord: float = 2, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return the vector norm of the entries of `x` along `axis`, without intermediate overflow.

    Parameters
    ----------
    x : Tensor or array_like
    ord : float
        The exponent p, 1 or more: 2 is the Euclidean length, 1 the sum of the absolute values,
        ``inf`` the largest.
    axis : int or tuple of int, optional
        The axes to reduce. Defaults to all: the Frobenius norm of a matrix.
    keepdims : bool
        Keep the reduced axes, with length 1.

    Raises
    ------
    ValueError
        If `x` has no such axis, or `ord` is less than 1.

    Notes
    -----
    The derivative at 0 is 0.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.Tensor([3.0, 4.0], requires_grad=True)
    >>> tg.grad(tg.norm(x), x)
    [array([0.6, 0.8], dtype=float32)]
    """
    shape = shape_of(x)
    axes = axes_of("norm", shape, axis)
    if not ord >= 1:
        raise ValueError(f"norm: ord is {ord}, expected a number of 1 or more")
    if ord == 1:
        return sum(abs(x), axes, keepdims)
    if math.prod(shape) and ord == math.inf:
        return max(abs(x), axes, keepdims)
    unit = _unit(x, axes)
    ratio = div(x, unit)
    powers = ratio * ratio if ord == 2 else pow(abs(ratio), ord)
    y = _root(sum(powers, axes, True), ord) * unit
    return y if keepdims else reshape(y, tuple(n for a, n in enumerate(shape) if a not in axes))


@pure
def _unit(x: Array, axes: tuple[int, ...]) -> NDArray[Any]:
    """Return powers of two near the largest entries along axes.

    A norm is proportional to x. Divided by them, no power of an entry overflows, and no digit is
    lost.
    """
    sizes = np.abs(np.real(np.asarray(array_of(x))))
    exponents = np.frexp(np.max(sizes, axis=axes, keepdims=True, initial=0))[1]
    dtype = sizes.dtype if sizes.dtype.kind == "f" else float_dtype.get()
    return np.asarray(np.ldexp(np.ones((), dtype), exponents - 1))


@composition(formula="Π x")
def prod(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return the product of `x` over `axis`.

    Derivatives are right where factors are 0.

    Parameters
    ----------
    x, axis, keepdims
        As for `sum`.

    Raises
    ------
    ValueError
        If `x` has no such axis.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.Tensor([2.0, 0.0, 3.0], requires_grad=True)
    >>> tg.grad(tg.prod(x), x)
    [array([0., 6., 0.], dtype=float32)]
    """
    shape = shape_of(x)
    axes = axes_of("prod", shape, axis)
    kept = [n for a, n in enumerate(shape) if a not in axes]
    count = math.prod(shape[a] for a in axes)
    y = reshape(moveaxis(x, axes, tuple(range(len(axes)))), (count, *kept))
    while count > 1:  # the first half times the second, so that log₂ n products suffice
        half = count // 2
        product = mul(y[:half], y[half : 2 * half])
        y = concatenate([product, y[2 * half :]]) if count % 2 else product
        count -= half
    if not count:
        y = reshape(sum(y, 0, True) + 1, (1, *kept))
    return reshape(y, [1 if a in axes else n for a, n in enumerate(shape)] if keepdims else kept)


@composition(formula="whether an x is not 0", differentiable=False)
def any(x: Array, axis: Axis = None, keepdims: bool = False) -> NDArray[Any]:
    """Return whether any value of `x` along `axis` is not 0, as an array of bools.

    Parameters
    ----------
    x, axis, keepdims
        As for `sum`.

    Raises
    ------
    ValueError
        If `x` has no such axis.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.any(tg.Tensor([[0.0, 0.0], [0.0, 2.0]]), axis=1)
    array([False,  True])
    """
    axes = axes_of("any", shape_of(x), axis)
    return np.asarray(np.any(array_of(x), axes, keepdims=keepdims))


@composition(formula="whether every x is not 0", differentiable=False)
def all(x: Array, axis: Axis = None, keepdims: bool = False) -> NDArray[Any]:
    """Return whether all values of `x` along `axis` are not 0, as an array of bools.

    Parameters
    ----------
    x, axis, keepdims
        As for `sum`.

    Raises
    ------
    ValueError
        If `x` has no such axis.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.Tensor([1.0, 2.0])
    >>> bool(tg.all(x > 0))
    True
    """
    axes = axes_of("all", shape_of(x), axis)
    return np.asarray(np.all(array_of(x), axes, keepdims=keepdims))


@composition(formula="the count of x not 0", differentiable=False)
def count_nonzero(x: Array, axis: Axis = None, keepdims: bool = False) -> NDArray[Any]:
    """Return the number of values of `x` along `axis` that are not 0, as an array of integers.

    Parameters
    ----------
    x, axis, keepdims
        As for `sum`.

    Raises
    ------
    ValueError
        If `x` has no such axis.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.count_nonzero(tg.Tensor([[0.0, 1.0], [2.0, 3.0]]), axis=1)
    array([1, 2])
    """
    axes = axes_of("count_nonzero", shape_of(x), axis)
    return np.asarray(np.count_nonzero(array_of(x), axes, keepdims=keepdims))


@composition(formula="the place of the first largest x", differentiable=False)
def argmax(x: Array, axis: int | None = None, keepdims: bool = False) -> NDArray[Any]:
    """Return the index of the first largest value along `axis`, as an array of integers.

    Parameters
    ----------
    x : Tensor or array_like
    axis : int, optional
        By default, the index is that of the vector of all entries.
    keepdims : bool
        Keep the reduced axis, with length 1.

    Raises
    ------
    ValueError
        If `x` has no such axis, or there are no values.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.argmax(tg.Tensor([[1.0, 5.0], [3.0, 2.0]]), axis=1)
    array([1, 0])
    """
    return _place("argmax", np.argmax, x, axis, keepdims)


@composition(formula="the place of the first smallest x", differentiable=False)
def argmin(x: Array, axis: int | None = None, keepdims: bool = False) -> NDArray[Any]:
    """Return the index of the first smallest value along `axis`, as an array of integers.

    Parameters
    ----------
    x, axis, keepdims
        As for `argmax`.

    Raises
    ------
    ValueError
        If `x` has no such axis, or there are no values.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.argmin(tg.Tensor([[1.0, 5.0], [3.0, 2.0]]), axis=1)
    array([0, 1])
    """
    return _place("argmin", np.argmin, x, axis, keepdims)


def _variance(name: str, x: Array, axis: Axis, ddof: int, keepdims: bool) -> Array:
    shape = shape_of(x)
    count = math.prod(shape[a] for a in axes_of(name, shape, axis))
    if count <= ddof:
        raise ValueError(
            f"{name}: x has shape {shape}: {count} values along axis {axis}, expected more than "
            f"ddof={ddof}"
        )
    centered = sub(x, mean(x, axis, True))
    return mean(centered * centered, axis, keepdims) * (count / (count - ddof))


def _root(total: Array, p: float) -> Array:
    """Return the p-th root of `total`, with derivatives 0 at 0."""
    zero = total == 0
    inner = where(zero, 1.0, total)
    return where(zero, 0.0, sqrt(inner) if p == 2 else pow(inner, 1 / p))


def _place(name: str, choose: Any, x: Array, axis: int | None, keepdims: bool) -> NDArray[Any]:
    values = np.real(np.asarray(array_of(x)))
    axes = axes_of(name, values.shape, axis)
    if isinstance(axis, tuple) or not math.prod(values.shape[a] for a in axes):
        raise ValueError(
            f"{name}: axis is {axis}, expected None or an axis of x with values (x: {values.shape})"
        )
    return np.asarray(choose(values, axis=axis, keepdims=keepdims))
