"""Windows and blocks of pixels as channels, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_cnn.core.composition import composition
from tinygrad_cnn.core.declaration import Draw, Prose, Strategies
from tinygrad_cnn.core.op import op
from tinygrad_cnn.core.variable import Array, array_of
from tinygrad_cnn.engine import pooling as engine
from tinygrad_cnn.engine.arrays import Shape, inverse, memory_order
from tinygrad_cnn.engine.windows import Padding, Pair, Windows, pair, windows
from tinygrad_cnn.ops.shape import Options, reshape, shape_of, transpose
from tinygrad_cnn.support.arguments import whole


@op(
    formula=Prose("the cells of x under each window, as columns"),
    latex=r"\text{columns of } x",
    integers="kept",
    selecting=True,
)
def unfold(
    x: Array,
    kernel_size: Pair,
    dilation: Pair = 1,
    padding: Padding = 0,
    stride: Pair = 1,
) -> Array:
    """Return the cells under each window as a column (im2col).

    Parameters
    ----------
    x : Tensor or array_like
        Of shape (N, C, H, W) or (C, H, W).
    kernel_size, dilation, stride : int or (int, int)
        The size of a window, the step between its cells, and the step between windows.
    padding : int, (int, int), ((int, int), (int, int)), "same" or "valid"
        Zeros added, as for `conv2d`.

    Returns
    -------
    Tensor
        Of shape (N, C·KH·KW, L), with L = OH·OW windows; (C·KH·KW, L) for a single image.

    Raises
    ------
    ValueError
        If an option is out of range or no window fits.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.unfold(tg.Tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]), 2)
    Tensor([[1., 2.],
            [2., 3.],
            [4., 5.],
            [5., 6.]])
    """
    at = _windows("unfold", "x", np.shape(x), kernel_size, dilation, padding, stride)
    return engine.unfold(x, at)


@unfold.derivative("x", formula=Prose("columns of g added at their cells"),
                   latex=r"\text{fold}(g)")  # fmt: skip
def _(g: Array, *, x_shape: Shape, kernel_size: Pair, static: Options) -> Array:
    return fold(g, x_shape[-2:], kernel_size, **static)


_COLUMNS = {"kernel_size": (2, 3), "stride": 2}


@unfold.calls(always=[{"x": np.zeros((0, 2, 5, 5)), **_COLUMNS},
                      {"x": np.arange(50.0).reshape(2, 5, 5) / 16, **_COLUMNS}])  # fmt: skip
def _(draw: Draw, s: Strategies) -> Any:
    at = draw(s.convolutions())
    return {"x": draw(s.arrays(at.x)), "kernel_size": at.w[2:], **_of_windows(at.options)}


@op(
    formula=Prose("zeros with Σ of columns at their cells"),
    latex=r"\text{fold}(x)",
    integers="widened",
    selecting=True,
)
def fold(
    x: Array,
    output_size: Pair,
    kernel_size: Pair,
    dilation: Pair = 1,
    padding: Padding = 0,
    stride: Pair = 1,
) -> Array:
    """Return images with each column added at the cells of its window, the adjoint of `unfold`.

    Parameters
    ----------
    x : Tensor or array_like
        Of shape (N, C·KH·KW, L) or (C·KH·KW, L), with L windows.
    output_size : int or (int, int)
        The height and width of the images.
    kernel_size, dilation, padding, stride
        As for `unfold`.

    Returns
    -------
    Tensor
        Of shape (N, C, H, W); (C, H, W) for an `x` of shape (C·KH·KW, L).

    Raises
    ------
    ValueError
        If an option is out of range, or `x` does not have such columns.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.fold(tg.Tensor([[1.0, 10.0], [2.0, 20.0]]), (1, 3), (1, 2))
    Tensor([[[ 1., 12., 20.]]])
    """
    name, shape = "fold", np.shape(x)
    size = pair(name, "output_size", output_size, 1)
    kernel = pair(name, "kernel_size", kernel_size, 1)
    if len(shape) not in (2, 3) or shape[-2] % math.prod(kernel):
        raise ValueError(
            f"{name}: x has shape {shape}, expected (N, C·{math.prod(kernel)}, L) or "
            f"(C·{math.prod(kernel)}, L)"
        )
    channels = shape[-2] // math.prod(kernel)
    at = _windows(name, "the result", (channels, *size), kernel, dilation, padding, stride)
    if shape[-1] != math.prod(at.count):
        raise ValueError(
            f"{name}: x has {shape[-1]} columns, expected {at.count[0]} · {at.count[1]} windows "
            f"(x: {shape}, output_size: {size})"
        )
    return engine.fold(x, channels, at)


@fold.derivative("x", formula=Prose("the cells of g under each window, as columns"),
                 latex=r"\text{columns of } g")  # fmt: skip
def _(g: Array, *, kernel_size: Pair, static: Options) -> Array:
    return unfold(g, kernel_size, **static)


@fold.calls(always=[{"x": np.zeros((0, 12, 4)), "output_size": 5, **_COLUMNS},
                    {"x": np.arange(48.0).reshape(12, 4) / 16, "output_size": 5, **_COLUMNS}
                    ])  # fmt: skip
def _(draw: Draw, s: Strategies) -> Any:
    at = draw(s.convolutions())
    columns = (at.x[0], at.x[1] * math.prod(at.w[2:]), math.prod(at.y[2:]))
    return {
        "x": draw(s.arrays(columns)),
        "output_size": at.x[2:],
        "kernel_size": at.w[2:],
        **_of_windows(at.options),
    }


@composition(formula="each C·r² channels as r × r pixels of C channels")
def pixel_shuffle(x: Array, upscale_factor: int) -> Array:
    """Return images r times as high and wide, made of r² channels each: (..., C·r², H, W).

    Parameters
    ----------
    x : Tensor or array_like
        Of shape (..., C·r², H, W).
    upscale_factor : int
        r, 1 or more.

    Returns
    -------
    Tensor
        Of shape (..., C, H·r, W·r).

    Raises
    ------
    ValueError
        If the number of channels is not a multiple of r².

    Notes
    -----
    y[c, i·r + a, j·r + b] = x[c·r² + a·r + b, i, j]: Shi et al., "Real-time single image and video
    super-resolution using an efficient sub-pixel convolutional neural network", 2016.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.pixel_shuffle(tg.Tensor([[[[1.0]], [[2.0]], [[3.0]], [[4.0]]]]), 2).numpy()
    array([[[[1., 2.],
             [3., 4.]]]], dtype=float32)
    """
    name, shape = "pixel_shuffle", shape_of(x)
    r = whole(name, "upscale_factor", upscale_factor)
    if len(shape) < 3 or shape[-3] % (r * r):
        raise ValueError(
            f"{name}: x has shape {shape}, expected (..., C·r², H, W) for upscale_factor r = {r}"
        )
    channels, height, width = shape[-3:]
    sizes = {"c": channels // (r * r), "h": height, "w": width, "a": r, "b": r}
    return _regrouped(x, ("cab", "h", "w"), ("c", "ha", "wb"), sizes)


@composition(formula="each r × r pixels of C channels as C·r² channels")
def pixel_unshuffle(x: Array, downscale_factor: int) -> Array:
    """Return images with r × r pixels as r² channels, the inverse of `pixel_shuffle`.

    Parameters
    ----------
    x : Tensor or array_like
        Of shape (..., C, H·r, W·r).
    downscale_factor : int
        r, 1 or more.

    Returns
    -------
    Tensor
        Of shape (..., C·r², H, W).

    Raises
    ------
    ValueError
        If height or width is not a multiple of r.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.pixel_unshuffle(tg.Tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), 2).numpy().ravel()
    array([1., 2., 3., 4.], dtype=float32)
    """
    name, shape = "pixel_unshuffle", shape_of(x)
    r = whole(name, "downscale_factor", downscale_factor)
    if len(shape) < 3 or shape[-2] % r or shape[-1] % r:
        raise ValueError(
            f"{name}: x has shape {shape}, expected (..., C, H·r, W·r) for downscale_factor r = {r}"
        )
    c, height, width = shape[-3:]
    sizes = {"c": c, "h": height // r, "w": width // r, "a": r, "b": r}
    return _regrouped(x, ("c", "ha", "wb"), ("cab", "h", "w"), sizes)


def _regrouped(
    x: Array, before: Sequence[str], after: Sequence[str], sizes: dict[str, int]
) -> Array:
    """Return `x` with the factors of its last three axes in other groups, in its memory order."""
    lead = shape_of(x)[:-3]
    sizes = sizes | {str(k): n for k, n in enumerate(lead)}
    values = np.asarray(array_of(x))
    order = memory_order(values.shape, values.strides)
    inner, outer = (
        [(*map(str, range(len(lead))), *groups)[axis] for axis in order]
        for groups in (before, after)
    )
    factors = "".join(inner)
    x = reshape(transpose(x, order), [sizes[f] for f in factors])
    x = transpose(x, [factors.index(f) for f in "".join(outer)])
    x = reshape(x, [math.prod(sizes[f] for f in group) for group in outer])
    return transpose(x, inverse(order))


def _of_windows(options: Options) -> Options:
    """Return the options of a convolution that its windows have."""
    return {name: value for name, value in options.items() if name != "groups"}


def _windows(
    name: str,
    image: str,
    shape: Shape,
    kernel_size: Pair,
    dilation: Pair,
    padding: Padding,
    stride: Pair,
) -> Windows:
    """Return the windows on images of `shape`."""
    if len(shape) not in (3, 4):
        raise ValueError(f"{name}: {image} has shape {shape}, expected (N, C, H, W) or (C, H, W)")
    kernel = pair(name, "kernel_size", kernel_size, 1)
    return windows(name, (shape[-2], shape[-1]), kernel, stride, padding, dilation)
