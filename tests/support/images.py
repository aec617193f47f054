"""Images and signals resampled, pooled and convolved cell by cell, and calls to draw."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np

from support import naive
from tinygrad_cnn.engine.convolution import reference

Array = np.ndarray[Any, Any]
Call = tuple[tuple[Array, ...], dict[str, Any]]

# --- interpolation -------------------------------------------------------------------------------


def resizing(draw: Any, s: Any) -> Call:
    """Return a call of interpolate."""
    axes = draw(s.integers(1, 2))
    size = tuple(draw(s.integers(1, 5)) for _ in range(axes))
    modes = ["nearest", "nearest-exact", "area", *(["linear"], ["bilinear", "bicubic"])[axes - 1]]
    options: dict[str, Any] = {"mode": draw(s.sampled_from(modes))}
    if "linear" in options["mode"] or "cubic" in options["mode"]:
        options["align_corners"] = draw(s.booleans())
    if draw(s.booleans()):
        options["size"] = tuple(draw(s.integers(1, 7)) for _ in range(axes))
    else:
        factors = tuple(draw(s.sampled_from([0.5, 1.0, 1.75, 2.0, 3.0])) for _ in range(axes))
        size = tuple(max(n, 2) for n in size)
        options["scale_factor"] = factors[0] if axes == 1 else factors
    return (draw(s.arrays((*draw(s.sampled_from([(1, 2), (2, 1)])), *size))),), options


def interpolate(
    x: Array,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool = False,
) -> Array:
    """Return `x` at another size, one axis after the other."""
    axes = x.ndim - 2
    factors: Any = np.broadcast_to(scale_factor, axes) if size is None else [None] * axes
    for axis in range(axes):
        n, factor = x.shape[axis + 2], factors[axis]
        m = size[axis] if factor is None else math.floor(n * factor)
        step = n / m if factor is None else 1 / factor
        x = np.apply_along_axis(RESIZED[mode], axis + 2, x, m, step, align_corners)
    return x


def _centers(n: int, m: int, step: float, align_corners: bool) -> list[float]:
    if align_corners:
        return [0.0] if m == 1 else np.linspace(0, n - 1, m).tolist()
    return [step * (i + 0.5) - 0.5 for i in range(m)]


def _nearest(x: Array, m: int, step: float, align_corners: bool) -> Any:
    return [x[min(math.floor(i * step), len(x) - 1)] for i in range(m)]


def _nearest_exact(x: Array, m: int, step: float, align_corners: bool) -> Any:
    return [x[min(math.floor((i + 0.5) * step), len(x) - 1)] for i in range(m)]


def _linear(x: Array, m: int, step: float, align_corners: bool) -> Any:
    return np.interp(_centers(len(x), m, step, align_corners), range(len(x)), x)


def _cubic(x: Array, m: int, step: float, align_corners: bool) -> Any:
    def keys(d: float) -> float:  # R. G. Keys, 1981, eq 4 for a = −0.75
        if d <= 1:
            return 1.25 * d**3 - 2.25 * d**2 + 1
        return -0.75 * (d**3 - 5 * d**2 + 8 * d - 4)

    wide = np.pad(x, 9, mode="edge")
    found = []
    for c in _centers(len(x), m, step, align_corners):
        cells = range(math.floor(c) - 1, math.floor(c) + 3)
        found.append(sum(keys(abs(c - k)) * wide[k + 9] for k in cells))
    return found


def _area(x: Array, m: int, step: float = 0, align_corners: bool = False) -> Any:
    return [window.mean() for window in _windows(x, m)]


RESIZED = {"nearest": _nearest, "nearest-exact": _nearest_exact, "linear": _linear,
           "bilinear": _linear, "bicubic": _cubic, "area": _area}  # fmt: skip

# --- adaptive pooling ----------------------------------------------------------------------------


def adapting(draw: Any, s: Any, axes: int, distinct: bool) -> Call:
    """Return a call of an adaptive pooling of images or signals."""
    size = tuple(draw(s.integers(1, 6)) for _ in range(axes))
    new: Any = tuple(draw(s.one_of(s.integers(1, 4), s.none())) for _ in range(axes))
    if axes == 1 or draw(s.booleans()):
        new = draw(s.integers(1, 4))
    shape = (*draw(s.sampled_from([(2,), (1, 2)])), *size)
    return (draw(s.distinct(shape) if distinct else s.arrays(shape)),), {"output_size": new}


def adaptive(x: Array, output_size: Any, axes: int, reduce: Any) -> Array:
    """Return what `reduce` makes of each window."""
    sizes = output_size if isinstance(output_size, tuple) else (output_size,) * axes
    for axis, m in enumerate(sizes, start=x.ndim - axes):
        if m is not None:
            pooled = lambda row, m=m: [reduce(window) for window in _windows(row, m)]  # noqa: E731
            x = np.apply_along_axis(pooled, axis, x)
    return x


def _windows(x: Array, m: int) -> list[Array]:
    """Return the smallest windows of whole cells that m equal parts of an axis lie in."""
    part = len(x) / m
    return [x[math.floor(i * part + 1e-9) : math.ceil((i + 1) * part - 1e-9)] for i in range(m)]


# --- pixels and channels -------------------------------------------------------------------------


def shuffling(draw: Any, s: Any, down: bool) -> Call:
    r, c, h, w = (draw(s.integers(1, most)) for most in (3, 2, 2, 2))
    lead = draw(s.sampled_from([(), (2,), (1, 2)]))
    shape = (*lead, c, h * r, w * r) if down else (*lead, c * r * r, h, w)
    return (draw(s.arrays(shape)),), {"downscale_factor" if down else "upscale_factor": r}


def shuffled(x: Array, upscale_factor: int) -> Array:
    r = upscale_factor
    *lead, channels, h, w = x.shape
    y = np.empty((*lead, channels // r**2, h * r, w * r))
    for k in range(channels):
        y[..., k // r**2, k // r % r :: r, k % r :: r] = x[..., k, :, :]
    return y


def unshuffled(x: Array, downscale_factor: int) -> Array:
    r = downscale_factor
    parts = [x[..., c, i::r, j::r] for c, i, j in np.ndindex(x.shape[-3], r, r)]
    return np.stack(parts, axis=-3)


# --- signals -------------------------------------------------------------------------------------


def convolving(draw: Any, s: Any) -> Call:
    """Return a call of conv1d."""
    groups, c, oc, k = (draw(s.integers(1, 2)) for _ in range(4))
    length, stride, dilation = draw(s.integers(5, 7)), *(draw(s.integers(1, 2)) for _ in "sd")
    padding = draw(s.sampled_from([0, 1, (2, 1), "same", "valid"]))
    shapes = [(*draw(s.sampled_from([(), (2,)])), c * groups, length), (oc * groups, c, k + 1)]
    bias = [(oc * groups,)] * draw(s.integers(0, 1))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return tuple(draw(s.arrays(shape)) for shape in shapes + bias), options


def conv1d(x: Array, w: Array, bias: Any = 0.0, **options: Any) -> Array:
    if x.ndim == 2:
        return conv1d(x[None], w, bias, **options)[0]
    for name in ("stride", "dilation"):
        options[name] = (1, options[name])
    p = options["padding"]
    if not isinstance(p, str):
        options["padding"] = ((0, 0), p if isinstance(p, tuple) else (p, p))
    y = reference.conv2d(x[:, :, None], w[:, :, None], **options)[:, :, 0]
    return y + np.reshape(bias, (-1, 1))


def transposing(draw: Any, s: Any) -> Call:
    """Return a call of conv_transpose1d."""
    c, oc, k = (draw(s.integers(1, 3)) for _ in range(3))
    stride, dilation = draw(s.integers(1, 3)), draw(s.integers(1, 2))
    options = {"stride": stride, "dilation": dilation, "padding": draw(s.integers(0, 1)),
               "output_padding": draw(s.integers(0, stride - 1))}  # fmt: skip
    shapes = [(*draw(s.sampled_from([(), (2,)])), c, 4), (c, oc, k), (oc,)]
    return tuple(draw(s.arrays(shape)) for shape in shapes), options


def conv_transpose1d(
    x: Array, w: Array, bias: Array, stride: int, dilation: int, padding: int, output_padding: int
) -> Array:
    """Return the full convolution of x and w with zeros between their values."""
    if x.ndim == 2:
        options = (stride, dilation, padding, output_padding)
        return conv_transpose1d(x[None], w, bias, *options)[0]
    spread = np.zeros((*x.shape[:2], (x.shape[2] - 1) * stride + 1))
    spread[..., ::stride] = x
    kernels = np.zeros((*w.shape[:2], (w.shape[2] - 1) * dilation + 1))
    kernels[..., ::dilation] = w
    y = np.array([[sum(map(np.convolve, image, kernels[:, o])) for o in range(w.shape[1])]
                  for image in spread])  # fmt: skip
    y = np.pad(y, [(0, 0), (0, 0), (0, output_padding)])
    return y[..., padding : y.shape[-1] - padding] + bias[:, None]


def pooling(draw: Any, s: Any, largest: bool) -> Call:
    """Return a call of maxpool1d or avgpool1d."""
    k = draw(s.integers(1, 3))
    options: dict[str, Any] = {
        "kernel_size": k, "stride": draw(s.sampled_from([None, 1, 2])),
        "padding": draw(s.integers(0, k // 2)), "ceil_mode": draw(s.booleans()),
    }  # fmt: skip
    if not largest:
        options["count_include_pad"] = draw(s.booleans())
    shape = (*draw(s.sampled_from([(), (2,)])), 2, draw(s.integers(3, 6)))
    return (draw(s.distinct(shape) if largest else s.arrays(shape)),), options


def pooled(x: Array, pool: Any, **options: Any) -> Array:
    """Return what a pooling of images of height 1 gives, in the loops of `naive`."""
    for name in ("kernel_size", "stride"):
        options[name] = options[name] and (1, options[name])
    options["padding"] = (0, options["padding"])
    y: Array = pool(x[..., None, :], **options)
    return y[..., 0, :]


def maxpool1d(x: Array, **options: Any) -> Array:
    return pooled(x, lambda *args, **kwargs: naive.maxpool(*args, **kwargs)[0], **options)


def avgpool1d(x: Array, **options: Any) -> Array:
    return pooled(x, naive.avgpool, **options)


# --- sampling ------------------------------------------------------------------------------------


def reading(draw: Any, s: Any) -> Call:
    """Return a call of grid_sample, with points that are not at its kinks."""
    n, c, h, w = (draw(s.integers(1, most)) for most in (2, 2, 3, 3))
    sizes = draw(s.sampled_from([(h, w), (h, w), (2, h, w)]))  # images or volumes
    places = draw(s.distinct((n, *[1] * (len(sizes) - 1), 2, len(sizes))))  # multiples of 1/8
    grid = np.clip(places / 2, -2, 2) + 1 / 37
    modes = ["bilinear", "bilinear", "nearest", *["bicubic"] * (len(sizes) == 2)]
    options = {
        "mode": draw(s.sampled_from(modes)),
        "padding_mode": draw(s.sampled_from(["zeros", "border", "reflection"])),
        "align_corners": draw(s.booleans()),
    }
    x = draw(s.arrays((n, c, *sizes)))
    if options["mode"] == "nearest":
        return (x,), {"grid": grid, **options}
    return (x, grid), options


def grid_sample(x: Array, grid: Array, mode: str, padding_mode: str, align_corners: bool) -> Array:
    """Return the image read point by point."""
    sizes = x.shape[2:]

    def moved(at: float, size: int) -> float:
        low, high = (0, size - 1) if align_corners else (-0.5, size - 0.5)
        while padding_mode == "reflection" and high > low and not low <= at <= high:
            at = 2 * low - at if at < low else 2 * high - at
        return at if padding_mode == "zeros" else min(max(at, 0), size - 1)

    def near(u: float, size: int) -> dict[int, float]:  # cells around a point, with weights
        low, high = (0, size - 1) if align_corners else (-0.5, size - 0.5)
        at = low + (u + 1) / 2 * (high - low)
        if mode == "bicubic":
            return {
                cell: keys(abs(at - cell)) for cell in range(math.floor(at) - 1, math.floor(at) + 3)
            }
        at = moved(at, size)
        if mode == "nearest":
            return {round(at): 1.0}
        return {cell: 1 - abs(at - cell) for cell in (math.floor(at), math.floor(at) + 1)}

    def keys(d: float, a: float = -0.75) -> float:
        if d <= 1:
            return (a + 2) * d**3 - (a + 3) * d**2 + 1
        return a * (d**3 - 5 * d**2 + 8 * d - 4)

    y = np.zeros((*x.shape[:2], *grid.shape[1:-1]))
    for n, *at in np.ndindex(grid.shape[:-1]):
        point = grid[(n, *at)][::-1]
        axes = [near(u, size) for u, size in zip(point, sizes, strict=True)]
        for cells in product(*axes):
            weight = math.prod(axis[cell] for axis, cell in zip(axes, cells, strict=True))
            if mode == "bicubic":
                cells = tuple(int(moved(i, m)) for i, m in zip(cells, sizes, strict=True))
            if all(0 <= cell < size for cell, size in zip(cells, sizes, strict=True)):
                y[(n, slice(None), *at)] += weight * x[(n, slice(None), *cells)]
    return y


def mapping(draw: Any, s: Any) -> Call:
    n, axes = draw(s.integers(1, 3)), draw(s.sampled_from([2, 2, 3]))
    sizes = [draw(s.integers(1, 3)) for _ in range(axes)]
    theta = draw(s.arrays((n, axes, axes + 1)))
    return (theta,), {"size": (n, 5, *sizes), "align_corners": draw(s.booleans())}


def affine_grid(theta: Array, size: Any, align_corners: bool) -> Array:
    n, _, *sizes = size
    grid = np.zeros((n, *sizes, len(sizes)))
    for k, *cell in np.ndindex(n, *sizes):
        point = [
            (2 * a / (m - 1) - 1 if m > 1 else 0.0) if align_corners else (2 * a + 1) / m - 1
            for a, m in zip(cell[::-1], sizes[::-1], strict=True)
        ]
        grid[(k, *cell)] = theta[k] @ np.array([*point, 1.0])
    return grid
