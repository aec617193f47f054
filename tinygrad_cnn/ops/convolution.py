"""Convolution and its two gradients: three ops that are each other's derivatives.

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
from tinygrad_cnn.engine.windows import Padding, Pair, Windows, windows
from tinygrad_cnn.ops.entries import Index, Letters, LocalEntry, at, equal, place
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
        (OC, OH, OW) for a single image.

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
    at = convolution_windows(
        "conv2d", "x", np.shape(x), np.shape(w), stride, padding, dilation, groups
    )
    if bias is not None and np.shape(bias) != (w.shape[0],):
        raise ValueError(f"conv2d: bias has shape {np.shape(bias)}, expected ({w.shape[0]},)")
    return unbatched(engine.forward(batched(x), w, bias, at, groups), x)


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
    at = convolution_windows(name, "shape", shape, np.shape(w), stride, padding, dilation, groups)
    _check_output(name, u, (*shape[:-3], w.shape[0], *at.count))
    return unbatched(engine.input_gradient(batched(u), w, at, groups), u)


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
    at = convolution_windows(name, "x", np.shape(x), shape, stride, padding, dilation, groups)
    _check_output(name, u, (*x.shape[:-3], shape[0], *at.count))
    return engine.weight_gradient(batched(u), batched(x), at, groups)


@conv2d_weight_gradient.derivative("u", formula="x ∗ g", latex="x * g")
def _(g: Array, *, x: Array, static: Options) -> Array:
    return conv2d(x, g, None, **static)


@conv2d_weight_gradient.derivative("x", formula="u ∗ᵀ g", latex=r"u *^{\mathsf T} g")
def _(g: Array, *, u: Array, x_shape: Shape, static: Options) -> Array:
    return conv2d_input_gradient(u, g, x_shape, **static)


@conv2d.multiply_adds
def _(y_shape: Shape, w_shape: Shape) -> int:
    return math.prod(y_shape) * math.prod(w_shape[1:])


@conv2d_input_gradient.multiply_adds
def _(u_shape: Shape, w_shape: Shape) -> int:
    return math.prod(u_shape) * math.prod(w_shape[1:])


@conv2d_weight_gradient.multiply_adds
def _(u_shape: Shape, shape: Shape) -> int:
    return math.prod(u_shape) * math.prod(shape[1:])


NO_IMAGES, NO_RESULTS, KERNELS = (
    np.zeros((0, 2, 5, 5)),
    np.zeros((0, 3, 3, 3)),
    np.ones((3, 2, 3, 3)),
)
IMAGE, RESULT = np.arange(50.0).reshape(2, 5, 5) / 16, np.arange(27.0).reshape(3, 3, 3) / 16
"""An image and a result without a batch axis."""
LARGE: list[Options] = [
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
    always=[{"x": NO_IMAGES, "w": KERNELS}, {"x": IMAGE, "w": KERNELS, "bias": np.ones(3)}],
    large=LARGE,
)
def _(draw: Draw, s: Strategies, **size: Any) -> Any:
    at = draw(s.large_convolutions(**size) if size else s.convolutions())
    bias = draw(s.one_of(s.none(), s.arrays(at.y[1:2])))
    return {"x": draw(s.arrays(at.x)), "w": draw(s.arrays(at.w)), "bias": bias, **at.options}


@conv2d_input_gradient.calls(
    always=[
        {"u": NO_RESULTS, "w": KERNELS, "shape": NO_IMAGES.shape},
        {"u": RESULT, "w": KERNELS, "shape": IMAGE.shape},
    ],
    large=LARGE,
)
def _(draw: Draw, s: Strategies, **size: Any) -> Any:
    at = draw(s.large_convolutions(**size) if size else s.convolutions())
    return {"u": draw(s.arrays(at.y)), "w": draw(s.arrays(at.w)), "shape": at.x, **at.options}


@conv2d_weight_gradient.calls(
    always=[
        {"u": NO_RESULTS, "x": NO_IMAGES, "shape": KERNELS.shape},
        {"u": RESULT, "x": IMAGE, "shape": KERNELS.shape},
    ],
    large=LARGE,
)
def _(draw: Draw, s: Strategies, **size: Any) -> Any:
    at = draw(s.large_convolutions(**size) if size else s.convolutions())
    return {"u": draw(s.arrays(at.y)), "x": draw(s.arrays(at.x)), "shape": at.w, **at.options}


def convolution_windows(
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
        raise ValueError(
            f"{name}: w has {w[0]} output channels, expected a multiple of groups={groups}"
        )
    return windows(name, (x[-2], x[-1]), (w[2], w[3]), stride, padding, dilation)


def batched(x: Array) -> Array:
    """Return images (N, C, H, W), with a batch axis added if `x` has none."""
    return x if x.ndim == 4 else x[np.newaxis]


def unbatched(y: Array, x: Array) -> Array:
    """Return `y` without its batch axis if `x` has none."""
    return y if x.ndim == 4 else y[0]


def _check_output(name: str, u: Array, shape: Shape) -> None:
    if np.shape(u) != shape:
        raise ValueError(f"{name}: u has shape {np.shape(u)}, expected {shape}")


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
    at = convolution_windows("conv2d", "x", x_shape, w_shape, stride, padding, dilation, groups)
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
