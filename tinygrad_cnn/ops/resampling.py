"""Images and signals at another size: interpolation.

All modes but the nearest are linear and treat rows and columns alike, so each is a product of
matrices, R x Cᵀ, with a row of R for each row of the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from tinygrad_cnn.core.composition import composition
from tinygrad_cnn.core.recording import float_dtype
from tinygrad_cnn.core.variable import Array, array_of
from tinygrad_cnn.engine import arrays
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.engine.windows import Pair
from tinygrad_cnn.ops.arrangement import repeat
from tinygrad_cnn.ops.linear import matmul
from tinygrad_cnn.ops.shape import shape_of

Taps = tuple[arrays.Array, arrays.Array]  # the cells that a cell is made of, and their weights
_CUBIC = -0.75  # the slope of the bicubic kernel at 1, as in PyTorch


@composition(formula="x at another size")
def interpolate(
    x: Array,
    size: Pair | None = None,
    scale_factor: float | tuple[float, float] | None = None,
    mode: str = "nearest",
    align_corners: bool = False,
) -> Array:
    """Return images or signals at another size; exactly one of `size` and `scale_factor` is given.

    Parameters
    ----------
    x : Tensor or array_like
        Of shape (N, C, H, W), or (N, C, L).
    size : int or (int, int), optional
        The new height and width, or length.
    scale_factor : float or (float, float), optional
        The new size as a multiple of the old one, rounded down. Coordinates are computed with this
        factor, as in PyTorch.
    mode : {"nearest", "nearest-exact", "linear", "bilinear", "bicubic", "area"}
        ``"linear"`` is for signals, ``"bilinear"`` and ``"bicubic"`` for images. ``"area"`` is
        `adaptive_avgpool`. The nearest cell of a cell is found as in PyTorch, in float32; it keeps
        integers, such as the labels of a mask.
    align_corners : bool
        Whether the centers of the first and the last cell stay where they are, rather than the
        edges of the image; for the linear modes and ``"bicubic"``.

    Returns
    -------
    Tensor
        Of shape (N, C, OH, OW), or (N, C, OL).

    Raises
    ------
    ValueError
        If the options do not fit each other or `x`.

    Notes
    -----
    Cell i of the result is centered at s·(i + ½) − ½ of `x`, where s is the old size divided by the
    new one, or at i·(n − 1)/(m − 1) with `align_corners`, for the sizes n and m. In the linear
    modes an infinity or a NaN makes its row and its column NaN.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.Tensor([[[[1.0, 2.0]]]])
    >>> tg.interpolate(x, (1, 4)).numpy()
    array([[[[1., 1., 2., 2.]]]], dtype=float32)
    >>> tg.interpolate(x, (1, 4), mode="bilinear").numpy()
    array([[[[1.  , 1.25, 1.75, 2.  ]]]], dtype=float32)
    """
    name = "interpolate"
    shape = shape_of(x)
    axes = len(shape) - 2
    if axes not in (1, 2) or 0 in shape[2:]:
        raise ValueError(f"{name}: x has shape {shape}, expected (N, C, H, W) or (N, C, L)")
    modes = ["nearest", "nearest-exact", "area", *(["linear"], ["bilinear", "bicubic"])[axes - 1]]
    if mode not in modes:
        raise ValueError(f"{name}: mode is {mode!r}, expected one of {modes} for x: {shape}")
    if align_corners and mode not in _TAPS:
        raise ValueError(f"{name}: align_corners does not apply to mode {mode!r}")
    old = shape[2:]
    new, factors = _new_size(name, old, size, scale_factor)
    if mode == "area" or mode in _TAPS:
        made = zip(old, new, factors, strict=True)
        return resampled(x, [(n, m, f, mode, bool(align_corners)) for n, m, f in made])
    for axis, (n, m, factor) in enumerate(zip(old, new, factors, strict=True), start=2):
        if n != m:
            counts = np.bincount(_nearest(n, m, factor, mode == "nearest"), minlength=n)
            same = counts.min() == counts.max()
            x = repeat(x, int(counts[0]) if same else counts.tolist(), axis)
    return x


# --- sizes ---------------------------------------------------------------------------------------


def _new_size(
    name: str, old: Shape, size: Any, scale_factor: Any
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return the new size, and for each axis the scale factor if one was given, else 0."""
    if (size is None) == (scale_factor is None):
        raise ValueError(
            f"{name}: size is {size} and scale_factor {scale_factor}, expected exactly one"
        )
    given, argument = (scale_factor, "scale_factor") if size is None else (size, "size")
    each = tuple(given) if isinstance(given, tuple | list) else (given,) * len(old)
    kinds = (int, np.integer) if size is not None else (int, float, np.integer, np.floating)
    known = all(isinstance(v, kinds) and not isinstance(v, bool) and v > 0 for v in each)
    if not known or len(each) != len(old):
        raise ValueError(
            f"{name}: {argument} is {given!r}, expected a number > 0, or one for each of the "
            f"{len(old)} axes"
        )
    if size is not None:
        return tuple(map(int, each)), (0.0,) * len(old)
    new = tuple(math.floor(n * factor) for n, factor in zip(old, each, strict=True))
    if 0 in new:
        raise ValueError(f"{name}: scale_factor {scale_factor} leaves nothing of {old}")
    return new, tuple(map(float, each))


# --- cells and their weights ---------------------------------------------------------------------


def resampled(x: Array, axes: list[tuple[int, int, float, str, bool]]) -> Array:
    """Return R x Cᵀ for images, x Cᵀ for signals; the axis that shrinks most comes first.

    For each axis: the old and the new length, a scale factor or 0, the mode and align_corners.
    """
    dtype = weights_dtype(x)
    columns = _matrix(*axes[-1], dtype)
    if len(axes) == 1:
        return matmul(x, columns.T)
    rows = _matrix(*axes[0], dtype)
    if len(rows) * columns.shape[1] < len(columns) * rows.shape[1]:
        return matmul(matmul(rows, x), columns.T)
    return matmul(rows, matmul(x, columns.T))


def weights_dtype(x: Array) -> np.dtype[Any]:
    """Return the dtype of constants that leaves the dtype of a floating `x` as it is."""
    dtype = np.asarray(array_of(x)).dtype
    if dtype.kind == "c":
        return np.empty(0, dtype).real.dtype
    return dtype if dtype.kind == "f" else np.dtype(float_dtype.get())


@lru_cache(maxsize=256)
def _matrix(
    n: int, m: int, factor: float, mode: str, align_corners: bool, dtype: np.dtype[Any]
) -> arrays.Array:
    """Return the matrix (m, n) that takes an axis of length n to length m."""
    matrix = np.zeros((m, n))
    if mode == "area":
        for row, first, last in zip(matrix, *bounds(n, m), strict=True):
            row[first:last] = 1.0 / (last - first)
    else:
        cells, weights = _TAPS[mode](n, m, factor, align_corners)
        np.add.at(matrix, (np.arange(m)[:, np.newaxis], cells), weights)
    matrix = matrix.astype(dtype)
    matrix.setflags(write=False)
    return matrix


def bounds(n: int, m: int) -> tuple[arrays.Array, arrays.Array]:
    """Return where each of the m windows of an adaptive pooling begins and ends."""
    i = np.arange(m)
    return i * n // m, -(-(i + 1) * n // m)


def _nearest(n: int, m: int, factor: float, floor: bool) -> arrays.Array:
    """Return the cell nearest to each of m, with PyTorch's rounding; with `floor`, the one left."""
    if m == 2 * n and floor:
        return np.arange(m) // 2
    step = np.float32(1.0 / factor) if factor else np.float32(n) / np.float32(m)
    cells: arrays.Array = np.floor(
        (np.arange(m, dtype=np.float32) + np.float32(not floor) / 2) * step
    )
    return np.minimum(cells.astype(np.intp), n - 1)


def _centers(n: int, m: int, factor: float, align_corners: bool) -> arrays.Array:
    """Return the center of each of m cells on an axis of length n."""
    if align_corners:
        return np.arange(m) * ((n - 1) / (m - 1) if m > 1 else 0.0)
    return (1.0 / factor if factor else n / m) * (np.arange(m) + 0.5) - 0.5


def _linear(n: int, m: int, factor: float, align_corners: bool) -> Taps:
    """Return the two cells beside each center."""
    center = np.maximum(_centers(n, m, factor, align_corners), 0.0)
    left = np.minimum(np.floor(center).astype(np.intp), n - 1)
    t = np.clip(center - left, 0.0, 1.0)
    return np.stack([left, np.minimum(left + 1, n - 1)], 1), np.stack([1.0 - t, t], 1)


def _cubic(n: int, m: int, factor: float, align_corners: bool) -> Taps:
    """Return the four cells around each center, and Keys' weights."""
    center = _centers(n, m, factor, align_corners)
    left = np.floor(center)
    t, a = center - left, _CUBIC

    def near(d: Any) -> Any:  # for a distance up to 1
        return ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0

    def far(d: Any) -> Any:  # from 1 to 2
        return ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a

    cells = left.astype(np.intp)[:, np.newaxis] + np.arange(-1, 3)
    weights = [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)]
    return np.clip(cells, 0, n - 1), np.stack(weights, 1)


_TAPS: dict[str, Callable[[int, int, float, bool], Taps]] = {
    "linear": _linear,
    "bilinear": _linear,
    "bicubic": _cubic,
}
"""By mode: the cells that each new cell is a weighted sum of, and the weights."""
