"""Compositions that add, remove, join and reorder axes."""

from __future__ import annotations

import math

from tinygrad_cnn.core.composition import composition
from tinygrad_cnn.core.variable import Array
from tinygrad_cnn.ops.shape import axes_of, reshape, shape_of, transpose


@composition(formula="x without axes of length 1")
def squeeze(x: Array, axis: int | tuple[int, ...] | None = None) -> Array:
    """Return `x` without axes of length 1.

    Parameters
    ----------
    x : Tensor or array_like
    axis : int or tuple of int, optional
        The axes to remove. Defaults to all of length 1.

    Raises
    ------
    ValueError
        If an axis of `axis` is longer than 1.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.squeeze(tg.Tensor([[1.0, 2.0]]))
    Tensor([1., 2.])
    """
    shape = shape_of(x)
    if axis is None:
        return reshape(x, tuple(n for n in shape if n != 1))
    gone = axes_of("squeeze", shape, axis)
    if any(shape[a] != 1 for a in gone):
        raise ValueError(f"squeeze: axis is {axis}, expected axes of length 1 of x: {shape}")
    return reshape(x, tuple(n for a, n in enumerate(shape) if a not in gone))


@composition(formula="x with new axes of length 1")
def expand_dims(x: Array, axis: int | tuple[int, ...]) -> Array:
    """Return `x` with new axes of length 1.

    Parameters
    ----------
    x : Tensor or array_like
    axis : int or tuple of int
        The places of the new axes in the result.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.expand_dims(tg.Tensor([1.0, 2.0]), (0, -1)).shape
    (1, 2, 1)
    """
    shape = shape_of(x)
    count = len(axis) if isinstance(axis, tuple) else 1
    new = axes_of("expand_dims", shape + (1,) * count, axis)
    lengths = iter(shape)
    return reshape(x, tuple(1 if a in new else next(lengths) for a in range(len(shape) + count)))


@composition(formula="x with several axes joined")
def flatten(x: Array, start_axis: int = 0, end_axis: int = -1) -> Array:
    """Return `x` with the axes from `start_axis` to `end_axis` as one, in C order.

    Parameters
    ----------
    x : Tensor or array_like
        A number becomes a vector of length 1.
    start_axis, end_axis : int
        The first and the last axis to join.

    Raises
    ------
    ValueError
        If `x` lacks these axes, or `end_axis` is before `start_axis`.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> tg.flatten(tg.Tensor(np.zeros((8, 3, 4, 4))), 1).shape
    (8, 48)
    """
    shape = shape_of(x) or (1,)
    ndim = len(shape)
    start, end = (a + ndim if a < 0 else a for a in (start_axis, end_axis))
    if not 0 <= start <= end < ndim:
        raise ValueError(
            f"flatten: x has shape {shape_of(x)}, expected axes {start_axis} to {end_axis} in it"
        )
    joined = math.prod(shape[start : end + 1])
    return reshape(x, (*shape[:start], joined, *shape[end + 1 :]))


@composition(formula="a vector of the entries of x")
def ravel(x: Array) -> Array:
    """Return `x` as a vector, in C order.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.ravel(tg.Tensor([[1.0, 2.0], [3.0, 4.0]]))
    Tensor([1., 2., 3., 4.])
    """
    return reshape(x, (-1,))


@composition(formula="x with two axes swapped")
def swapaxes(x: Array, axis1: int, axis2: int) -> Array:
    """Return `x` with two axes swapped.

    Parameters
    ----------
    x : Tensor or array_like
    axis1, axis2 : int
        The axes; negative ones count from the end.

    Raises
    ------
    ValueError
        If `x` lacks one of these axes.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> tg.swapaxes(tg.Tensor(np.zeros((2, 3, 4))), 0, -1).shape
    (4, 3, 2)
    """
    shape = shape_of(x)
    order = [*range(len(shape))]
    (a,), (b,) = (axes_of("swapaxes", shape, axis) for axis in (axis1, axis2))
    order[a], order[b] = b, a
    return transpose(x, tuple(order))


@composition(formula="x with axes moved")
def moveaxis(x: Array, source: int | tuple[int, ...], destination: int | tuple[int, ...]) -> Array:
    """Return `x` with some axes moved; the others keep their order.

    Parameters
    ----------
    x : Tensor or array_like
    source, destination : int or tuple of int
        The old place of each axis to move, and its new one.

    Raises
    ------
    ValueError
        If they differ in number, or name an axis twice or one that `x` lacks.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> images = tg.Tensor(np.zeros((8, 32, 32, 3)))
    >>> tg.moveaxis(images, -1, 1).shape
    (8, 3, 32, 32)
    """
    shape = shape_of(x)
    old, new = (axes_of("moveaxis", shape, axes) for axes in (source, destination))
    if len(old) != len(new):
        raise ValueError(
            f"moveaxis: source is {source} and destination {destination}, expected as many axes"
        )
    placed = dict(zip(new, old, strict=True))
    others = (a for a in range(len(shape)) if a not in old)
    return transpose(
        x, tuple(placed[a] if a in placed else next(others) for a in range(len(shape)))
    )
