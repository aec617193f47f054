"""Images read at points between their pixels, as spatial transformers do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from tinygrad_cnn.core.composition import composition
from tinygrad_cnn.core.effects import constant
from tinygrad_cnn.core.variable import Array, array_of
from tinygrad_cnn.engine import arrays
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.ops.arithmetic import where
from tinygrad_cnn.ops.axes import expand_dims, moveaxis
from tinygrad_cnn.ops.indexing import getitem, stack
from tinygrad_cnn.ops.linear import matmul
from tinygrad_cnn.ops.reduction import sum as sum_over
from tinygrad_cnn.ops.resampling import cubic_weights, weights_dtype
from tinygrad_cnn.ops.shape import reshape, shape_of, transpose
from tinygrad_cnn.support.arguments import choice


@composition(formula="x at the points of grid")
def grid_sample(
    x: Array,
    grid: Array,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> Array:
    """Return the values of images at points of a grid, as a spatial transformer reads them.

    Parameters
    ----------
    x : Tensor or array_like
        Images of shape (N, C, H, W), or volumes of shape (N, C, D, H, W).
    grid : Tensor or array_like
        Points (horizontal, vertical) of shape (N, OH, OW, 2): −1 is the left or upper end of the
        image, 1 the right or lower one. For volumes, (horizontal, vertical, depth) of shape
        (N, OD, OH, OW, 3).
    mode : {"bilinear", "nearest", "bicubic"}
        How to read between pixels; ``"bicubic"`` is for images. With ``"nearest"`` no gradient
        flows to `grid`.
    padding_mode : {"zeros", "border", "reflection"}
        The values beyond the image: 0, those of the nearest pixel, or mirrored at the ends.
    align_corners : bool
        Whether −1 and 1 are the centers of the pixels at the ends, rather than their outer edges.

    Returns
    -------
    Tensor
        Of shape (N, C, OH, OW), or (N, C, OD, OH, OW).

    Raises
    ------
    ValueError
        If the shapes do not match, or there is no such mode.

    Notes
    -----
    Jaderberg et al., "Spatial transformer networks", 2015; conventions, also those at the border,
    are PyTorch's.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.Tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> tg.grid_sample(x, tg.Tensor([[[[0.0, 0.0], [-0.5, 0.5]]]])).numpy()
    array([[[[2.5, 3. ]]]], dtype=float32)
    """
    name, shape, points = "grid_sample", shape_of(x), shape_of(grid)
    axes = len(shape) - 2
    if axes not in (2, 3) or 0 in shape[2:]:
        raise ValueError(f"{name}: x has shape {shape}, expected (N, C, H, W) or (N, C, D, H, W)")
    if len(points) != axes + 2 or points[0] != shape[0] or points[-1] != axes:
        wanted = ("OD, OH, OW, 3", "OH, OW, 2")[axes == 2]
        raise ValueError(f"{name}: grid has shape {points}, expected ({shape[0]}, {wanted})")
    choice(name, "mode", mode, ("bilinear", "nearest", *["bicubic"] * (axes == 2)))
    choice(name, "padding_mode", padding_mode, ("zeros", "border", "reflection"))
    cells = [
        _cells(getitem(grid, (..., axes - 1 - k)), size, mode, padding_mode, align_corners)
        for k, size in enumerate(shape[2:])
    ]
    return read_cells(x, cells)


@composition(formula="the points of an image moved by θ")
def affine_grid(theta: Array, size: Shape, align_corners: bool = False) -> Array:
    """Return the grid for `grid_sample` that moves images by affine maps.

    Parameters
    ----------
    theta : Tensor or array_like
        The maps, of shape (N, 2, 3): a point (h, v) of the result is read at θ (h, v, 1)ᵀ. Of
        volumes, of shape (N, 3, 4), with points (h, v, d).
    size : tuple of int
        Of the result: (N, C, H, W) or (N, C, D, H, W).
    align_corners : bool
        As for `grid_sample`.

    Returns
    -------
    Tensor
        Of shape (N, H, W, 2) or (N, D, H, W, 3).

    Raises
    ------
    ValueError
        If the shapes do not match.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> mirror = tg.Tensor([[[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    >>> x = tg.Tensor([[[[1.0, 2.0, 3.0]]]])
    >>> tg.grid_sample(x, tg.affine_grid(mirror, x.shape)).numpy()
    array([[[[3., 2., 1.]]]], dtype=float32)
    """
    name, shape = "affine_grid", shape_of(theta)
    if len(shape) != 3 or shape[1:] not in ((2, 3), (3, 4)):
        raise ValueError(f"{name}: theta has shape {shape}, expected (N, 2, 3) or (N, 3, 4)")
    axes = shape[1]
    if len(size) != axes + 2 or size[0] != shape[0] or min(size[2:]) < 1:
        wanted = ("D, H, W", "H, W")[axes == 2]
        raise ValueError(f"{name}: size is {tuple(size)}, expected ({shape[0]}, C, {wanted})")
    n, _, *sizes = size
    places = np.meshgrid(*(_points(m, align_corners) for m in sizes), indexing="ij")
    points = np.stack([*places[::-1], np.ones(sizes)], -1).reshape(-1, axes + 1)
    points = constant(points.astype(weights_dtype(theta)))
    moved = matmul(points, transpose(theta, (0, 2, 1)))
    return reshape(moved, (n, *sizes, axes))


def read_cells(x: Array, cells: Sequence[Sequence[tuple[arrays.Array, Any]]]) -> Array:
    """Return weighted sums of cells of images or volumes; those outside count as 0.

    Parameters
    ----------
    x : array or Tensor
        Of shape (N, C, ...).
    cells : sequence
        For each axis the cells, as whole numbers of shape (N, ...), and their weights; of a single
        cell, None.
    """
    n, c, *sizes = shape_of(x)
    index, seen, weights = [], [], []
    for corner in product(*cells):  # one cell of each axis
        at, visible, weight = np.arange(n).reshape(n, *[1] * len(sizes)), np.asarray(True), None
        for (cell, share), size in zip(corner, sizes, strict=True):
            at, visible = at * size + _inside(cell, size), visible & (cell >= 0) & (cell < size)
            weight = share if weight is None else weight * share
        index.append(at)
        seen.append(visible)
        weights.append(weight)
    # each pixel a row of C channels, read once for each point and each of the cells around it
    pixels = reshape(moveaxis(x, 1, -1), (n * math.prod(sizes), c))
    zero = np.zeros((), np.asarray(array_of(x)).dtype)
    values = where(np.stack(seen)[..., np.newaxis], getitem(pixels, np.stack(index)), zero)
    if weights[0] is None:
        return moveaxis(getitem(values, 0), -1, 1)
    return moveaxis(sum_over(values * expand_dims(stack(weights), -1), 0), -1, 1)


def linear_cells(place: Array) -> list[tuple[arrays.Array, Array]]:
    """Return the two cells beside each place on an axis, with weights."""
    first = np.floor(_value(place))
    after = place - _as(first, place)
    return [(first, 1.0 - after), (first + 1, after)]


def _points(m: int, align_corners: bool) -> arrays.Array:
    """Return the centers of m cells from −1 to 1."""
    if align_corners:
        return np.linspace(-1.0, 1.0, m) if m > 1 else np.zeros(1)
    return (2.0 * np.arange(m) + 1.0) / m - 1.0


def _cells(
    points: Array, size: int, mode: str, padding_mode: str, align_corners: bool
) -> list[tuple[arrays.Array, Any]]:
    """Return the cells that points from −1 to 1 are read from along an axis, with weights."""
    if align_corners:
        place = (points + 1.0) * ((size - 1) / 2)
    else:
        place = (points + 1.0) * (size / 2) - 0.5
    if mode == "bicubic":  # the border is made of cells, not of places
        value = _value(place)
        first = np.floor(value)
        cells = [_moved(first + k, size, padding_mode, align_corners)[0] for k in range(-1, 3)]
        return list(zip(cells, cubic_weights(place - _as(first, place)), strict=True))
    if padding_mode != "zeros":
        value, sign = _moved(_value(place), size, padding_mode, align_corners)
        inside = (value > 0) & (value < size - 1)  # at the ends the derivative is 0, as in PyTorch
        if padding_mode == "reflection":
            moved = place * _as(sign, place)
            place = moved + _as(value - _value(moved), place)
        place = where(inside, place, _as(value, place))
    if mode == "nearest":
        return [(np.rint(_value(place)), None)]
    return linear_cells(place)


def _moved(
    value: arrays.Array, size: int, padding_mode: str, align_corners: bool
) -> tuple[arrays.Array, Any]:
    """Return places moved to the axis, and where they move against the original, −1."""
    sign = np.ones(())
    if padding_mode == "zeros":
        return value, sign
    if padding_mode == "reflection":
        low, span = (0.0, size - 1.0) if align_corners else (-0.5, float(size))
        turns, rest = np.divmod(np.abs(value - low), span) if span else (value * 0, value * 0)
        sign = np.sign(value - low) * np.where(turns % 2 == 0, 1.0, -1.0)
        value = low + np.where(turns % 2 == 0, rest, span - rest)
    return np.clip(value, 0.0, size - 1.0), sign


def _value(place: Array) -> arrays.Array:
    """Return places as an array of real numbers."""
    return np.asarray(np.real(array_of(place)))


def _as(values: Any, like: Array) -> arrays.Array:
    """Return values in the dtype of another array."""
    return np.asarray(values, weights_dtype(like))


def _inside(cells: arrays.Array, size: int) -> arrays.Array:
    """Return the nearest cells on an axis, as integers."""
    return np.asarray(np.clip(np.nan_to_num(cells), 0, size - 1), np.intp)
