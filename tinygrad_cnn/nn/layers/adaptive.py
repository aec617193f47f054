"""Adaptive pooling layers."""

from __future__ import annotations

from typing import Any

from tinygrad_cnn import ops
from tinygrad_cnn.core.tensor import A
from tinygrad_cnn.nn.module import Parameterless
from tinygrad_cnn.support.arguments import single, whole

OutputSize = int | tuple[int | None, int | None]


class _Adaptive(Parameterless):
    """The size of the result of adaptive pooling."""

    def __init__(self, output_size: OutputSize) -> None:
        owner = type(self).__name__
        sizes = output_size if isinstance(output_size, tuple | list) else (output_size,) * 2
        if len(sizes) != 2:
            raise ValueError(
                f"{owner}: output_size is {output_size!r}, expected an integer >= 1, or a pair"
            )
        kept: Any = tuple(n if n is None else whole(owner, "output_size", n) for n in sizes)
        self.output_size = kept if isinstance(output_size, tuple | list) else kept[0]


class _AdaptiveOfSignals(Parameterless):
    """The length of the result of adaptive pooling."""

    def __init__(self, output_size: int) -> None:
        self.output_size = single(type(self).__name__, "output_size", output_size, 1)


class AdaptiveAvgPool2d(_Adaptive):
    """Average pooling to a given size: `tinygrad_cnn.adaptive_avgpool`.

    Parameters
    ----------
    output_size : int or (int or None, int or None)
        The height and width of the result; None keeps that of the input.

    Raises
    ------
    ValueError
        If `output_size` is none of those.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> tg.nn.AdaptiveAvgPool2d((5, None))(np.zeros((64, 8, 9, 7), "f4")).shape
    (64, 8, 5, 7)
    """

    def forward(self, x: A) -> A:
        """Return the means, (N, C, OH, OW), of `x`, (N, C, H, W); N may be left out."""
        return ops.adaptive_avgpool(x, self.output_size)


class AdaptiveMaxPool2d(_Adaptive):
    """Max pooling to a given size: `tinygrad_cnn.adaptive_maxpool`.

    Parameters
    ----------
    output_size : int or (int or None, int or None)
        The height and width of the result; None keeps that of the input.

    Raises
    ------
    ValueError
        If `output_size` is none of those.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> tg.nn.AdaptiveMaxPool2d(5)(np.zeros((64, 8, 9, 7), "f4")).shape
    (64, 8, 5, 5)
    """

    def forward(self, x: A) -> A:
        """Return the maxima, (N, C, OH, OW), of `x`, (N, C, H, W); N may be left out."""
        return ops.adaptive_maxpool(x, self.output_size)


class AdaptiveAvgPool1d(_AdaptiveOfSignals):
    """Average pooling of signals to a given length: `tinygrad_cnn.adaptive_avgpool1d`.

    Parameters
    ----------
    output_size : int
        The length of the result.

    Raises
    ------
    ValueError
        If `output_size` is below 1.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.AdaptiveAvgPool1d(2)(tg.Tensor([[1.0, 2.0, 6.0]]))
    Tensor([[1.5, 4. ]])
    """

    def forward(self, x: A) -> A:
        """Return the means, (N, C, OL), of `x`, (N, C, L); N may be left out."""
        return ops.adaptive_avgpool1d(x, self.output_size)


class AdaptiveMaxPool1d(_AdaptiveOfSignals):
    """Max pooling of signals to a given length: `tinygrad_cnn.adaptive_maxpool1d`.

    Parameters
    ----------
    output_size : int
        The length of the result.

    Raises
    ------
    ValueError
        If `output_size` is below 1.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.AdaptiveMaxPool1d(2)(tg.Tensor([[1.0, 2.0, 6.0]]))
    Tensor([[2., 6.]])
    """

    def forward(self, x: A) -> A:
        """Return the maxima, (N, C, OL), of `x`, (N, C, L); N may be left out."""
        return ops.adaptive_maxpool1d(x, self.output_size)
