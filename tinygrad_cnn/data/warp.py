"""Sampling, scaling and Gaussian smoothing, the building blocks of the transforms."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.engine.resampling import BandedMatrix, resampled
from tinygrad_cnn.support.arguments import positive

__all__ = ["Floats", "resample", "sample", "smooth"]

Floats: TypeAlias = NDArray[np.floating[Any]]

_BLOCK = 16_384  # values sampled at a time: the temporaries fit into the cache


def sample(
    images: Floats,
    rows: Floats,
    columns: Floats,
) -> Floats:
    """Sample images bilinearly at fractional positions, with zeros outside.

    Parameters
    ----------
    images : ndarray of float32 or float64, shape (B, C, H, W)
        The images.
    rows, columns : ndarray of float, shape (B, H', W')
        The positions, shared by all channels of an image; pixel ``[i, j]`` is at ``(i, j)``.

    Returns
    -------
    ndarray of the dtype of `images`, shape (B, C, H', W')
        ``Σ max(0, 1 - |r - i|) max(0, 1 - |c - j|) images[..., i, j]`` over the pixels (i, j).

    Raises
    ------
    ValueError
        If the shapes do not match or a position is NaN.

    Examples
    --------
    >>> image = np.array([[[[0.0, 1.0], [2.0, 3.0]]]])
    >>> sample(image, np.array([[[0.0, 0.5, 1.5]]]), np.array([[[0.0, 0.5, 1.0]]]))
    array([[[[0. , 1.5, 1.5]]]])
    """
    if images.ndim != 4 or rows.ndim != 3 or rows.shape != columns.shape:
        raise ValueError(
            f"sample: images {images.shape}, rows {rows.shape}, columns {columns.shape}; "
            "expected (B, C, H, W) and twice (B, H', W')"
        )
    if len(rows) != len(images):
        raise ValueError(f"sample: {len(images)} images but positions for {len(rows)}")
    if np.isnan(rows).any() or np.isnan(columns).any():
        raise ValueError("sample: a position is NaN; expected numbers")
    result = np.empty((*images.shape[:2], *rows.shape[1:]), images.dtype)
    step = max(1, _BLOCK * len(images) // max(1, result.size))
    for start in range(0, len(images), step):
        block = slice(start, start + step)
        result[block] = _sample(images[block], rows[block], columns[block])
    return result


def smooth(fields: Floats, sigma: float) -> Floats:
    """Convolve fields with a Gaussian, with zeros outside.

    The kernel is truncated at 4 σ and sums to 1. It is separable, and a banded matrix along each
    axis: ``K fields Kᵀ``, two matrix products.

    Parameters
    ----------
    fields : ndarray of float32 or float64, shape (..., H, W)
        The fields.
    sigma : float
        The standard deviation σ, in pixels; positive.

    Returns
    -------
    ndarray of the same dtype and shape
        The smoothed fields.

    Raises
    ------
    ValueError
        If `sigma` is not a positive number.

    Examples
    --------
    >>> smooth(np.array([[0.0, 0.0, 4.0, 0.0, 0.0]]), sigma=1.0).round(2)
    array([[0.09, 0.39, 0.64, 0.39, 0.09]])
    """
    positive("smooth", "sigma", sigma)
    rows, columns = (_gaussian(n, sigma).astype(fields.dtype) for n in fields.shape[-2:])
    smoothed: Floats = rows @ (fields @ columns)  # both are symmetric
    return smoothed


def resample(
    images: NDArray[Any],
    size: tuple[int, int],
    interpolation: str = "bilinear",
    antialias: bool = True,
) -> NDArray[Any]:
    """Scale images: see `Resize`.

    Parameters
    ----------
    images : ndarray of uint8, float32 or float64, shape (..., H, W)
    size : tuple (H', W')
    interpolation : {"bilinear", "bicubic", "nearest"}
    antialias : bool

    Returns
    -------
    ndarray of the same dtype, shape (..., H', W')
        uint8 is computed in float32 and rounded once.

    Examples
    --------
    >>> resample(np.array([[0.0, 4.0]]), (1, 4))
    array([[0., 1., 3., 4.]])
    """
    if interpolation == "nearest":
        rows, columns = (
            np.floor(_centers(to, n) + 0.5).astype(np.intp)
            for to, n in zip(size, images.shape[-2:], strict=True)
        )
        nearest: NDArray[Any] = images[..., rows[:, None], columns]
        return nearest
    dtype = np.dtype(np.float32) if images.dtype == np.uint8 else images.dtype
    rows, columns = (
        _weights(n, to, interpolation, antialias, dtype)
        for n, to in zip(images.shape[-2:], size, strict=True)
    )
    planes = images.reshape(-1, *images.shape[-2:])
    return resampled(planes, rows, columns).reshape(*images.shape[:-2], *size)


@lru_cache(maxsize=16)
def _weights(
    n: int, to: int, interpolation: str, antialias: bool, dtype: np.dtype[Any]
) -> BandedMatrix:
    """Return the matrix (to, n) that scales an axis; its rows sum to 1."""
    function, radius = _KERNELS[interpolation]
    width = max(1.0, n / to) if antialias else 1.0
    places = _centers(to, n)[:, None]
    first = np.floor(places - radius * width)
    taps = first + np.arange(math.ceil(2 * radius * width) + 2)  # (to, taps of a pixel)
    weights = function((taps - places) / width)
    if antialias:
        weights[(taps < 0) | (taps >= n)] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    cells = taps.clip(0, n - 1).astype(np.intp)  # all that lies beyond the image is its border
    rows = np.broadcast_to(np.arange(to)[:, None], cells.shape)
    return BandedMatrix((to, n), rows, cells, weights, dtype)


def _centers(to: int, n: int) -> Floats:
    """Return the places of `to` pixels in an axis of `n`."""
    centers: Floats = (np.arange(to) + 0.5) * (n / to) - 0.5
    return centers


def _triangle(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(0.0, 1.0 - abs(x))


def _cubic(a: float) -> Any:
    """Return Keys' cubic kernel."""

    def function(x: NDArray[np.float64]) -> NDArray[np.float64]:
        x = abs(x)
        inner = ((a + 2) * x - (a + 3)) * x**2 + 1
        outer = (((x - 5) * x + 8) * x - 4) * a
        return np.where(x < 1, inner, np.where(x < 2, outer, 0.0))

    return function


_KERNELS = {"bilinear": (_triangle, 1), "bicubic": (_cubic(-0.5), 2)}
"""Kernels by name, and how far they reach."""


def _gaussian(size: int, sigma: float) -> NDArray[np.float64]:
    radius = int(4 * sigma + 0.5)
    distance = np.arange(max(radius, size - 1) + 1)
    weight = np.where(distance <= radius, np.exp(-0.5 * (distance / sigma) ** 2), 0.0)
    weight /= weight[0] + 2 * weight[1:].sum()
    places = np.arange(size)
    matrix: NDArray[np.float64] = weight[abs(places[:, None] - places)]
    return matrix


def _sample(images: Floats, rows: Floats, columns: Floats) -> Floats:
    B, C, H, W = images.shape
    stride = W + 2
    padded = np.zeros((B, C, H + 2, stride), images.dtype)  # a border of zeros, one pixel wide
    padded[:, :, 1:-1, 1:-1] = images
    pixels = padded.reshape(-1)
    top, down = _whole_and_part(rows, H, images.dtype)
    left, right = _whole_and_part(columns, W, images.dtype)
    planes = np.arange(B * C).reshape(B, C, 1, 1) * ((H + 2) * stride)
    corner = planes + (top * stride + left)[:, None]  # (B, C, H', W')
    down, right = down[:, None], right[:, None]  # (B, 1, H', W')

    def between(start: NDArray[np.intp]) -> Floats:
        here, beside = pixels.take(start), pixels.take(start + 1)
        value: Floats = here + right * (beside - here)
        return value

    above, below = between(corner), between(corner + stride)
    return above + down * (below - above)


def _whole_and_part(
    places: Floats, size: int, dtype: np.dtype[Any]
) -> tuple[NDArray[np.intp], Floats]:
    """Split positions into the padded image's pixel before each and a fraction in [0, 1]."""
    shifted = np.clip(places + 1, 0, size + 1)  # all is zero on the border and beyond
    before = np.minimum(np.floor(shifted), size)
    return before.astype(np.intp), (shifted - before).astype(dtype, copy=False)
