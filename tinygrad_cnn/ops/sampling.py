"""Images read at points between their pixels, as spatial transformers do."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.core.composition import composition
from tinygrad_cnn.core.variable import Array, array_of
from tinygrad_cnn.engine import arrays
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.ops.arithmetic import where
from tinygrad_cnn.ops.axes import expand_dims
from tinygrad_cnn.ops.indexing import getitem, stack
from tinygrad_cnn.ops.linear import matmul
from tinygrad_cnn.ops.reduction import sum as sum_over
from tinygrad_cnn.ops.resampling import weights_dtype
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
        Images of shape (N, C, H, W).
    grid : Tensor or array_like
        Points (horizontal, vertical) of shape (N, OH, OW, 2): −1 is the left or upper end of the
        image, 1 the right or lower one.
    mode : {"bilinear", "nearest"}
        How to read between pixels. With ``"nearest"`` no gradient flows to `grid`.
    padding_mode : {"zeros", "border", "reflection"}
        The values beyond the image: 0, those of the nearest pixel, or mirrored at the ends.
    align_corners : bool
        Whether −1 and 1 are the centers of the pixels at the ends, rather than their outer edges.

    Returns
    -------
    Tensor
        Of shape (N, C, OH, OW).

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
    if len(shape) != 4 or 0 in shape[2:]:
        raise ValueError(f"{name}: x has shape {shape}, expected (N, C, H, W)")
    if len(points) != 4 or points[0] != shape[0] or points[3] != 2:
        raise ValueError(f"{name}: grid has shape {points}, expected ({shape[0]}, OH, OW, 2)")
    choice(name, "mode", mode, ("bilinear", "nearest"))
    choice(name, "padding_mode", padding_mode, ("zeros", "border", "reflection"))
    n, c, height, width = shape
    column, row = (
        _place(getitem(grid, (..., axis)), size, padding_mode, align_corners)
        for axis, size in enumerate((width, height))
    )
    if mode == "nearest":
        cells = [(np.rint(_value(row)), np.rint(_value(column)))]
    else:
        up, left = np.floor(_value(row)), np.floor(_value(column))
        cells = [(up + i, left + j) for i in (0, 1) for j in (0, 1)]
    # each pixel a row of C channels, read once for each point and each of the cells around it
    pixels = reshape(transpose(x, (0, 2, 3, 1)), (n * height * width, c))
    image = np.arange(n).reshape(n, 1, 1) * height
    index = [(image + _inside(i, height)) * width + _inside(j, width) for i, j in cells]
    seen = [(i >= 0) & (i < height) & (j >= 0) & (j < width) for i, j in cells]
    zero = np.zeros((), np.asarray(array_of(x)).dtype)
    values = where(np.stack(seen)[..., np.newaxis], getitem(pixels, np.stack(index)), zero)
    if mode == "nearest":
        return transpose(getitem(values, 0), (0, 3, 1, 2))
    down, right = row - _as(up, row), column - _as(left, column)
    corners = [a * b for a in (1.0 - down, down) for b in (1.0 - right, right)]
    return transpose(sum_over(values * expand_dims(stack(corners), -1), 0), (0, 3, 1, 2))


@composition(formula="the points of an image moved by θ")
def affine_grid(theta: Array, size: Shape, align_corners: bool = False) -> Array:
    """Return the grid for `grid_sample` that moves images by affine maps.

    Parameters
    ----------
    theta : Tensor or array_like
        The maps, of shape (N, 2, 3): a point (h, v) of the result is read at θ (h, v, 1)ᵀ.
    size : (int, int, int, int)
        Of the result: (N, C, H, W).
    align_corners : bool
        As for `grid_sample`.

    Returns
    -------
    Tensor
        Of shape (N, H, W, 2).

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
    if len(shape) != 3 or shape[1:] != (2, 3):
        raise ValueError(f"{name}: theta has shape {shape}, expected (N, 2, 3)")
    if len(size) != 4 or size[0] != shape[0] or min(size[2:]) < 1:
        raise ValueError(f"{name}: size is {tuple(size)}, expected ({shape[0]}, C, H, W)")
    n, _, height, width = size
    vertical, horizontal = np.meshgrid(
        *(_points(m, align_corners) for m in (height, width)), indexing="ij"
    )
    points = np.stack([horizontal, vertical, np.ones((height, width))], -1).reshape(-1, 3)
    moved = matmul(points.astype(weights_dtype(theta)), transpose(theta, (0, 2, 1)))
    return reshape(moved, (n, height, width, 2))


def _points(m: int, align_corners: bool) -> arrays.Array:
    """Return the centers of m cells from −1 to 1."""
    if align_corners:
        return np.linspace(-1.0, 1.0, m) if m > 1 else np.zeros(1)
    return (2.0 * np.arange(m) + 1.0) / m - 1.0


def _place(points: Array, size: int, padding_mode: str, align_corners: bool) -> Array:
    """Return points from −1 to 1 as places on an axis, those beyond it moved to it if asked."""
    if align_corners:
        place = (points + 1.0) * ((size - 1) / 2)
    else:
        place = (points + 1.0) * (size / 2) - 0.5
    if padding_mode == "zeros":
        return place
    value = _value(place)
    if padding_mode == "reflection":
        low, span = (0.0, size - 1.0) if align_corners else (-0.5, float(size))
        turns, rest = np.divmod(np.abs(value - low), span) if span else (value * 0, value * 0)
        mirrored = low + np.where(turns % 2 == 0, rest, span - rest)
        sign = np.sign(value - low) * np.where(turns % 2 == 0, 1.0, -1.0)
        place = place * _as(sign, place) + _as(mirrored - sign * value, place)
        value = mirrored
    inside = (value > 0) & (value < size - 1)  # at the ends the derivative is 0, as in PyTorch
    return where(inside, place, _as(np.clip(value, 0.0, size - 1.0), place))


def _value(place: Array) -> arrays.Array:
    """Return places as an array of real numbers."""
    return np.asarray(np.real(array_of(place)))


def _as(values: Any, like: Array) -> arrays.Array:
    """Return values in the dtype of another array."""
    return np.asarray(values, weights_dtype(like))


def _inside(cells: arrays.Array, size: int) -> arrays.Array:
    """Return the nearest cells on an axis, as integers."""
    return np.asarray(np.clip(np.nan_to_num(cells), 0, size - 1), np.intp)
