"""Images and signals at another size: interpolation.

All modes but the nearest are weighted sums, and treat rows and columns alike: each is a product of
matrices, R x Cᵀ, with a row of R for each row of the result. Its adjoint is Rᵀ u C.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from tinygrad_cnn.core.composition import composition
from tinygrad_cnn.core.declaration import Draw, Prose, Strategies
from tinygrad_cnn.core.dtypes import float_dtype
from tinygrad_cnn.core.effects import constant
from tinygrad_cnn.core.op import op
from tinygrad_cnn.core.variable import Array, array_of
from tinygrad_cnn.engine import arrays
from tinygrad_cnn.engine import resampling as engine
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.engine.windows import Pair
from tinygrad_cnn.ops.indexing import getitem
from tinygrad_cnn.ops.shape import Options, reshape, shape_of

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
    new one, or at i·(n − 1)/(m − 1) with `align_corners`, for the sizes n and m. An infinity
    or a NaN changes only the cells that it has a nonzero weight in.

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
    if mode in _TAPS or mode == "area":
        if axes == 1:
            image = reshape(x, (*shape[:2], 1, *old))
            y = resample(image, (1, *old), (1, *new), mode, (0.0, *factors), bool(align_corners))
            return reshape(y, (*shape[:2], *new))
        return resample(x, old, new, mode, factors, bool(align_corners))
    by_axis = list(enumerate(zip(old, new, factors, strict=True), start=2))
    shrinks = new[0] < old[0]  # then take rows, of adjacent values, before columns
    for axis, (n, m, factor) in by_axis if shrinks else by_axis[::-1]:
        if n != m:
            cells = constant(_nearest(n, m, factor, mode == "nearest"))
            x = getitem(x, (*(slice(None),) * axis, cells))
    return x


@op(formula=Prose("weighted sums of neighbors in x"), latex=r"R\,x\,C^{\top}")
def resample(
    x: Array,
    old: tuple[int, int],
    new: tuple[int, int],
    mode: str = "bilinear",
    factors: tuple[float, float] = (0.0, 0.0),
    align_corners: bool = False,
    adjoint: bool = False,
) -> Array:
    """Return R x Cᵀ for images, where R and C hold the weights of an interpolation, or Rᵀ x C.

    Parameters
    ----------
    x : Tensor or array_like
        Of shape (..., H, W), the last two of which are `old`, or `new` with `adjoint`.
    old, new : (int, int)
        Height and width before and after the interpolation.
    mode, align_corners
        As for `interpolate`: a linear mode, ``"bicubic"`` or ``"area"``.
    factors : (float, float)
        The scale factors that coordinates are computed with; 0 stands for the ratio of the sizes.
    adjoint : bool
        Whether to add each value of `x` to the cells that it is made of.

    Raises
    ------
    ValueError
        If the size of `x` is another.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.resample(tg.Tensor([[[1.0, 2.0]]]), (1, 2), (1, 4)).numpy()
    array([[[1.  , 1.25, 1.75, 2.  ]]], dtype=float32)
    >>> tg.resample(tg.Tensor([[[1.0, 0.0, 0.0, 1.0]]]), (1, 2), (1, 4), adjoint=True).numpy()
    array([[[1., 1.]]], dtype=float32)
    """
    expected = tuple(new if adjoint else old)
    if x.ndim not in (3, 4) or x.shape[-2:] != expected:
        raise ValueError(
            f"resample: x has shape {x.shape}, expected (N, C, H, W) or (C, H, W) with images of "
            f"{expected}"
        )
    dtype = weights_dtype(x)
    rows, columns = (
        _banded(n, m, factor, mode, align_corners, dtype, adjoint)
        for n, m, factor in zip(old, new, factors, strict=True)
    )
    return engine.resampled(x, rows, columns)


@resample.derivative("x", formula=Prose("g added to the neighbors, weighted"),
                     latex=r"R^{\top} g\,C")  # fmt: skip
def _(g: Array, *, old: tuple[int, int], new: tuple[int, int], static: Options) -> Array:
    return resample(g, old, new, **(static | {"adjoint": not static["adjoint"]}))


@resample.calls(always=[
    {"x": np.zeros((0, 2, 3, 2)), "old": (3, 2), "new": (2, 4)},
    {"x": np.arange(6.0).reshape(1, 3, 2) / 16, "old": (7, 1), "new": (3, 2), "adjoint": True},
])  # fmt: skip
def _(draw: Draw, s: Strategies) -> Any:
    old, new = ((draw(s.integers(1, 6)), draw(s.integers(1, 6))) for _ in range(2))
    adjoint = draw(s.booleans())
    lead = draw(s.sampled_from([(2,), (1, 2), (2, 1)]))
    return {
        "x": draw(s.arrays((*lead, *(new if adjoint else old)))),
        "old": old,
        "new": new,
        "mode": draw(s.sampled_from(["bilinear", "bicubic", "area"])),
        "align_corners": draw(s.booleans()),
        "adjoint": adjoint,
    }


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


def weights_dtype(x: Array) -> np.dtype[Any]:
    """Return the dtype of constants that leaves the dtype of a floating `x` as it is."""
    dtype = np.asarray(array_of(x)).dtype
    if dtype.kind == "c":
        return np.empty(0, dtype).real.dtype
    return dtype if dtype.kind == "f" else np.dtype(float_dtype.get())


@lru_cache(maxsize=32)
def _banded(
    n: int,
    m: int,
    factor: float,
    mode: str,
    align_corners: bool,
    dtype: np.dtype[Any],
    adjoint: bool,
) -> engine.BandedMatrix:
    """Return the matrix (m, n) that takes an axis of length n to length m, or its transpose."""
    if mode == "area":
        first, last = bounds(n, m)
        count = last - first
        rows = np.repeat(np.arange(m), count)
        cells = np.arange(len(rows)) + np.repeat(last - np.cumsum(count), count)
        weights = np.repeat(1.0 / count, count)
    else:
        cells, weights = _TAPS[mode](n, m, factor, align_corners)
        rows = np.broadcast_to(np.arange(m)[:, np.newaxis], cells.shape)
    if adjoint:
        return engine.BandedMatrix((n, m), cells, rows, weights, dtype)
    return engine.BandedMatrix((m, n), rows, cells, weights, dtype)


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
    cells = left.astype(np.intp)[:, np.newaxis] + np.arange(-1, 3)
    return np.clip(cells, 0, n - 1), np.stack(cubic_weights(center - left), 1)


def cubic_weights(t: Array) -> list[Any]:
    """Return Keys' weights of the four cells around a center, `t` right of the second one."""
    a = _CUBIC

    def near(d: Any) -> Any:  # for a distance up to 1
        return ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0

    def far(d: Any) -> Any:  # from 1 to 2
        return ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a

    return [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)]


_TAPS: dict[str, Callable[[int, int, float, bool], Taps]] = {
    "linear": _linear,
    "bilinear": _linear,
    "bicubic": _cubic,
}
"""By mode: the cells that each new cell is a weighted sum of, and the weights."""
