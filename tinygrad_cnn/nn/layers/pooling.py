"""Pooling layers (section 0.2.2)."""

from __future__ import annotations

from typing import Any, ClassVar

from tinygrad_cnn import ops
from tinygrad_cnn.core.tensor import A
from tinygrad_cnn.engine.windows import Padding, Pair, pair
from tinygrad_cnn.nn.module import Parameterless
from tinygrad_cnn.ops.pooling import check_padding
from tinygrad_cnn.ops.signals import row_border
from tinygrad_cnn.support.arguments import border, ends, flag, numbers, single


class _Pooling(Parameterless):
    """Shared options of max and average pooling, of images and of signals."""

    _axes: ClassVar[int] = 2

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None,
        padding: Padding,
        dilation: Pair,
        ceil_mode: bool,
        wide_padding: bool,
    ) -> None:
        owner = type(self).__name__
        self.kernel_size = self._option("kernel_size", kernel_size, 1)
        self.stride = None if stride is None else self._option("stride", stride, 1)
        self.padding: Any = (border if self._axes == 2 else ends)(owner, padding)
        self.ceil_mode = flag(owner, "ceil_mode", ceil_mode)
        self.wide_padding = flag(owner, "wide_padding", wide_padding)
        kernel = pair(owner, "kernel_size", self.kernel_size, 1)
        sides = self.padding
        if self._axes == 1:
            kernel, sides = (1, kernel[1]), row_border(owner, padding)
        check_padding(owner, kernel, sides, dilation, wide_padding)

    def _option(self, argument: str, value: Any, least: int) -> Any:
        """Return an option: an integer, or for images also a pair."""
        return (numbers if self._axes == 2 else single)(type(self).__name__, argument, value, least)


class MaxPool2d(_Pooling):
    """Max pooling, the maximum of each window: `tinygrad_cnn.maxpool`.

    Parameters
    ----------
    kernel_size : int or (int, int)
        The size of a window.
    stride : int or (int, int), optional
        The step between windows; by default `kernel_size`.
    padding : int, (int, int), ((int, int), (int, int)), "same" or "valid"
        A border as for `Conv2d`. It is never the maximum, and at most half a window wide: see
        `wide_padding`.
    dilation : int or (int, int)
        The step between the elements of a window.
    ceil_mode : bool
        Whether to include a last window that extends beyond the edge.
    wide_padding : bool
        Allow any border narrower than a window, as ONNX does.

    Raises
    ------
    ValueError
        If an argument is out of range. On a call, if no window fits.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.MaxPool2d(2)(tg.Tensor([[[[1.0, 2.0], [4.0, 3.0]]]])).item()
    4.0
    """

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Padding = 0,
        dilation: Pair = 1,
        *,
        ceil_mode: bool = False,
        wide_padding: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding, dilation, ceil_mode, wide_padding)
        self.dilation = numbers(type(self).__name__, "dilation", dilation, 1)

    def forward(self, x: A) -> A:
        """Return the maxima, (N, C, OH, OW), of `x`, (N, C, H, W); N may be left out."""
        return ops.maxpool(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.wide_padding,
        )


class AvgPool2d(_Pooling):
    """Average pooling, the mean of each window: `tinygrad_cnn.avgpool`.

    Parameters
    ----------
    kernel_size, stride, padding, ceil_mode, wide_padding
        As for `MaxPool2d`; the border counts as zeros.
    count_include_pad : bool
        Whether the divisor counts the border.

    Raises
    ------
    ValueError
        If an argument is out of range. On a call, if no window fits.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.AvgPool2d(2)(tg.Tensor([[[[1.0, 2.0], [4.0, 3.0]]]])).item()
    2.5
    """

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        *,
        wide_padding: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding, 1, ceil_mode, wide_padding)
        self.count_include_pad = flag(type(self).__name__, "count_include_pad", count_include_pad)

    def forward(self, x: A) -> A:
        """Return the means, (N, C, OH, OW), of `x`, (N, C, H, W); N may be left out."""
        return ops.avgpool(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.wide_padding,
        )


class GlobalAvgPool2d(Parameterless):
    """Global average pooling: `tinygrad_cnn.global_avgpool`, (N, C, H, W) → (N, C).

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.GlobalAvgPool2d()(tg.Tensor([[[[1.0, 2.0], [4.0, 3.0]]]]))
    Tensor([[2.5]])
    """

    def forward(self, x: A) -> A:
        """Return the means, of shape (N, C), for `x` of shape (N, C, H, W); N may be left out."""
        return ops.global_avgpool(x)


class MaxPool1d(_Pooling):
    """Max pooling of signals: `tinygrad_cnn.maxpool1d`.

    Parameters
    ----------
    kernel_size, stride, dilation : int
        As for `MaxPool2d`.
    padding : int, (int, int), "same" or "valid"
        A border that is never the maximum, at both ends or at the beginning and at the end.
    ceil_mode : bool
        As for `MaxPool2d`.

    Raises
    ------
    ValueError
        If an argument is out of range. On a call, if no window fits.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.MaxPool1d(2)(tg.Tensor([[1.0, 2.0, 4.0, 3.0]]))
    Tensor([[2., 4.]])
    """

    _axes = 1

    def __init__(
        self,
        kernel_size: int,
        stride: int | None = None,
        padding: int | tuple[int, int] | str = 0,
        dilation: int = 1,
        *,
        ceil_mode: bool = False,
    ) -> None:
        self.dilation = self._option("dilation", dilation, 1)
        super().__init__(kernel_size, stride, padding, self.dilation, ceil_mode, False)

    def forward(self, x: A) -> A:
        """Return the maxima, (N, C, OL), of `x`, (N, C, L); N may be left out."""
        options = (self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)
        return ops.maxpool1d(x, *options)


class AvgPool1d(_Pooling):
    """Average pooling of signals: `tinygrad_cnn.avgpool1d`.

    Parameters
    ----------
    kernel_size, stride, padding, ceil_mode
        As for `MaxPool1d`; the border counts as zeros.
    count_include_pad : bool
        Whether the divisor counts the border.

    Raises
    ------
    ValueError
        If an argument is out of range. On a call, if no window fits.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.AvgPool1d(2)(tg.Tensor([[1.0, 2.0, 4.0, 3.0]]))
    Tensor([[1.5, 3.5]])
    """

    _axes = 1

    def __init__(
        self,
        kernel_size: int,
        stride: int | None = None,
        padding: int | tuple[int, int] | str = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding, 1, ceil_mode, False)
        self.count_include_pad = flag(type(self).__name__, "count_include_pad", count_include_pad)

    def forward(self, x: A) -> A:
        """Return the means, (N, C, OL), of `x`, (N, C, L); N may be left out."""
        options = (self.kernel_size, self.stride, self.padding, self.ceil_mode)
        return ops.avgpool1d(x, *options, self.count_include_pad)
