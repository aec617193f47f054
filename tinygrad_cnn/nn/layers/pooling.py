"""Pooling layers (section 0.2.2)."""

from __future__ import annotations

from tinygrad_cnn import ops
from tinygrad_cnn.core.tensor import A
from tinygrad_cnn.engine.windows import Padding, Pair, pair
from tinygrad_cnn.nn.module import Parameterless
from tinygrad_cnn.ops.pooling import check_padding
from tinygrad_cnn.support.arguments import border, flag, numbers


class _Pooling(Parameterless):
    """Shared options of max and average pooling."""

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
        self.kernel_size = numbers(owner, "kernel_size", kernel_size, 1)
        self.stride = None if stride is None else numbers(owner, "stride", stride, 1)
        self.padding = border(owner, padding)
        self.ceil_mode = flag(owner, "ceil_mode", ceil_mode)
        self.wide_padding = flag(owner, "wide_padding", wide_padding)
        kernel = pair(owner, "kernel_size", self.kernel_size, 1)
        check_padding(owner, kernel, self.padding, dilation, wide_padding)


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
