"""Adaptive pooling: windows that divide an image into a given number of rows and columns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_cnn.core.composition import composition
from tinygrad_cnn.core.effects import constant
from tinygrad_cnn.core.variable import Array
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.ops.indexing import getitem
from tinygrad_cnn.ops.pooling import avgpool, maxpool
from tinygrad_cnn.ops.reduction import max as max_over
from tinygrad_cnn.ops.reduction import mean
from tinygrad_cnn.ops.resampling import bounds, resample
from tinygrad_cnn.ops.shape import reshape, shape_of
from tinygrad_cnn.support.arguments import whole

_FEW = 16  # cells up to which a window is averaged cell by cell


@composition(formula="mean of x over OH × OW windows that cover it")
def adaptive_avgpool(x: Array, output_size: int | tuple[int | None, int | None]) -> Array:
    """Return the means of windows that divide the image into a given number of rows and columns.

    Window i of m covers the cells ⌊i·n/m⌋ to ⌈(i + 1)·n/m⌉ of an axis of length n, as in PyTorch.

    Parameters
    ----------
    x : Tensor or array_like
        Of shape (N, C, H, W) or (C, H, W).
    output_size : int or (int or None, int or None)
        The number of rows and of columns; None keeps that of `x`.

    Returns
    -------
    Tensor
        Of shape (N, C, OH, OW), or (C, OH, OW).

    Raises
    ------
    ValueError
        If `x` has other axes, or `output_size` is not one of those.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.adaptive_avgpool(tg.Tensor([[[[1.0, 2.0, 6.0]]]]), (1, 2)).numpy()
    array([[[[1.5, 4. ]]]], dtype=float32)
    """
    old, new = _adapted("adaptive_avgpool", shape_of(x), output_size)
    if new == (1, 1):
        return mean(x, (-2, -1), True)
    kernel = (old[0] // new[0], old[1] // new[1])
    if all(n % m == 0 for n, m in zip(old, new, strict=True)) and math.prod(kernel) <= _FEW:
        return avgpool(x, kernel)
    return resample(x, old, new, "area")


@composition(formula="max of x over OH × OW windows that cover it")
def adaptive_maxpool(x: Array, output_size: int | tuple[int | None, int | None]) -> Array:
    """Return the maxima of windows that divide the image into a given number of rows and columns.

    The windows are those of `adaptive_avgpool`; of equal values the first gets the gradient.

    Parameters
    ----------
    x : Tensor or array_like
        Of shape (N, C, H, W) or (C, H, W).
    output_size : int or (int or None, int or None)
        The number of rows and of columns; None keeps that of `x`.

    Raises
    ------
    ValueError
        If `x` has other axes, or `output_size` is not one of those.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.adaptive_maxpool(tg.Tensor([[[[1.0, 2.0, 6.0]]]]), (1, 2)).numpy()
    array([[[[2., 6.]]]], dtype=float32)
    """
    old, new = _adapted("adaptive_maxpool", shape_of(x), output_size)
    if new == (1, 1):
        return max_over(x, (-2, -1), True)
    kernel = []
    for axis, (n, m) in enumerate(zip(old, new, strict=True), start=-2):
        first, last = bounds(n, m)
        kernel.append(int((last - first).max()))
        if n % m:  # windows of one length: a shorter one has its last cell twice
            cells = [
                np.minimum(a + np.arange(kernel[-1]), b - 1)
                for a, b in zip(first, last, strict=True)
            ]
            ahead = (slice(None),) * (len(shape_of(x)) + axis)
            x = getitem(x, (*ahead, constant(np.concatenate(cells))))
    return maxpool(x, (kernel[0], kernel[1]))


@composition(formula="mean of x over OL windows that cover it")
def adaptive_avgpool1d(x: Array, output_size: int) -> Array:
    """Return the means of `output_size` windows that divide a signal: see `adaptive_avgpool`.

    Parameters
    ----------
    x : Tensor or array_like
        Of shape (N, C, L) or (C, L).
    output_size : int
        The new length.

    Raises
    ------
    ValueError
        If `x` has other axes, or `output_size` is below 1.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.adaptive_avgpool1d(tg.Tensor([[1.0, 2.0, 6.0]]), 2)
    Tensor([[1.5, 4. ]])
    """
    image, size = _signal("adaptive_avgpool1d", x, output_size)
    y = adaptive_avgpool(image, (1, size))
    return reshape(y, (*shape_of(x)[:-1], size))


@composition(formula="max of x over OL windows that cover it")
def adaptive_maxpool1d(x: Array, output_size: int) -> Array:
    """Return the maxima of `output_size` windows that divide a signal: see `adaptive_maxpool`.

    Parameters
    ----------
    x : Tensor or array_like
        Of shape (N, C, L) or (C, L).
    output_size : int
        The new length.

    Raises
    ------
    ValueError
        If `x` has other axes, or `output_size` is below 1.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.adaptive_maxpool1d(tg.Tensor([[1.0, 2.0, 6.0]]), 2)
    Tensor([[2., 6.]])
    """
    image, size = _signal("adaptive_maxpool1d", x, output_size)
    y = adaptive_maxpool(image, (1, size))
    return reshape(y, (*shape_of(x)[:-1], size))


def _adapted(name: str, shape: Shape, output_size: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the size of the image and that of the result."""
    if len(shape) not in (3, 4) or 0 in shape[-2:]:
        raise ValueError(f"{name}: x has shape {shape}, expected (N, C, H, W) or (C, H, W)")
    each = output_size if isinstance(output_size, tuple | list) else (output_size, output_size)
    if len(each) != 2:
        raise ValueError(f"{name}: output_size is {output_size!r}, expected an integer or a pair")
    new = [n if m is None else whole(name, "output_size", m)
           for n, m in zip(shape[-2:], each, strict=True)]  # fmt: skip
    return (shape[-2], shape[-1]), (new[0], new[1])


def _signal(name: str, x: Array, output_size: Any) -> tuple[Array, int]:
    """Return a signal as an image of height 1, and the new length."""
    shape = shape_of(x)
    if len(shape) not in (2, 3) or shape[-1] == 0:
        raise ValueError(f"{name}: x has shape {shape}, expected (N, C, L) or (C, L)")
    if isinstance(output_size, tuple | list) and len(output_size) == 1:
        output_size = output_size[0]
    size = shape[-1] if output_size is None else whole(name, "output_size", output_size)
    return reshape(x, (*shape[:-1], 1, shape[-1])), size
