"""The transposed convolution: the adjoint of `conv2d`, with an output size to choose."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_cnn.core.declaration import Draw, Prose, Strategies
from tinygrad_cnn.core.op import op
from tinygrad_cnn.core.variable import Array
from tinygrad_cnn.engine import convolution as engine
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.engine.windows import Pair, pair
from tinygrad_cnn.ops.convolution import (
    KERNELS,
    LARGE,
    NO_RESULTS,
    RESULT,
    batched,
    conv2d,
    conv2d_weight_gradient,
    convolution_windows,
    unbatched,
)
from tinygrad_cnn.ops.entries import Index, Letters, LocalEntry, at, equal, place
from tinygrad_cnn.ops.indexing import getitem
from tinygrad_cnn.ops.padding import pad
from tinygrad_cnn.ops.reduction import sum as sum_over
from tinygrad_cnn.ops.shape import Options


@op(formula="x ∗ᵀ w + b", latex=r"x *^{\mathsf T} w + b", role="affine", aliases={"bias": "b"})
def conv_transpose2d(
    x: Array,
    w: Array,
    bias: Array | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
) -> Array:
    """Return the transposed convolution: the adjoint of `conv2d` with the same kernels.

    Parameters
    ----------
    x : Tensor or array_like
        Of shape (N, C, H, W) or (C, H, W).
    w : Tensor or array_like
        Of shape (C, OC / groups, KH, KW).
    bias : Tensor or array_like, optional
        Of shape (OC,).
    stride, padding, dilation, groups
        The options of the convolution to transpose.
    output_padding : int or (int, int)
        Rows and columns added at the end of the output, less than the stride or the dilation. Below
        the stride, it selects one of the sizes that the convolution maps to H and W.

    Returns
    -------
    Tensor
        Of shape (N, OC, OH, OW), with
        OH = (H − 1)·stride − 2·padding + dilation·(KH − 1) + output_padding + 1;
        (OC, OH, OW) for a single image.

    Raises
    ------
    ValueError
        If the shapes do not match each other or the options.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x, w = tg.Tensor([[[[1.0, 10.0]]]]), tg.Tensor([[[[1.0, 2.0]]]])
    >>> tg.conv_transpose2d(x, w, stride=2).numpy()
    array([[[[ 1.,  2., 10., 20.]]]], dtype=float32)
    """
    name = "conv_transpose2d"
    shape = _transposed_shape(
        np.shape(x), np.shape(w), stride, padding, output_padding, groups, dilation
    )
    if bias is not None and np.shape(bias) != shape[-3:-2]:
        raise ValueError(f"{name}: bias has shape {np.shape(bias)}, expected {shape[-3:-2]}")
    at = convolution_windows(name, "output", shape, np.shape(w), stride, padding, dilation, groups)
    images = batched(_extended(x, stride, output_padding))
    y = unbatched(engine.input_gradient(images, w, at, groups), x)
    return y if bias is None else y + bias.reshape(-1, 1, 1)


@conv_transpose2d.derivative("x", formula="g ∗ w", latex="g * w")
def _(g: Array, *, w: Array, x_shape: Shape, static: Options) -> Array:
    dx = conv2d(g, w, None, **_of_convolution(static))
    if dx.shape == x_shape:
        return dx
    return getitem(dx, (..., slice(x_shape[-2]), slice(x_shape[-1])))


@conv_transpose2d.derivative("w", formula=Prose("Σ over windows of x·g"),
                             latex=r"\sum_{\text{windows}} x\,g")  # fmt: skip
def _(g: Array, *, x: Array, w_shape: Shape, static: Options) -> Array:
    x = _extended(x, static["stride"], static["output_padding"])
    return conv2d_weight_gradient(x, g, w_shape, **_of_convolution(static))


@conv_transpose2d.derivative("bias", formula=Prose("Σ over windows of g"),
                             latex=r"\sum_{\text{windows}} g")  # fmt: skip
def _(g: Array) -> Array:
    return sum_over(g, (0, 2, 3) if len(g.shape) == 4 else (1, 2))


@conv_transpose2d.multiply_adds
def _(x_shape: Shape, w_shape: Shape) -> int:
    return math.prod(x_shape) * math.prod(w_shape[1:])


@conv_transpose2d.calls(
    always=[
        {"x": NO_RESULTS, "w": KERNELS},
        {"x": RESULT, "w": KERNELS, "bias": np.ones(2), "stride": 2, "output_padding": 1},
    ],
    large=LARGE,
)
def _(draw: Draw, s: Strategies, **size: Any) -> Any:
    if size:
        at = draw(s.large_convolutions(**size)).transposed
    else:
        at = draw(s.transposed_convolutions())
    bias = draw(s.one_of(s.none(), s.arrays(at.y[1:2])))
    return {"x": draw(s.arrays(at.x)), "w": draw(s.arrays(at.w)), "bias": bias, **at.options}


def _of_convolution(static: Options) -> Options:
    """Return the options of the convolution to transpose."""
    return {name: value for name, value in static.items() if name != "output_padding"}


def _extended(x: Array, stride: Pair, extra: Pair) -> Array:
    """Append zeros to `x` for the windows that start in the output padding."""
    strides = pair("conv_transpose2d", "stride", stride, 1)
    extras = pair("conv_transpose2d", "output_padding", extra, 0)
    rows, columns = (e // s for e, s in zip(extras, strides, strict=True))
    if not rows and not columns:
        return x
    return pad(x, (*((0, 0),) * (len(x.shape) - 2), (0, rows), (0, columns)))


def _transposed_shape(
    x: Shape, w: Shape, stride: Pair, padding: Pair, extra: Pair, groups: int, dilation: Pair
) -> Shape:
    """Return the shape (N, OC, OH, OW) of a transposed convolution."""
    name = "conv_transpose2d"
    if len(x) not in (3, 4) or len(w) != 4 or x[-3] != w[0]:
        raise ValueError(
            f"{name}: x has shape {x} and w {w}; expected (N, C, H, W) or (C, H, W), and "
            "(C, OC / groups, KH, KW)"
        )
    strides, paddings = pair(name, "stride", stride, 1), pair(name, "padding", padding, 0)
    dilations, extras = pair(name, "dilation", dilation, 1), pair(name, "output_padding", extra, 0)
    if any(e >= max(s, d) for e, s, d in zip(extras, strides, dilations, strict=True)):
        raise ValueError(
            f"{name}: output_padding is {extra}, expected less than stride {stride} or dilation "
            f"{dilation}"
        )
    height, width = (
        (n - 1) * s - 2 * p + d * (k - 1) + e + 1
        for n, s, p, d, k, e in zip(
            x[-2:], strides, paddings, dilations, w[2:], extras, strict=True
        )
    )
    if height < 1 or width < 1:
        raise ValueError(f"{name}: padding {padding} leaves no output for x: {x}, w: {w}")
    return (*x[:-3], w[1] * groups, height, width)


# --- entries of the derivatives ------------------------------------------------------------------


@conv_transpose2d.entry("x")
def _(
    y: Index, letters: Letters, *, x_shape: Shape, w_shape: Shape, static: Options
) -> LocalEntry | None:
    axes = _strides_and_paddings(static)
    if axes is None:
        return None
    channel = letters.fresh(w_shape[0])
    cells = [letters.fresh(n) for n in x_shape[-2:]]
    offsets = [_offset(i, (s, k), p) for i, k, (s, p) in zip(y[-2:], cells, axes, strict=True)]
    kernel = [offset if n > 1 else "" for offset, n in zip(offsets, w_shape[2:], strict=True)]
    thin = [equal(offset, "0") for offset, n in zip(offsets, w_shape[2:], strict=True) if n == 1]
    weight = at("w", (channel, y[-3], *kernel))
    return (*y[:-3], channel, *cells), "·".join([weight, *[b for b in thin if b != "1"]])


@conv_transpose2d.entry("w")
def _(
    y: Index, letters: Letters, *, x_shape: Shape, w_shape: Shape, static: Options
) -> LocalEntry | None:
    axes = _strides_and_paddings(static)
    if axes is None:
        return None
    kernel = (letters.fresh(w_shape[0]), y[-3], *map(letters.fresh, w_shape[2:]))
    cells = [letters.fresh(n) for n in x_shape[-2:]]
    met = [
        equal(_offset(i, (1, r), p), place((s, k)))
        for i, r, k, (s, p) in zip(y[-2:], kernel[2:], cells, axes, strict=True)
    ]
    image = at("x", (*y[:-3], kernel[0], *cells))
    return kernel, "·".join([image, *[bracket for bracket in met if bracket != "1"]])


@conv_transpose2d.entry("bias")
def _(y: Index, letters: Letters) -> LocalEntry:
    return y[-3:-2], "1"


def _strides_and_paddings(static: Options) -> list[tuple[int, int]] | None:
    """Return stride and padding of each axis; None for groups or a dilation."""
    name = "conv_transpose2d"
    if static["groups"] != 1 or pair(name, "dilation", static["dilation"], 1) != (1, 1):
        return None
    strides = pair(name, "stride", static["stride"], 1)
    return list(zip(strides, pair(name, "padding", static["padding"], 0), strict=True))


def _offset(i: str, minus: tuple[int, str], padding: int) -> str:
    """Return the index i + padding − minus; "" stands for 0."""
    shown = place((1, i), constant=padding)
    step = place(minus)
    return f"{shown or '0'} − {step}" if step else shown
