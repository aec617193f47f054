"""Softmax along any axis of any memory order.

NumPy reduces quickly along long rows, and over a slow axis of a matrix with long rows. Between, as
for the classes of (H, W, C, N) with few images, or the last axis of length 10, each reduction is
30 times slower than a pass. So the values are cut into blocks, in which the classes come first:
copying a block there and back costs two passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.engine import chunks, fast, memory, threads
from tinygrad_cnn.engine.arrays import Array, Shape, inverse, memory_order
from tinygrad_cnn.engine.layout import Layout
from tinygrad_cnn.engine.reduction import total
from tinygrad_cnn.engine.selection import select

SMALL = 1 << 11  # elements up to which one call on the array is faster than blocks
BLOCK = 1 << 16  # elements of a block
LONG = 48  # classes per row from which rows are not turned,
ROWS = 1 << 18  # and elements up to which they are not cut
FIRST = 2.0  # a sum of powers below is taken in float64: its logarithm may be small
WORK = threads.FUNCTION + 40 * threads.BYTE  # operations for each element


def are_large(*arrays: Any) -> bool:
    """Return whether these are arrays, not Tensors, and large enough for blocks."""
    return all(type(array) is np.ndarray and array.size > SMALL for array in arrays)


def softmax(x: Array, axis: int, temperature: float = 1.0) -> Array:
    """Return e^(x/T) / Σ e^(x/T), in the memory order of `x`."""

    def function(axis: int, x: Array) -> Array:
        y = _powers(axis, x, temperature)
        y /= total(y, axis, keepdims=True)
        return y

    if temperature == 1.0 and (compiled := _compiled("softmax", axis, x, x)) is not None:
        return compiled
    return _in_blocks(function, axis, x)


def softmax_gradient(g: Array, y: Array, axis: int) -> Array:
    """Return y·(g − Σ g·y); where y is 0, as for a logit of −∞, it is 0 whatever g is there."""

    def function(axis: int, y: Array, g: Array) -> Array:
        if not y.real.min(initial=1.0) > 0:
            g = select(g, np.asarray(y != 0))
        product = g * y
        product -= y * total(product, axis, keepdims=True)
        return product

    if (compiled := _compiled("softmax_gradient", axis, y, g, y)) is not None:
        return compiled
    return _in_blocks(function, axis, y, g)


def log_softmax(x: Array, axis: int, temperature: float = 1.0) -> Array:
    """Return x/T − ln Σ e^(x/T), in the memory order of `x`."""

    def function(axis: int, x: Array) -> Array:
        y = _shifted(axis, x, temperature)
        y -= log_total(np.exp(y), axis)
        return y

    if temperature == 1.0 and (compiled := _compiled("log_softmax", axis, x, x)) is not None:
        return compiled
    return _in_blocks(function, axis, x)


def log_softmax_gradient(g: Array, y: Array, axis: int) -> Array:
    """Return g − eʸ·Σ g."""

    def function(axis: int, y: Array, g: Array) -> Array:
        powers = np.exp(y)
        powers *= total(g, axis, keepdims=True)
        return np.subtract(g, powers)

    if (compiled := _compiled("log_softmax_gradient", axis, y, g, y)) is not None:
        return compiled
    return _in_blocks(function, axis, y, g)


def powers(x: Array, axis: int) -> Array:
    """Return e^(x − m), with m the largest x along the axis.

    In memory the classes come first, or are adjacent: sums over them, and products with a factor
    for each sum, are fast.
    """
    return _in_blocks(_powers, axis, x, classes_first=True)


def log_total(powers: Array, axis: int | tuple[int, ...] | None) -> Array:
    """Return ln Σ of `powers`, whose largest is 1, with the reduced axes kept.

    If the others are small, ln Σ is about their sum, so this is taken in float64.
    """
    if powers.dtype.char == "f" and powers.size > SMALL:
        summed = total(powers, axis, keepdims=True)
        if not (summed < FIRST).any():
            return np.asarray(np.log(summed))
    wide = np.promote_types(powers.dtype, "f8")
    logarithm = np.log(powers.sum(axis=axis, dtype=wide, keepdims=True))
    return np.asarray(logarithm.astype(powers.dtype, copy=False))


def _powers(axis: int, x: Array, temperature: float = 1.0) -> Array:
    y = _shifted(axis, x, temperature)
    np.exp(y, out=y)
    return y


def _shifted(axis: int, x: Array, temperature: float) -> Array:
    """Return (x − m)/T as a new array, with m the largest real part: no power overflows."""
    if temperature > 1.0:
        x = x * (1.0 / temperature)
    y: Array = x - x.real.max(axis=axis, keepdims=True)
    if temperature < 1.0:
        with np.errstate(over="ignore"):  # −∞ gives the right limit, 0
            y /= max(temperature, float(np.finfo(x.dtype).smallest_subnormal))
    return y


def _in_blocks(
    function: Callable[..., Array], axis: int, *arrays: Array, classes_first: bool = False
) -> Array:
    """Return ``function(axis, *arrays)``, which has the shape of each array, computed in blocks.

    The result has the memory order of the first array; with `classes_first`, the classes may come
    first in memory.
    """
    first = arrays[0]
    if first.size <= SMALL or (first.size <= ROWS and _are_rows(first, axis)):
        return function(axis, *arrays)
    axis %= first.ndim
    order, cube = _cube(first, axis)
    outer, classes, inner = cube
    cubes = [np.ascontiguousarray(array.transpose(order)).reshape(cube) for array in arrays]
    as_rows = inner == 1 and classes >= LONG
    if classes_first and not as_rows:
        order = (axis, *[k for k in order if k != axis])
        y = memory.empty((classes, outer, inner), first.dtype)
        out = y.transpose(1, 0, 2)
    else:
        out = y = memory.empty(cube, first.dtype)
    result = y.reshape([first.shape[k] for k in order]).transpose(inverse(order))
    width = max(16, BLOCK // classes)
    high, wide = max(1, width // inner), min(width, inner)
    across = -(-inner // wide)

    def piece(i: int) -> None:
        row, column = i // across * high, i % across * wide
        part = (slice(row, row + high), slice(None), slice(column, column + wide))
        if as_rows:
            out[part][..., 0] = function(1, *[cube[part][..., 0] for cube in cubes])
            return
        turned = [cube[part].transpose(1, 0, 2) for cube in cubes]
        if wide < LONG:
            turned = [np.ascontiguousarray(array) for array in turned]
        out[part] = function(0, *turned).transpose(1, 0, 2)

    threads.run(piece, -(-outer // high) * across, first.size * WORK)
    return result


def _cube(x: Array, axis: int) -> tuple[Shape, tuple[int, int, int]]:
    """Return the axes of an array in memory order, and its values before, along and after one."""
    order = memory_order(x.shape, x.strides)
    place = order.index(axis)
    lengths = [x.shape[k] for k in order]
    return order, (math.prod(lengths[:place]), lengths[place], math.prod(lengths[place + 1 :]))


def _compiled(name: str, axis: int, model: Array, *arrays: Array) -> Array | None:
    """Return what a kernel computes of arrays, in the memory order of `model`; None for NumPy."""
    kernels = fast.kernels("softmax", model)
    if kernels is None or any(array.dtype != model.dtype for array in arrays):
        return None
    order, cube = _cube(model, axis % model.ndim)
    found: Array = kernels.computed(name, order, cube, model.size * WORK, *arrays)
    return found


def _are_rows(x: Array, axis: int) -> bool:
    """Return whether the classes are adjacent, in long rows."""
    return x.shape[axis] >= LONG and x.strides[axis] == x.itemsize


def picked(x: Array, labels: NDArray[Any], axis: int) -> Array:
    """Return the values of a dense array that labels, of its other axes, select along the axis."""
    if _is_matrix(x, axis):
        return np.asarray(x[np.arange(len(x)), labels])
    values, places, order = _places(x, labels, axis)
    found = values.take(places).reshape([labels.shape[k] for k in order])
    return found.transpose(inverse(tuple(order)))


def less_at_labels(
    powers: Array, factor: Array, g: Array, labels: NDArray[Any], axis: int
) -> Array:
    """Return ``powers * factor``, less g at the labels: a cross-entropy's gradient.

    `powers` are those of `powers`; `factor` and `g` have length 1 along the axis, or no axes. The
    result is images-last or images-first, if it is images.
    """
    if _is_matrix(powers, axis):
        y = powers * factor
        y[np.arange(len(y)), labels] -= g.reshape(-1) if np.ndim(g) else g
        return y
    others = [k for k in memory_order(powers.shape, powers.strides) if k != axis]
    last = powers.ndim == 4 and axis == 1 and others == [2, 3, 0]
    empty = Layout.IMAGES_LAST.empty if last else memory.empty
    y = empty(powers.shape, powers.dtype)
    chunks.run(lambda y, powers, factor: np.multiply(powers, factor, out=y), y, powers, factor)
    values, places, order = _places(y, labels, axis)
    if np.ndim(g):
        g = np.broadcast_to(g, factor.shape).squeeze(axis).transpose(order).reshape(places.shape)
    values[places] -= g
    return y


def _is_matrix(x: Array, axis: int) -> bool:
    """Return whether the classes are the rows of a matrix."""
    return x.ndim == 2 and axis == 1 and x.flags.c_contiguous


def _places(x: Array, labels: NDArray[Any], axis: int) -> tuple[Array, NDArray[Any], list[int]]:
    """Return the memory of a dense array as a vector, and where labels select in it.

    The places are in the memory order of the other axes, which is returned as well.
    """
    order = memory_order(x.shape, x.strides)
    position = order.index(axis)
    lengths = [x.shape[k] for k in order]
    outer, inner = math.prod(lengths[:position]), math.prod(lengths[position + 1 :])
    others = [k - (k > axis) for k in order if k != axis]
    rows = labels.transpose(others).reshape(outer, inner)
    places = rows.astype(np.intp) * inner
    places += np.arange(inner)
    places += np.arange(outer)[:, None] * (x.shape[axis] * inner)
    return x.transpose(order).reshape(-1, copy=False), places, others
