"""Convolution, its two gradients and its transpose: ops that are each other's derivatives.

Convolution is bilinear. With C(x, w) the convolution, X(u, w) its input gradient and W(u, x) its
weight gradient, ⟨u, C(x, w)⟩ = ⟨X(u, w), x⟩ = ⟨W(u, x), w⟩ for all u, x and w. So each of the
three has the other two as derivatives. `engine/convolution/reference.py` states them as loops.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_cnn.core.declaration import Draw, Prose, Strategies
from tinygrad_cnn.core.op import op
from tinygrad_cnn.core.variable import Array
from tinygrad_cnn.engine import convolution as engine
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.engine.windows import Padding, Pair, Windows, pair, windows
from tinygrad_cnn.ops.entries import Index, Letters, LocalEntry, at, equal, place
from tinygrad_cnn.ops.indexing import getitem
from tinygrad_cnn.ops.padding import pad
from tinygrad_cnn.ops.reduction import sum as sum_over
from tinygrad_cnn.ops.shape import Options


@op(
    formula="x ∗ w + b",
    latex=r"x * w + b",
    role="affine",
    kind="convolution",
    aliases={"bias": "b"},
)
def conv2d(
    x: Array,
    w: Array,
    bias: Array | None = None,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Array:
    """Return the 2-D convolution (cross-correlation) of images with kernels.

    Parameters
    ----------
    x : Tensor or array_like
        Images of shape (N, C, H, W), or one of shape (C, H, W); N may be 0.
    w : Tensor or array_like
        Kernels of shape (OC, C / groups, KH, KW).
    bias : Tensor or array_like, optional
        Of shape (OC,).
    stride, dilation : int or (int, int)
        The step between windows, and between the cells of a window.
    padding : int, (int, int), ((int, int), (int, int)), "same" or "valid"
        Zeros added on each side of height and width, or ``((top, bottom), (left, right))``.
        ``"valid"`` adds none. ``"same"`` gives ⌈H / stride⌉ rows; of an odd number of zeros the
        larger half comes at the end, as in TensorFlow and in ONNX's SAME_UPPER.
    groups : int
        The number of groups of channels; each group is convolved separately.

    Returns
    -------
    Tensor
        Of shape (N, OC, OH, OW), with OH = ⌊(H + 2·padding − dilation·(KH − 1) − 1) / stride⌋ + 1;
        without N for an image without.

    Raises
    ------
    ValueError
        If the shapes do not match each other or the options.

    Notes
    -----
    y[n, o, i, j] = b[o] + Σ_{c, k, l} x[n, c, i·stride + k·dilation − padding, …] · w[o, c, k, l]:
    section 0.2.1 of the text.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> image = tg.Tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]])
    >>> tg.conv2d(image, tg.Tensor([[[[-1.0, 1.0]]]])).numpy()
    array([[[[1., 1.],
             [1., 1.]]]], dtype=float32)
    """
    at = _windows("conv2d", "x", np.shape(x), np.shape(w), stride, padding, dilation, groups)
    if bias is not None and np.shape(bias) != (w.shape[0],):
        raise ValueError(f"conv2d: bias has shape {np.shape(bias)}, expected ({w.shape[0]},)")
    return _unbatched(engine.forward(_batched(x), w, bias, at, groups), x)


@conv2d.derivative("x", formula="g ∗ᵀ w", latex=r"g *^{\mathsf T} w")
def _(g: Array, *, w: Array, x_shape: Shape, static: Options) -> Array:
    return conv2d_input_gradient(g, w, x_shape, **static)


@conv2d.derivative("w", formula=Prose("Σ over windows of g·x"), latex=r"\sum_{\text{windows}} g\,x")
def _(g: Array, *, x: Array, w_shape: Shape, static: Options) -> Array:
    return conv2d_weight_gradient(g, x, w_shape, **static)


@conv2d.derivative("bias", formula=Prose("Σ over windows of g"), latex=r"\sum_{\text{windows}} g")
def _(g: Array) -> Array:
    return sum_over(g, (0, 2, 3) if len(g.shape) == 4 else (1, 2))


@op(formula="u ∗ᵀ w", latex=r"u *^{\mathsf T} w")
def conv2d_input_gradient(
    u: Array,
    w: Array,
    shape: Shape,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Array:
    """Return X(u, w), the gradient of `conv2d` with respect to its images.

    Parameters
    ----------
    u : Tensor or array_like
        The gradient of the output, of shape (N, OC, OH, OW) or (OC, OH, OW).
    w : Tensor or array_like
        The kernels, of shape (OC, C / groups, KH, KW).
    shape : tuple of int
        Of the images: (N, C, H, W) or (C, H, W).
    stride, padding, dilation, groups
        As for `conv2d`.

    Raises
    ------
    ValueError
        If `u` does not have the shape of such a convolution's output.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> u, w = tg.Tensor([[[[1.0, 10.0]]]]), tg.Tensor([[[[-1.0, 1.0]]]])
    >>> tg.conv2d_input_gradient(u, w, (1, 1, 1, 3)).numpy()
    array([[[[-1., -9., 10.]]]], dtype=float32)
    """
    name = "conv2d_input_gradient"
    at = _windows(name, "shape", shape, np.shape(w), stride, padding, dilation, groups)
    _check_output(name, u, (*shape[:-3], w.shape[0], *at.count))
    return _unbatched(engine.input_gradient(_batched(u), w, at, groups), u)


@conv2d_input_gradient.derivative("u", formula="g ∗ w", latex="g * w")
def _(g: Array, *, w: Array, static: Options) -> Array:
    return conv2d(g, w, None, **static)


@conv2d_input_gradient.derivative("w", formula=Prose("Σ over windows of u·g"),
                                  latex=r"\sum_{\text{windows}} u\,g")  # fmt: skip
def _(g: Array, *, u: Array, w_shape: Shape, static: Options) -> Array:
    return conv2d_weight_gradient(u, g, w_shape, **static)


@op(formula=Prose("Σ over windows of u·x"), latex=r"\sum_{\text{windows}} u\,x")
def conv2d_weight_gradient(
    u: Array,
    x: Array,
    shape: Shape,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Array:
    """Return W(u, x), the gradient of `conv2d` with respect to its kernels.

    Parameters
    ----------
    u : Tensor or array_like
        The gradient of the output, of shape (N, OC, OH, OW) or (OC, OH, OW).
    x : Tensor or array_like
        The images, of shape (N, C, H, W) or (C, H, W).
    shape : tuple of int
        Of the kernels: (OC, C / groups, KH, KW).
    stride, padding, dilation, groups
        As for `conv2d`.

    Raises
    ------
    ValueError
        If `u` does not have the shape of such a convolution's output.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> u, x = tg.Tensor([[[[1.0, 10.0]]]]), tg.Tensor([[[[1.0, 2.0, 3.0]]]])
    >>> tg.conv2d_weight_gradient(u, x, (1, 1, 1, 2)).numpy()
    array([[[[21., 32.]]]], dtype=float32)
    """
    name = "conv2d_weight_gradient"
    at = _windows(name, "x", np.shape(x), shape, stride, padding, dilation, groups)
    _check_output(name, u, (*x.shape[:-3], shape[0], *at.count))
    return engine.weight_gradient(_batched(u), _batched(x), at, groups)


@conv2d_weight_gradient.derivative("u", formula="x ∗ g", latex="x * g")
def _(g: Array, *, x: Array, static: Options) -> Array:
    return conv2d(x, g, None, **static)


@conv2d_weight_gradient.derivative("x", formula="u ∗ᵀ g", latex=r"u *^{\mathsf T} g")
def _(g: Array, *, u: Array, x_shape: Shape, static: Options) -> Array:
    return conv2d_input_gradient(u, g, x_shape, **static)


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
        without N for an `x` without.

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
    at = _windows(name, "output", shape, np.shape(w), stride, padding, dilation, groups)
    images = _batched(_extended(x, stride, output_padding))
    y = _unbatched(engine.input_gradient(images, w, at, groups), x)
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


@conv2d.multiply_adds
def _(y_shape: Shape, w_shape: Shape) -> int:
    return math.prod(y_shape) * math.prod(w_shape[1:])


@conv2d_input_gradient.multiply_adds
def _(u_shape: Shape, w_shape: Shape) -> int:
    return math.prod(u_shape) * math.prod(w_shape[1:])


@conv2d_weight_gradient.multiply_adds
def _(u_shape: Shape, shape: Shape) -> int:
    return math.prod(u_shape) * math.prod(shape[1:])


@conv_transpose2d.multiply_adds
def _(x_shape: Shape, w_shape: Shape) -> int:
    return math.prod(x_shape) * math.prod(w_shape[1:])


_NO_IMAGES, _NO_RESULTS, _KERNELS = (
    np.zeros((0, 2, 5, 5)),
    np.zeros((0, 3, 3, 3)),
    np.ones((3, 2, 3, 3)),
)
_IMAGE, _RESULT = np.arange(50.0).reshape(2, 5, 5) / 16, np.arange(27.0).reshape(3, 3, 3) / 16
"""An image and a result without a batch axis."""
_LARGE: list[Options] = [
    {"images": 2, "channels": 3, "out_channels": 5, "kernel": 3},  # few images: by columns
    # larger, with more channels: by tiles
    {"images": 4, "channels": 32, "out_channels": 32, "kernel": 3, "larger": 8},
    {"images": 8, "channels": 16, "out_channels": 16, "kernel": 3},  # more images: rows of windows
    {"images": 32, "channels": 16, "out_channels": 16, "kernel": 3},  # many images: by window
    # image gradient: by tiles for each phase
    {"images": 16, "channels": 16, "out_channels": 32, "kernel": 5, "stride": 2},
    {"images": 2, "channels": 40, "out_channels": 40, "kernel": 3, "groups": 40},  # depthwise
    {"images": 12, "channels": 24, "out_channels": 24, "kernel": 3, "groups": 24},
    # few channels: image gradient row by row
    {"images": 16, "channels": 3, "out_channels": 8, "kernel": 5, "stride": 2},
]
"""Convolutions for each algorithm, and for each way to assemble a gradient from them."""


@conv2d.calls(
    always=[{"x": _NO_IMAGES, "w": _KERNELS}, {"x": _IMAGE, "w": _KERNELS, "bias": np.ones(3)}],
    large=_LARGE,
)
def _(draw: Draw, s: Strategies, **size: Any) -> Any:
    at = draw(s.large_convolutions(**size) if size else s.convolutions())
    bias = draw(s.one_of(s.none(), s.arrays(at.y[1:2])))
    return {"x": draw(s.arrays(at.x)), "w": draw(s.arrays(at.w)), "bias": bias, **at.options}


@conv2d_input_gradient.calls(
    always=[
        {"u": _NO_RESULTS, "w": _KERNELS, "shape": _NO_IMAGES.shape},
        {"u": _RESULT, "w": _KERNELS, "shape": _IMAGE.shape},
    ],
    large=_LARGE,
)
def _(draw: Draw, s: Strategies, **size: Any) -> Any:
    at = draw(s.large_convolutions(**size) if size else s.convolutions())
    return {"u": draw(s.arrays(at.y)), "w": draw(s.arrays(at.w)), "shape": at.x, **at.options}


@conv2d_weight_gradient.calls(
    always=[
        {"u": _NO_RESULTS, "x": _NO_IMAGES, "shape": _KERNELS.shape},
        {"u": _RESULT, "x": _IMAGE, "shape": _KERNELS.shape},
    ],
    large=_LARGE,
)
def _(draw: Draw, s: Strategies, **size: Any) -> Any:
    at = draw(s.large_convolutions(**size) if size else s.convolutions())
    return {"u": draw(s.arrays(at.y)), "x": draw(s.arrays(at.x)), "shape": at.w, **at.options}


@conv_transpose2d.calls(
    always=[
        {"x": _NO_RESULTS, "w": _KERNELS},
        {"x": _RESULT, "w": _KERNELS, "bias": np.ones(2), "stride": 2, "output_padding": 1},
    ],
    large=_LARGE,
)
def _(draw: Draw, s: Strategies, **size: Any) -> Any:
    if size:
        at = draw(s.large_convolutions(**size)).transposed
    else:
        at = draw(s.transposed_convolutions())
    bias = draw(s.one_of(s.none(), s.arrays(at.y[1:2])))
    return {"x": draw(s.arrays(at.x)), "w": draw(s.arrays(at.w)), "bias": bias, **at.options}


def _windows(
    name: str,
    image: str,
    x: Shape,
    w: Shape,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> Windows:
    """Return the windows of a convolution of images of shape `x` with kernels of shape `w`."""
    if len(x) not in (3, 4):
        raise ValueError(f"{name}: {image} has shape {x}, expected (N, C, H, W) or (C, H, W)")
    if len(w) != 4 or 0 in w:
        raise ValueError(f"{name}: w has shape {w}, expected (OC, C / groups, KH, KW)")
    if not isinstance(groups, int | np.integer) or groups < 1:
        raise ValueError(f"{name}: groups is {groups!r}, expected an integer >= 1")
    if w[1] * groups != x[-3]:
        raise ValueError(
            f"{name}: {image} has {x[-3]} channels but w expects {w[1] * groups} "
            f"({image}: {x}, w: {w}, groups={groups})"
        )
    if w[0] % groups:
        raise ValueError(f"{name}: w has {w[0]} output channels, no multiple of groups={groups}")
    return windows(name, (x[-2], x[-1]), (w[2], w[3]), stride, padding, dilation)


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


def _batched(x: Array) -> Array:
    """Return images (N, C, H, W), with a batch axis added if `x` has none."""
    return x if x.ndim == 4 else x[np.newaxis]


def _unbatched(y: Array, x: Array) -> Array:
    """Return `y` without its batch axis if `x` has none."""
    return y if x.ndim == 4 else y[0]


def _check_output(name: str, u: Array, shape: Shape) -> None:
    if np.shape(u) != shape:
        raise ValueError(f"{name}: u has shape {np.shape(u)}, expected {shape}")


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


@conv2d.entry("x")
def _(y: Index, letters: Letters, *, x_shape: Shape, w_shape: Shape, static: Options) -> LocalEntry:
    x, w, inside, padded = _factors(y, letters, x_shape, w_shape, static)
    weight = "·".join([at("w", w), *inside])
    if not padded:
        return x, weight
    image = tuple(letters.fresh(n) for n in x_shape[-2:])
    held = [f"·{equal(r, k)}" for r, k in zip(image, x[-2:], strict=True) if r]
    return (*x[:-2], *image), weight + "".join(held)


@conv2d.entry("w")
def _(y: Index, letters: Letters, *, x_shape: Shape, w_shape: Shape, static: Options) -> LocalEntry:
    x, w, inside, _ = _factors(y, letters, x_shape, w_shape, static)
    return w, "·".join([at("x", x), *inside])


@conv2d.entry("bias")
@conv_transpose2d.entry("bias")
def _(y: Index, letters: Letters) -> LocalEntry:
    return y[-3:-2], "1"


def _factors(
    y: Index, letters: Letters, x_shape: Shape, w_shape: Shape, static: Options
) -> tuple[Index, Index, list[str], bool]:
    """Return the entries of image and kernel that are multiplied for an entry of the result.

    The index of the image is written in terms of the other two. On an axis of length 1 it is
    empty; a bracket then holds the condition. The flag tells whether it may be in the border.
    """
    stride, padding, dilation, groups = static.values()
    at = _windows("conv2d", "x", x_shape, w_shape, stride, padding, dilation, groups)
    axes = (at.rows, at.columns)
    outputs, channels = w_shape[:2]
    kernel = tuple(letters.fresh(n) for n in w_shape[1:])
    each = outputs // groups  # output channels per group
    channel = y[-3]
    group = channel if each == 1 or groups == 1 else f"⌊{channel} / {each}⌋"
    cells = [place((channels, group) if groups > 1 else (0, ""), (1, kernel[0]))] + [
        place((axis.stride, i), (axis.dilation, k), constant=-axis.before)
        for axis, i, k in zip(axes, y[-2:], kernel[1:], strict=True)
    ]
    lengths = x_shape[-3:]
    x = (*y[:-3], *("" if n == 1 else k or "0" for k, n in zip(cells, lengths, strict=True)))
    thin = [equal(k, "0") for k, n in zip(cells, lengths, strict=True) if n == 1]
    inside = [bracket for bracket in thin if bracket != "1"]
    return x, (channel, *kernel), inside, any(axis.before or axis.after for axis in axes)


@conv_transpose2d.entry("x")
def _(
    y: Index, letters: Letters, *, x_shape: Shape, w_shape: Shape, static: Options
) -> LocalEntry | None:
    axes = _turned(static)
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
    axes = _turned(static)
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


def _turned(static: Options) -> list[tuple[int, int]] | None:
    """Return stride and padding of each axis; None for groups or a dilation."""
    found = dict(static)
    groups, dilation = found.get("groups", 1), found.get("dilation", 1)
    if groups != 1 or tuple(np.atleast_1d(dilation)) not in ((1,), (1, 1)):
        return None
    return list(zip(_pair_of(found["stride"]), _pair_of(found["padding"]), strict=True))


def _offset(i: str, minus: tuple[int, str], padding: int) -> str:
    """Return the index i + padding − minus; "" stands for 0."""
    shown = place((1, i), constant=padding)
    step = place(minus)
    return f"{shown or '0'} − {step}" if step else shown


def _pair_of(value: Any) -> tuple[int, int]:
    pair = tuple(map(int, np.atleast_1d(value)))
    return pair * 2 if len(pair) == 1 else pair  # type: ignore[return-value]  # one or two
