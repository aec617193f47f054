"""Layers that resize, pad and rearrange images."""

from __future__ import annotations

from typing import Any, ClassVar

from tinygrad_cnn import ops
from tinygrad_cnn.core.tensor import A
from tinygrad_cnn.engine.windows import Pair
from tinygrad_cnn.nn.module import Parameterless
from tinygrad_cnn.support.arguments import choice, numbers, whole

MODES = ("nearest", "linear", "bilinear", "bicubic", "area", "nearest-exact")


class Upsample(Parameterless):
    """Images or signals at another size: `tinygrad_cnn.interpolate`.

    Parameters
    ----------
    size : int or (int, int), optional
        The new height and width, or length.
    scale_factor : float or (float, float), optional
        The new size as a multiple of the old one. Exactly one of the two is given.
    mode : {"nearest", "linear", "bilinear", "bicubic", "area", "nearest-exact"}
        ``"linear"`` is for signals, ``"bilinear"`` and ``"bicubic"`` for images.
    align_corners : bool, optional
        Whether the centers of the first and the last cell stay where they are.

    Raises
    ------
    ValueError
        If an argument is out of range. On a call, if it does not fit the input.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.Upsample(scale_factor=2)(tg.Tensor([[[1.0, 2.0]]]))
    Tensor([[[1., 1., 2., 2.]]])
    """

    def __init__(
        self,
        size: Pair | None = None,
        scale_factor: float | tuple[float, float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
    ) -> None:
        owner = type(self).__name__
        if (size is None) == (scale_factor is None):
            raise ValueError(
                f"{owner}: size is {size} and scale_factor {scale_factor}, expected exactly one"
            )
        self.size = size
        self.scale_factor = scale_factor
        self.mode = choice(owner, "mode", mode, MODES)
        self.align_corners = choice(owner, "align_corners", align_corners, (None, True, False))

    def forward(self, x: A) -> A:
        """Return the result, of shape (N, C, OH, OW), for `x` of shape (N, C, H, W)."""
        corners = bool(self.align_corners)
        return ops.interpolate(x, self.size, self.scale_factor, self.mode, corners)


class _Border(Parameterless):
    """A border around images: its widths, one for all sides or left, right, top and bottom."""

    _mode: ClassVar[str]

    def __init__(self, padding: int | tuple[int, int, int, int]) -> None:
        owner = type(self).__name__
        sides: Any = padding if isinstance(padding, tuple | list) else (padding,) * 4
        if len(sides) != 4:
            raise ValueError(
                f"{owner}: padding is {padding!r}, expected an integer or (left, right, top, "
                "bottom)"
            )
        self.padding = tuple(whole(owner, "padding", width, 0) for width in sides)

    def forward(self, x: A) -> A:
        """Return `x`, of shape (N, C, H, W) or (C, H, W), with the border."""
        left, right, top, bottom = self.padding
        axes: int = len(x.shape)
        if axes not in (3, 4):
            raise ValueError(
                f"{type(self).__name__}: x has shape {x.shape}, expected (N, C, H, W) or (C, H, W)"
            )
        widths = (*((0, 0),) * (axes - 2), (top, bottom), (left, right))
        return ops.pad(x, widths, self._mode)


class ZeroPad2d(_Border):
    """A border of zeros around images.

    Parameters
    ----------
    padding : int or (int, int, int, int)
        The width of the border: of all sides, or left, right, top and bottom.

    Raises
    ------
    ValueError
        If a width is negative. On a call, if `x` has neither 3 nor 4 axes.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.ZeroPad2d((1, 0, 0, 0))(tg.Tensor([[[5.0]]]))
    Tensor([[[0., 5.]]])
    """

    _mode = "constant"


class ReflectionPad2d(_Border):
    """A border around images that mirrors them, without repeating the pixels at the edge.

    Parameters and errors as for `ZeroPad2d`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.ReflectionPad2d((2, 0, 0, 0))(tg.Tensor([[[1.0, 2.0, 3.0]]]))
    Tensor([[[3., 2., 1., 2., 3.]]])
    """

    _mode = "reflect"


class ReplicationPad2d(_Border):
    """A border around images with the nearest pixel.

    Parameters and errors as for `ZeroPad2d`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.ReplicationPad2d((2, 0, 0, 0))(tg.Tensor([[[1.0, 2.0, 3.0]]]))
    Tensor([[[1., 1., 1., 2., 3.]]])
    """

    _mode = "edge"


class CircularPad2d(_Border):
    """A border around images with the pixels of the opposite side.

    Parameters and errors as for `ZeroPad2d`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.CircularPad2d((2, 0, 0, 0))(tg.Tensor([[[1.0, 2.0, 3.0]]]))
    Tensor([[[2., 3., 1., 2., 3.]]])
    """

    _mode = "wrap"


class PixelShuffle(Parameterless):
    """Each r² channels as r × r pixels: `tinygrad_cnn.pixel_shuffle`.

    Parameters
    ----------
    upscale_factor : int
        r, 1 or more.

    Raises
    ------
    ValueError
        If `upscale_factor` is below 1. On a call, if the channels are not multiples of r².

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> tg.nn.PixelShuffle(3)(np.zeros((1, 9, 4, 4), "f4")).shape
    (1, 1, 12, 12)
    """

    def __init__(self, upscale_factor: int) -> None:
        self.upscale_factor = whole(type(self).__name__, "upscale_factor", upscale_factor)

    def forward(self, x: A) -> A:
        """Return the images, (..., C, H·r, W·r), for `x` of shape (..., C·r², H, W)."""
        return ops.pixel_shuffle(x, self.upscale_factor)


class PixelUnshuffle(Parameterless):
    """Each r × r pixels as r² channels: `tinygrad_cnn.pixel_unshuffle`.

    Parameters
    ----------
    downscale_factor : int
        r, 1 or more.

    Raises
    ------
    ValueError
        If `downscale_factor` is below 1. On a call, if height or width is not a multiple of r.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> tg.nn.PixelUnshuffle(3)(np.zeros((1, 1, 12, 12), "f4")).shape
    (1, 9, 4, 4)
    """

    def __init__(self, downscale_factor: int) -> None:
        self.downscale_factor = whole(type(self).__name__, "downscale_factor", downscale_factor)

    def forward(self, x: A) -> A:
        """Return the images, (..., C·r², H, W), for `x` of shape (..., C, H·r, W·r)."""
        return ops.pixel_unshuffle(x, self.downscale_factor)


class Unfold(Parameterless):
    """The cells under each window as a column: `tinygrad_cnn.unfold`.

    Parameters
    ----------
    kernel_size, dilation, padding, stride : int or (int, int)
        The size of a window, the step between its cells, the zeros around the image, and the step
        between windows.

    Raises
    ------
    ValueError
        If an argument is out of range. On a call, if no window fits.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> tg.nn.Unfold((2, 3))(np.zeros((2, 5, 3, 4), "f4")).shape
    (2, 30, 4)
    """

    def __init__(
        self, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0, stride: Pair = 1
    ) -> None:
        owner = type(self).__name__
        self.kernel_size = numbers(owner, "kernel_size", kernel_size, 1)
        self.dilation = numbers(owner, "dilation", dilation, 1)
        self.padding = numbers(owner, "padding", padding, 0)
        self.stride = numbers(owner, "stride", stride, 1)

    def forward(self, x: A) -> A:
        """Return the columns, (N, C·KH·KW, L), of images `x`, (N, C, H, W); N may be left out."""
        return ops.unfold(x, self.kernel_size, self.dilation, self.padding, self.stride)


class Fold(Parameterless):
    """Columns added at the cells of their windows: `tinygrad_cnn.fold`.

    Parameters
    ----------
    output_size : int or (int, int)
        The height and width of the images.
    kernel_size, dilation, padding, stride : int or (int, int)
        As for `Unfold`.

    Raises
    ------
    ValueError
        If an argument is out of range. On a call, if `x` has other columns.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> tg.nn.Fold((4, 5), (2, 2))(np.zeros((1, 12, 12), "f4")).shape
    (1, 3, 4, 5)
    """

    def __init__(
        self,
        output_size: Pair,
        kernel_size: Pair,
        dilation: Pair = 1,
        padding: Pair = 0,
        stride: Pair = 1,
    ) -> None:
        owner = type(self).__name__
        self.output_size = numbers(owner, "output_size", output_size, 1)
        self.kernel_size = numbers(owner, "kernel_size", kernel_size, 1)
        self.dilation = numbers(owner, "dilation", dilation, 1)
        self.padding = numbers(owner, "padding", padding, 0)
        self.stride = numbers(owner, "stride", stride, 1)

    def forward(self, x: A) -> A:
        """Return the images, (N, C, H, W), for `x` of shape (N, C·KH·KW, L)."""
        options = (self.dilation, self.padding, self.stride)
        return ops.fold(x, self.output_size, self.kernel_size, *options)
