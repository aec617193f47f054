"""Compositions that split, repeat, shift and mask arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_cnn.core.composition import composition
from tinygrad_cnn.core.effects import constant
from tinygrad_cnn.core.variable import Array, Variable, array_of
from tinygrad_cnn.ops.arithmetic import where
from tinygrad_cnn.ops.axes import expand_dims, moveaxis, ravel
from tinygrad_cnn.ops.indexing import concatenate, getitem, stack
from tinygrad_cnn.ops.shape import axes_of, broadcast_to, reshape, shape_of

_FEW = 4  # copies up to which `repeat` joins them


@composition(formula="the parts of x along an axis")
def split(x: Array, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Array]:
    """Return the parts of `x` along `axis`.

    Parameters
    ----------
    x : Tensor or array_like
    indices_or_sections : int or sequence of int
        The number of equal parts, or the places where parts begin: ``[2, 3]`` gives ``x[:2]``,
        ``x[2:3]`` and ``x[3:]``.
    axis : int

    Raises
    ------
    ValueError
        If `x` does not divide into equal parts.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.split(tg.Tensor([1.0, 2.0, 3.0, 4.0]), 2)
    [Tensor([1., 2.]), Tensor([3., 4.])]
    """
    (a,) = axes_of("split", shape_of(x), axis)
    length, parts = shape_of(x)[a], indices_or_sections
    if isinstance(parts, int | np.integer) and (parts < 1 or length % parts):
        raise ValueError(
            f"split: axis {axis} of length {length} does not divide into {parts} equal parts"
        )
    return array_split(x, parts, axis)


@composition(formula="the parts of x along an axis, nearly equal")
def array_split(x: Array, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Array]:
    """Return the parts of `x` along `axis`; unlike `split`, they may differ in length by 1.

    The first parts are the longer ones.

    Parameters
    ----------
    x, indices_or_sections, axis
        As for `split`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.array_split(tg.Tensor([1.0, 2.0, 3.0]), 2)
    [Tensor([1., 2.]), Tensor([3.])]
    """
    (a,) = axes_of("array_split", shape_of(x), axis)
    length, parts = shape_of(x)[a], indices_or_sections
    if isinstance(parts, int | np.integer):
        if parts < 1:
            raise ValueError(f"array_split: got {parts} parts, expected 1 or more")
        size, longer = divmod(length, parts)
        starts = [k * size + min(k, longer) for k in range(1, parts)]
    else:
        starts = [int(start) for start in parts]
    ends = zip([None, *starts], [*starts, None], strict=True)
    return [getitem(x, (*_before(a), slice(start, end))) for start, end in ends]


@composition(formula="x with each entry repeated")
def repeat(x: Array, repeats: int | Sequence[int], axis: int | None = None) -> Array:
    """Return `x` with each entry repeated along `axis`.

    Parameters
    ----------
    x : Tensor or array_like
    repeats : int or sequence of int
        How often, for all entries or for each one of the axis.
    axis : int, optional
        By default, the vector of the entries is repeated.

    Raises
    ------
    ValueError
        If a number is negative, or `repeats` does not have the length of the axis.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.repeat(tg.Tensor([1.0, 2.0]), 2)
    Tensor([1., 1., 2., 2.])
    """
    if axis is None:
        return repeat(ravel(x), repeats, 0)
    shape = shape_of(x)
    (a,) = axes_of("repeat", shape, axis)
    counts = np.asarray(repeats)
    fits = counts.ndim == 0 or counts.shape in ((1,), (shape[a],))
    if counts.dtype.kind not in "iu" or not fits or (counts < 0).any():
        raise ValueError(
            f"repeat: repeats is {repeats}, expected a count or {shape[a]} counts (x: {shape}, "
            f"axis={axis})"
        )
    if counts.size == 1:
        times = int(counts.reshape(()))
        if 1 <= times <= _FEW:  # both ways several times as fast as a broadcast axis this short
            copies = stack([x] * times, a + 1)
        else:
            copies = broadcast_to(expand_dims(x, a + 1), (*shape[: a + 1], times, *shape[a + 1 :]))
        return reshape(copies, (*shape[:a], shape[a] * times, *shape[a + 1 :]))
    places = np.repeat(np.arange(shape[a]), counts)
    if not isinstance(repeats, np.ndarray | Variable):
        constant(places)
    return getitem(x, (*_before(a), places))


@composition(formula="copies of x side by side")
def tile(x: Array, reps: int | Sequence[int]) -> Array:
    """Return copies of `x` side by side along its axes.

    Parameters
    ----------
    x : Tensor or array_like
    reps : int or sequence of int
        The number of copies along each axis. The shorter of `reps` and the shape of `x` is
        extended by leading ones.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.tile(tg.Tensor([1.0, 2.0]), (2, 2))
    Tensor([[1., 2., 1., 2.],
            [1., 2., 1., 2.]])
    """
    counts = [reps] if isinstance(reps, int | np.integer) else list(reps)
    if not all(isinstance(n, int | np.integer) and n >= 0 for n in counts):
        raise ValueError(f"tile: reps is {reps}, expected counts")
    shape = shape_of(x)
    ndim = max(len(shape), len(counts))
    shape = (1,) * (ndim - len(shape)) + shape
    counts = [1] * (ndim - len(counts)) + counts
    apart = tuple(n for length in shape for n in (1, length))
    pairs = list(zip(counts, shape, strict=True))
    copies = broadcast_to(reshape(x, apart), tuple(n for pair in pairs for n in pair))
    return reshape(copies, tuple(count * length for count, length in pairs))


@composition(formula="x shifted along axes, with what leaves at one end entering at the other")
def roll(
    x: Array, shift: int | tuple[int, ...], axis: int | tuple[int, ...] | None = None
) -> Array:
    """Return `x` shifted along `axis`; entries that leave at one end enter at the other.

    Parameters
    ----------
    x : Tensor or array_like
    shift : int or tuple of int
        The places to move forward; for several axes one number, or one for each.
    axis : int or tuple of int, optional
        By default, the vector of the entries is shifted.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.roll(tg.Tensor([1.0, 2.0, 3.0]), 1)
    Tensor([3., 1., 2.])
    """
    shape = shape_of(x)
    if axis is None:
        return reshape(roll(ravel(x), shift, 0), shape)
    axes = [a for one in (axis if isinstance(axis, tuple) else (axis,))
            for a in axes_of("roll", shape, one)]  # fmt: skip
    shifts = shift if isinstance(shift, tuple) else (shift,)
    try:
        steps = [(int(a), int(step)) for a, step in np.broadcast(axes, shifts)]
    except ValueError:
        raise ValueError(f"roll: shift is {shift} and axis {axis}, expected as many") from None
    rolled = x
    for a, step in steps:
        start = -step % max(1, shape[a])
        if start:
            parts = (slice(start, None), slice(None, start))
            rolled = concatenate([getitem(rolled, (*_before(a), part)) for part in parts], a)
    return reshape(x, shape) if rolled is x else rolled


@composition(formula="x where row ≤ column − k, else 0")
def triu(x: Array, k: int = 0) -> Array:
    """Return the upper triangle of the matrices `x`, with zeros below its diagonal `k`.

    Parameters
    ----------
    x : Tensor or array_like
        Of shape (..., rows, columns).
    k : int
        0 is the main diagonal, 1 the one above it, −1 the one below.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.triu(tg.Tensor([[1.0, 2.0], [3.0, 4.0]]))
    Tensor([[1., 2.],
            [0., 4.]])
    """
    return where(constant(~_triangle("triu", x, k - 1)), x, _zero(x))


@composition(formula="x where row ≥ column − k, else 0")
def tril(x: Array, k: int = 0) -> Array:
    """Return the lower triangle of the matrices `x`, with zeros above its diagonal `k`.

    Parameters are as for `triu`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.tril(tg.Tensor([[1.0, 2.0], [3.0, 4.0]]))
    Tensor([[1., 0.],
            [3., 4.]])
    """
    return where(constant(_triangle("tril", x, k)), x, _zero(x))


@composition(formula="the entries of x on a diagonal")
def diagonal(x: Array, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """Return a diagonal of the matrices along `axis1` and `axis2`, as the last axis.

    Parameters
    ----------
    x : Tensor or array_like
    offset : int
        0 is the main diagonal, 1 the one above it, −1 the one below.
    axis1, axis2 : int
        The axes of the rows and of the columns.

    Raises
    ------
    ValueError
        If `x` lacks these axes, or they are the same.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.diagonal(tg.Tensor([[1.0, 2.0], [3.0, 4.0]]))
    Tensor([1., 4.])
    """
    shape = shape_of(x)
    rows, columns = axes_of("diagonal", shape, (axis1, axis2))
    above, below = max(offset, 0), max(-offset, 0)
    places = np.arange(max(0, min(shape[rows] - below, shape[columns] - above)))
    moved = moveaxis(x, (rows, columns), (-2, -1))
    return getitem(moved, (Ellipsis, constant(places + below), constant(places + above)))


@composition(formula="x₁, x₂, … one below the other")
def vstack(arrays: Sequence[Array]) -> Array:
    """Return `arrays` joined along the first axis; vectors are rows.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.vstack([tg.Tensor([1.0, 2.0]), tg.Tensor([3.0, 4.0])])
    Tensor([[1., 2.],
            [3., 4.]])
    """
    return concatenate([reshape(x, (1, -1)) if len(shape_of(x)) < 2 else x for x in arrays])


@composition(formula="x₁, x₂, … side by side")
def hstack(arrays: Sequence[Array]) -> Array:
    """Return `arrays` joined along the second axis, or vectors along their only one.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.hstack([tg.Tensor([[1.0], [2.0]]), tg.Tensor([[3.0], [4.0]])])
    Tensor([[1., 3.],
            [2., 4.]])
    """
    arrays = [ravel(x) if not shape_of(x) else x for x in arrays]
    return concatenate(arrays, 1 if arrays and len(shape_of(arrays[0])) > 1 else 0)


def _before(axis: int) -> tuple[slice, ...]:
    """Return the index of all axes before `axis`."""
    return (slice(None),) * axis


def _triangle(name: str, x: Array, k: int) -> Any:
    """Return a mask of the lower triangle of matrices."""
    shape = shape_of(x)
    if len(shape) < 2:
        raise ValueError(f"{name}: x has shape {shape}, expected (..., rows, columns)")
    return np.tri(shape[-2], shape[-1], k, dtype=bool)


def _zero(x: Array) -> Any:
    """Return a zero of the dtype of `x`, so that integers and bools keep theirs."""
    return constant(np.zeros((), np.asarray(array_of(x)).dtype))
