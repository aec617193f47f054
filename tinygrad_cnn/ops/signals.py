"""Convolution and pooling of signals (N, C, L): those of images of height 1."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tinygrad_cnn.core.composition import composition
from tinygrad_cnn.core.variable import Array
from tinygrad_cnn.engine.windows import Padding
from tinygrad_cnn.ops.convolution import conv2d
from tinygrad_cnn.ops.pooling import avgpool, maxpool
from tinygrad_cnn.ops.shape import reshape, shape_of
from tinygrad_cnn.ops.transposed_convolution import conv_transpose2d
from tinygrad_cnn.support.arguments import ends, single


@composition(formula="x ∗ w + b")
def conv1d(
    x: Array,
    w: Array,
    bias: Array | None = None,
    stride: int = 1,
    padding: int | tuple[int, int] | str = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Array:
    """Return the convolution (cross-correlation) of signals with kernels.

    Parameters
    ----------
    x : Tensor or array_like
        Signals of shape (N, C, L), or one of shape (C, L).
    w : Tensor or array_like
        Kernels of shape (OC, C / groups, K).
    bias : Tensor or array_like, optional
        Of shape (OC,).
    stride, dilation : int
        The step between windows, and between the cells of a window.
    padding : int, (int, int), "same" or "valid"
        Zeros added at both ends, or at the beginning and at the end; names as for `conv2d`.
    groups : int
        The number of groups of channels; each group is convolved separately.

    Returns
    -------
    Tensor
        Of shape (N, OC, OL), with OL = ⌊(L + 2·padding − dilation·(K − 1) − 1) / stride⌋ + 1.

    Raises
    ------
    ValueError
        If the shapes do not match each other or the options.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.conv1d(tg.Tensor([[1.0, 2.0, 4.0]]), tg.Tensor([[[-1.0, 1.0]]]))
    Tensor([[1., 2.]])
    """
    with _named("conv1d", "conv2d"):
        x, w = _image("conv1d", "x", x, (2, 3)), _image("conv1d", "w", w, (3,))
        steps = _row("conv1d", "stride", stride, 1), _row("conv1d", "dilation", dilation, 1)
        return _signal(
            conv2d(x, w, bias, steps[0], row_border("conv1d", padding), steps[1], groups)
        )


@composition(formula="x ∗ᵀ w + b")
def conv_transpose1d(
    x: Array,
    w: Array,
    bias: Array | None = None,
    stride: int = 1,
    padding: int = 0,
    output_padding: int = 0,
    groups: int = 1,
    dilation: int = 1,
) -> Array:
    """Return the transposed convolution of signals: the adjoint of `conv1d`.

    Parameters
    ----------
    x : Tensor or array_like
        Of shape (N, C, L) or (C, L).
    w : Tensor or array_like
        Of shape (C, OC / groups, K).
    bias : Tensor or array_like, optional
        Of shape (OC,).
    stride, padding, output_padding, groups, dilation : int
        As for `conv_transpose2d`.

    Returns
    -------
    Tensor
        Of shape (N, OC, OL), with
        OL = (L − 1)·stride − 2·padding + dilation·(K − 1) + output_padding + 1.

    Raises
    ------
    ValueError
        If the shapes do not match each other or the options.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.conv_transpose1d(tg.Tensor([[1.0, 10.0]]), tg.Tensor([[[1.0, 2.0]]]), stride=2)
    Tensor([[ 1.,  2., 10., 20.]])
    """
    name = "conv_transpose1d"
    with _named(name, "conv_transpose2d"):
        return _signal(
            conv_transpose2d(
                _image(name, "x", x, (2, 3)),
                _image(name, "w", w, (3,)),
                bias,
                _row(name, "stride", stride, 1),
                _row(name, "padding", padding, 0),
                _row(name, "output_padding", output_padding, 0),
                groups,
                _row(name, "dilation", dilation, 1),
            )
        )


@composition(formula="max of x under each window")
def maxpool1d(
    x: Array,
    kernel_size: int = 2,
    stride: int | None = None,
    padding: int | tuple[int, int] | str = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
) -> Array:
    """Return the largest value under each window of signals, as `maxpool` does for images.

    Parameters
    ----------
    x : Tensor or array_like
        Of shape (N, C, L) or (C, L).
    kernel_size, stride, padding, dilation, ceil_mode
        As for `maxpool` and `conv1d`.

    Raises
    ------
    ValueError
        If an option is out of range or no window fits.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.maxpool1d(tg.Tensor([[1.0, 2.0, 5.0, 0.0]]), 2)
    Tensor([[2., 5.]])
    """
    name = "maxpool1d"
    with _named(name, "maxpool"):
        kernel, steps = _row(name, "kernel_size", kernel_size, 1), _steps(name, stride)
        border, cells = row_border(name, padding), _row(name, "dilation", dilation, 1)
        image = _image(name, "x", x, (2, 3))
        return _signal(maxpool(image, kernel, steps, border, cells, ceil_mode))


@composition(formula="mean of x under each window")
def avgpool1d(
    x: Array,
    kernel_size: int = 2,
    stride: int | None = None,
    padding: int | tuple[int, int] | str = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """Return the mean under each window of signals, as `avgpool` does for images.

    Parameters
    ----------
    x : Tensor or array_like
        Of shape (N, C, L) or (C, L).
    kernel_size, stride, padding, ceil_mode, count_include_pad
        As for `avgpool` and `conv1d`.

    Raises
    ------
    ValueError
        If an option is out of range or no window fits.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.avgpool1d(tg.Tensor([[1.0, 2.0, 5.0, 0.0]]), 2)
    Tensor([[1.5, 2.5]])
    """
    name = "avgpool1d"
    with _named(name, "avgpool"):
        kernel, steps = _row(name, "kernel_size", kernel_size, 1), _steps(name, stride)
        image, border = _image(name, "x", x, (2, 3)), row_border(name, padding)
        return _signal(avgpool(image, kernel, steps, border, ceil_mode, count_include_pad))


@contextmanager
def _named(name: str, image_op: str) -> Iterator[None]:
    """Give an error of the op for images the name of the function for signals."""
    try:
        yield
    except ValueError as error:
        text = str(error)
        if not text.startswith(f"{image_op}:"):
            raise
        raise ValueError(f"{name}{text[len(image_op) :]}, as images of height 1") from None


def _image(name: str, argument: str, x: Array, axes: tuple[int, ...]) -> Array:
    """Return `x` with an axis of length 1 before its last one."""
    shape = shape_of(x)
    if len(shape) not in axes:
        expected = "(OC, C / groups, K)" if argument == "w" else "(N, C, L) or (C, L)"
        raise ValueError(f"{name}: {argument} has shape {shape}, expected {expected}")
    return reshape(x, (*shape[:-1], 1, shape[-1]))


def _signal(y: Array) -> Array:
    """Return `y` without the axis of length 1 before its last one."""
    shape = shape_of(y)
    return reshape(y, (*shape[:-2], shape[-1]))


def _row(name: str, argument: str, value: Any, least: int) -> tuple[int, int]:
    """Return an option of a signal as that of an image of height 1."""
    return least, single(name, argument, value, least)


def _steps(name: str, stride: Any) -> tuple[int, int] | None:
    return None if stride is None else _row(name, "stride", stride, 1)


def row_border(name: str, padding: Any) -> Padding:
    """Return the padding of a signal as that of an image of height 1."""
    padding = ends(name, padding)
    if isinstance(padding, tuple):
        return (0, 0), padding
    return padding if isinstance(padding, str) else (0, padding)
