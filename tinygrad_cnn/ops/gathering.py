"""Compositions that pick entries by index, sort them, and set some of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.composition import composition
from tinygrad_cnn.core.effects import constant, pure
from tinygrad_cnn.core.variable import Array, Variable, array_of
from tinygrad_cnn.ops.arithmetic import add, astype, where
from tinygrad_cnn.ops.axes import ravel
from tinygrad_cnn.ops.indexing import getitem, plain_index, put
from tinygrad_cnn.ops.shape import axes_of, broadcast_to, shape_of


@composition(formula="x[indices]")
def take(x: Array, indices: Any, axis: int | None = None) -> Array:
    """Return the entries of `x` at `indices` along `axis`.

    Parameters
    ----------
    x : Tensor or array_like
    indices : array_like of int
        Of any shape, which takes the place of the axis.
    axis : int, optional
        By default, the indices are those of the vector of all entries.

    Raises
    ------
    IndexError
        If an index is outside the axis.
    TypeError
        If `indices` does not hold integers.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.take(tg.Tensor([[1.0, 2.0], [3.0, 4.0]]), [1, 1, 0], axis=1)
    Tensor([[2., 2., 1.],
            [4., 4., 3.]])
    """
    if axis is None:
        return take(ravel(x), indices, 0)
    (a,) = axes_of("take", shape_of(x), axis)
    return getitem(x, (*(slice(None),) * a, _places("take", indices, shape_of(x), a)))


@composition(formula="x[…, indices[i], …]")
def take_along_axis(x: Array, indices: Any, axis: int | None = -1) -> Array:
    """Return for each line of `x` along `axis` its own entries: those at its line of `indices`.

    Parameters
    ----------
    x : Tensor or array_like
    indices : array_like of int
        With as many axes as `x`; all but `axis` broadcast against those of `x`.
    axis : int or None
        None stands for the vector of all entries.

    Returns
    -------
    Tensor
        With the length of `indices` along `axis`. It is the adjoint of `scatter_add`.

    Raises
    ------
    IndexError
        If an index is outside the axis.
    ValueError
        If the shapes do not match.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> scores = tg.Tensor([[1.0, 5.0, 2.0], [7.0, 3.0, 4.0]])
    >>> tg.take_along_axis(scores, [[1], [0]], axis=1)
    Tensor([[5.],
            [7.]])
    """
    if axis is None:
        return take_along_axis(ravel(x), indices, 0)
    return getitem(x, _along("take_along_axis", indices, shape_of(x), axis))


@composition(formula="x with values added at indices along an axis")
def scatter_add(x: Array, indices: Any, values: Array, axis: int = -1) -> Array:
    """Return `x` with each line of `values` added at its own indices along `axis`.

    Values at a repeated index are summed. Of `values` it is the adjoint of `take_along_axis`.

    Parameters
    ----------
    x : Tensor or array_like
    indices : array_like of int
        With as many axes as `x`; all but `axis` broadcast against those of `x`.
    values : Tensor or array_like
        Broadcasts to the indices.
    axis : int

    Raises
    ------
    IndexError
        If an index is outside the axis.
    ValueError
        If the shapes do not match.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.scatter_add(tg.Tensor([10.0, 20.0, 30.0]), [0, 0, 2], [1.0, 2.0, 3.0])
    Tensor([13., 20., 33.])
    """
    index = _along("scatter_add", indices, shape_of(x), axis)
    return add(x, put(_filling("scatter_add", x, index, values), index, shape_of(x)))


@composition(formula="x with x[index] = values")
def index_put(x: Array, index: Any, values: Array, accumulate: bool = False) -> Array:
    """Return a copy of `x` in which ``x[index] = values``: assignment that can be differentiated.

    Parameters
    ----------
    x : Tensor or array_like
    index : int, slice, None, Ellipsis, integer or boolean array, or a tuple of these
    values : Tensor or array_like
        Broadcasts to what `index` selects. At a repeated index, the last one counts.
    accumulate : bool
        Add instead, as in ``x[index] += values``; values at a repeated index are summed.

    Raises
    ------
    IndexError
        If the index does not fit the shape of `x`.
    ValueError
        If `values` does not broadcast to what it selects.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.Tensor([1.0, 2.0, 3.0])
    >>> tg.index_put(x, slice(1, None), 0.0)
    Tensor([1., 0., 0.])
    >>> tg.index_put(x, [0, 0], [10.0, 20.0], accumulate=True)
    Tensor([31.,  2.,  3.])
    """
    shape, index = shape_of(x), plain_index(index)
    values = _filling("index_put", x, index, values)
    if accumulate or 0 in shape_of(values):  # nothing to set
        return add(x, put(values, index, shape))
    is_kept, places = _sources(shape, index)
    return where(is_kept, x, getitem(ravel(values), places))


@composition(formula="x in ascending order")
def sort(x: Array, axis: int | None = -1, descending: bool = False) -> Array:
    """Return `x` sorted along `axis`; equal values keep their order.

    Parameters
    ----------
    x : Tensor or array_like
    axis : int or None
        None sorts the vector of all entries.
    descending : bool
        Put the largest first.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.sort(tg.Tensor([3.0, 1.0, 2.0]))
    Tensor([1., 2., 3.])
    """
    if axis is None:
        return sort(ravel(x), 0, descending)
    return take_along_axis(x, argsort(x, axis, descending), axis)


@composition(formula="the places of x in ascending order", differentiable=False)
def argsort(x: Array, axis: int | None = -1, descending: bool = False) -> NDArray[Any]:
    """Return the indices that sort `x` along `axis`, as an array of integers.

    Parameters
    ----------
    x, axis, descending
        As for `sort`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.argsort(tg.Tensor([3.0, 1.0, 2.0]))
    array([1, 2, 0])
    """
    values = np.real(np.asarray(array_of(x)))
    if axis is None:
        return argsort(values.reshape(-1), 0, descending)
    (a,) = axes_of("argsort", values.shape, axis)
    if not descending:
        return np.argsort(values, a, kind="stable")
    order = np.argsort(np.flip(values, a), a, kind="stable")
    backwards: NDArray[Any] = values.shape[a] - 1 - np.flip(order, a)
    return backwards


@composition(formula="the k largest x, and their places")
def topk(x: Array, k: int, axis: int = -1, largest: bool = True) -> tuple[Array, NDArray[Any]]:
    """Return the `k` largest values of `x` along `axis`, largest first, and their indices.

    Parameters
    ----------
    x : Tensor or array_like
    k : int
        From 0 to the length of the axis.
    axis : int
    largest : bool
        False gives the smallest values, smallest first.

    Returns
    -------
    values : Tensor
    indices : ndarray of int
        Of equal values, the first comes first.

    Raises
    ------
    ValueError
        If the axis has fewer than `k` entries.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> values, indices = tg.topk(tg.Tensor([0.1, 0.7, 0.2]), 2)
    >>> values, indices
    (Tensor([0.7, 0.2]), array([1, 2]))
    """
    shape = shape_of(x)
    (a,) = axes_of("topk", shape, axis)
    if not isinstance(k, int | np.integer) or not 0 <= k <= shape[a]:
        raise ValueError(f"topk: k is {k}, expected 0 to {shape[a]} (x: {shape}, axis={axis})")
    order = argsort(x, a, descending=largest)[(*(slice(None),) * a, slice(k))]
    return take_along_axis(x, order, a), order


@pure
def _sources(shape: tuple[int, ...], index: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return which entries an assignment keeps, and where the new values of the others are."""
    source = np.full(shape, -1)
    source[index] = np.arange(source[index].size).reshape(source[index].shape)
    return np.asarray(source < 0), np.asarray(np.maximum(source, 0))


@pure
def _places(name: str, indices: Any, shape: tuple[int, ...], axis: int) -> NDArray[Any]:
    """Return `indices` as an array, after a check that they are in the axis."""
    places = np.asarray(array_of(indices))
    if places.dtype.kind not in "iu" and places.size:
        raise TypeError(f"{name}: indices hold {places.dtype}, expected integers")
    length = shape[axis]
    if places.size and not (-length <= places.min() and places.max() < length):
        wrong = places[(places < -length) | (places >= length)].flat[0]
        raise IndexError(f"{name}: indices hold {wrong}, but x has shape {shape} (axis={axis})")
    return places.astype(np.intp, copy=False)


def _along(name: str, indices: Any, shape: tuple[int, ...], axis: int) -> tuple[Any, ...]:
    """Return the index of the entries at `indices` along `axis`, in each line of an array."""
    (a,) = axes_of(name, shape, axis)
    places = _places(name, indices, shape, a)
    if places.ndim != len(shape):
        raise ValueError(
            f"{name}: indices have shape {places.shape}, expected as many axes as x: {shape}"
        )
    grid = [constant(part) for part in np.ogrid[tuple(slice(n) for n in shape)]]
    grid[a] = places
    try:
        np.broadcast_shapes(*(part.shape for part in grid))
    except ValueError:
        raise ValueError(
            f"{name}: indices have shape {places.shape}, which does not fit x: {shape} along axis "
            f"{axis}"
        ) from None
    return tuple(grid)


def _filling(name: str, x: Array, index: Any, values: Array) -> Array:
    """Return `values` broadcast to what `index` selects of `x`."""
    shape = shape_of(x)
    try:
        selected = np.broadcast_to(np.zeros(()), shape)[index].shape
    except IndexError as error:
        raise IndexError(f"{name}: x has shape {shape}: {error}") from None
    dtype = np.asarray(array_of(x)).dtype
    if dtype.kind == "f" and not isinstance(values, np.ndarray | Variable):
        values = astype(values, dtype)  # numbers and lists
    try:
        return values if shape_of(values) == selected else broadcast_to(values, selected)
    except ValueError:
        raise ValueError(
            f"{name}: values have shape {shape_of(values)}, but {selected} of x are selected "
            f"(x: {shape})"
        ) from None
