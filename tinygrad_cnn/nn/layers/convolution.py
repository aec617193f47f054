"""Convolutional layers."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.core.random import generator
from tinygrad_cnn.core.tensor import Parameter, Tensor, TensorLike
from tinygrad_cnn.core.variable import array_of
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.engine.windows import Padding, Pair, pair, windows
from tinygrad_cnn.nn.init import Initializer, kaiming_uniform, zeros
from tinygrad_cnn.nn.layers.parameter import drawn
from tinygrad_cnn.nn.sizes import SizedLayer
from tinygrad_cnn.ops.signals import row_border
from tinygrad_cnn.support.arguments import border, choice, ends, flag, numbers, single, whole

_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
"""PyTorch's names of borders and those of `tinygrad_cnn.pad`."""


class _Convolution(SizedLayer):
    """Shared options and parameters of all convolutions, of images and of signals."""

    inferred, input_axis = "in_channels", -3
    _axes: ClassVar[int] = 2

    def __init__(
        self,
        in_channels: int | None,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair,
        dilation: Pair,
        groups: int,
    ) -> None:
        owner = type(self).__name__
        self.in_channels = self._size(in_channels)
        self.out_channels = whole(owner, "out_channels", out_channels)
        self.kernel_size = self._option("kernel_size", kernel_size, 1)
        self.stride = self._option("stride", stride, 1)
        self.dilation = self._option("dilation", dilation, 1)
        self.groups = whole(owner, "groups", groups)
        self._check_groups("in_channels")
        self._check_groups("out_channels")

    def _option(self, argument: str, value: Any, least: int) -> Any:
        """Return an option: an integer, or for images also a pair."""
        return (numbers if self._axes == 2 else single)(type(self).__name__, argument, value, least)

    def _check_groups(self, argument: str) -> None:
        channels = getattr(self, argument)
        if channels is not None and channels % self.groups:
            raise ValueError(
                f"{type(self).__name__}: {argument} is {channels}, expected a multiple of "
                f"groups={self.groups}"
            )

    def _begin(
        self,
        bias: bool,
        rng: np.random.Generator | None,
        init: Initializer,
        bias_init: Initializer,
        transposed: bool,
    ) -> None:
        """Initialize kernels and biases, once the number of input channels is known."""
        owner = type(self).__name__
        names = ["weight", "bias"] if flag(owner, "bias", bias) else ["weight"]
        source = generator(owner, rng)
        self._when_sized(names, self._draw, bias, source, init, bias_init, transposed)

    def _draw(
        self,
        bias: bool,
        source: np.random.Generator,
        init: Initializer,
        bias_init: Initializer,
        transposed: bool,
    ) -> None:
        """Initialize kernels and biases.

        Each group is a separate convolution, so it is drawn separately, with its own fans.
        """
        owner = type(self).__name__
        self._check_groups("in_channels")
        outs, ins = self.out_channels // self.groups, self.in_channels // self.groups
        shape = (outs, ins, *pair(owner, "kernel_size", self.kernel_size, 1)[: self._axes])
        parts = [drawn(owner, "weight", init, shape, source)._array for _ in range(self.groups)]
        if transposed:  # (OC/g, C/g, ...) → (C/g, OC/g, ...)
            parts = [kernels.swapaxes(0, 1) for kernels in parts]
        self.weight = Parameter(np.concatenate(parts), name="weight")
        self.bias: Parameter | None = None
        if bias:
            self.bias = drawn(owner, "bias", bias_init, (self.out_channels,), source)

    def _size_in(self, weight: Shape) -> int:
        return weight[1] * self.groups


class _Forward(_Convolution):
    """The constructor of `Conv1d` and `Conv2d`."""

    def __init__(
        self,
        in_channels: int | None,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Padding = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        rng: np.random.Generator | None = None,
        init: Initializer = kaiming_uniform,
        bias_init: Initializer = zeros,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, dilation, groups)
        owner = type(self).__name__
        self.padding: Any = (border if self._axes == 2 else ends)(owner, padding)
        self.padding_mode = choice(owner, "padding_mode", padding_mode, ("zeros", *_MODES))
        self._begin(bias, rng, init, bias_init, transposed=False)

    def _bordered(self, x: TensorLike) -> tuple[TensorLike, Any]:
        """Return the input with a border that is not zeros, and the padding that is left to do."""
        if self.padding_mode == "zeros":
            return x, self.padding
        owner, shape, image = type(self).__name__, np.shape(array_of(x)), self._axes == 2
        if len(shape) not in (self._axes + 1, self._axes + 2):
            return x, self.padding  # the op explains
        at = windows(
            owner,
            (shape[-2] if image else 1, shape[-1]),
            pair(owner, "kernel_size", self.kernel_size, 1) if image else (1, self.kernel_size),
            self.stride,
            self.padding if image else row_border(owner, self.padding),
            self.dilation,
        )
        widths = [(axis.before, axis.after) for axis in (at.rows, at.columns)][-self._axes :]
        lead = ((0, 0),) * (len(shape) - self._axes)
        return ops.pad(x, (*lead, *widths), _MODES[self.padding_mode]), 0


class _Transposed(_Convolution):
    """The constructor of `ConvTranspose1d` and `ConvTranspose2d`."""

    def __init__(
        self,
        in_channels: int | None,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        output_padding: Pair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Pair = 1,
        *,
        rng: np.random.Generator | None = None,
        init: Initializer = kaiming_uniform,
        bias_init: Initializer = zeros,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, dilation, groups)
        owner = type(self).__name__
        self.padding = self._option("padding", padding, 0)
        self.output_padding = self._option("output_padding", output_padding, 0)
        strides, dilations, extras = (
            pair(owner, name, getattr(self, name), 0)
            for name in ("stride", "dilation", "output_padding")
        )
        if any(e >= max(s, d) for e, s, d in zip(extras, strides, dilations, strict=True)):
            raise ValueError(
                f"{owner}: output_padding is {output_padding}, expected less than stride {stride} "
                f"or dilation {dilation}"
            )
        self._begin(bias, rng, init, bias_init, transposed=True)

    def _size_in(self, weight: Shape) -> int:
        return weight[0]


class Conv2d(_Forward):
    """A 2-d convolution: `tinygrad_cnn.conv2d` (section 0.2.1).

    Parameters
    ----------
    in_channels, out_channels : int
        The number of input and of output channels. The first input determines `in_channels` if it
        is None.
    kernel_size, stride, dilation : int or (int, int)
        The kernel size, the step between windows, and the step between kernel elements.
    padding : int, (int, int), ((int, int), (int, int)), "same" or "valid"
        Zeros added on each side of height and width, or ``((top, bottom), (left, right))``.
        ``"same"`` gives ⌈H / stride⌉ rows and ⌈W / stride⌉ columns: see `tinygrad_cnn.conv2d`.
    groups : int
        The number of groups that the channels are split into; each is convolved separately.
    bias : bool
        Whether to add a bias to each output channel.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
        The values of the border: zeros, or those mirrored at the edge, at the edge, or opposite.
    rng : numpy.random.Generator, optional
        Source of the initial values; by default the generator that `manual_seed` sets.
    init, bias_init : callable
        Initializers of the kernels and the biases: see `tinygrad_cnn.nn.init`. `init` draws the
        kernels of one group at a time, of shape (OC / groups, C / groups, KH, KW).

    Attributes
    ----------
    weight : Parameter
        The kernels, of shape (OC, C / groups, KH, KW).
    bias : Parameter or None
        Of shape (OC,).

    Raises
    ------
    ValueError
        If an argument is out of range. On a call, if the images do not match.
    TypeError
        If `rng` is not a generator, or an initializer is not callable.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> layer = tg.nn.Conv2d(1, 6, 5, padding=2)
    >>> layer(tg.Tensor(np.zeros((32, 1, 28, 28), "f4"))).shape
    (32, 6, 28, 28)
    """

    def forward(self, x: TensorLike) -> Tensor:
        """Return the result, (N, OC, OH, OW), for images `x`, (N, C, H, W); N may be left out."""
        x, padding = self._bordered(x)
        return ops.conv2d(
            x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )


class Conv1d(_Forward):
    """A 1-d convolution, of signals: `tinygrad_cnn.conv1d`.

    Parameters
    ----------
    in_channels, out_channels : int
        The number of input and of output channels. The first input determines `in_channels` if it
        is None.
    kernel_size, stride, dilation : int
        The kernel size, the step between windows, and the step between kernel elements.
    padding : int, (int, int), "same" or "valid"
        Zeros added at both ends, or at the beginning and at the end; names as for `Conv2d`.
    groups : int
        The number of groups that the channels are split into; each is convolved separately.
    bias : bool
        Whether to add a bias to each output channel.
    padding_mode, rng, init, bias_init
        As for `Conv2d`.

    Attributes
    ----------
    weight : Parameter
        The kernels, of shape (OC, C / groups, K).
    bias : Parameter or None
        Of shape (OC,).

    Raises
    ------
    ValueError
        If an argument is out of range. On a call, if the signals do not match.
    TypeError
        If `rng` is not a generator, or an initializer is not callable.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> layer = tg.nn.Conv1d(16, 33, 3, stride=2)
    >>> layer(tg.Tensor(np.zeros((20, 16, 50), "f4"))).shape
    (20, 33, 24)
    """

    _axes, input_axis = 1, -2

    def forward(self, x: TensorLike) -> Tensor:
        """Return the result, (N, OC, OL), for signals `x`, (N, C, L); N may be left out."""
        x, padding = self._bordered(x)
        return ops.conv1d(
            x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )


class ConvTranspose2d(_Transposed):
    """A transposed convolution, which upsamples: `tinygrad_cnn.conv_transpose2d`.

    Parameters
    ----------
    in_channels, out_channels : int
        The number of input and of output channels. The first input determines `in_channels` if it
        is None.
    kernel_size, stride, padding, dilation, groups
        As for `Conv2d`: those of the convolution that is transposed.
    output_padding : int or (int, int)
        Rows and columns appended to the output, less than the stride or the dilation.
    bias : bool
        Whether to add a bias to each output channel.
    rng : numpy.random.Generator, optional
        Source of the initial values; by default the generator that `manual_seed` sets.
    init, bias_init : callable
        As for `Conv2d`: `init` draws (OC / groups, C / groups, KH, KW), so that its fans are those
        of this layer (at stride 1); the axes are then swapped.

    Attributes
    ----------
    weight : Parameter
        The kernels, of shape (C, OC / groups, KH, KW).
    bias : Parameter or None
        Of shape (OC,).

    Raises
    ------
    ValueError
        If an argument is out of range. On a call, if the images do not match.
    TypeError
        If `rng` is not a generator, or an initializer is not callable.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> layer = tg.nn.ConvTranspose2d(6, 1, 2, stride=2)
    >>> layer(tg.Tensor(np.zeros((32, 6, 14, 14), "f4"))).shape
    (32, 1, 28, 28)
    """

    def forward(self, x: TensorLike) -> Tensor:
        """Return the result, (N, OC, OH, OW), for images `x`, (N, C, H, W); N may be left out."""
        return ops.conv_transpose2d(
            x,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.dilation,
        )


class ConvTranspose1d(_Transposed):
    """A transposed 1-d convolution, of signals: `tinygrad_cnn.conv_transpose1d`.

    Parameters
    ----------
    in_channels, out_channels : int
        The number of input and of output channels. The first input determines `in_channels` if it
        is None.
    kernel_size, stride, padding, output_padding, dilation : int
        As for `ConvTranspose2d`.
    groups, bias, rng, init, bias_init
        As for `ConvTranspose2d`.

    Attributes
    ----------
    weight : Parameter
        The kernels, of shape (C, OC / groups, K).
    bias : Parameter or None
        Of shape (OC,).

    Raises
    ------
    ValueError
        If an argument is out of range. On a call, if the signals do not match.
    TypeError
        If `rng` is not a generator, or an initializer is not callable.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> layer = tg.nn.ConvTranspose1d(6, 1, 2, stride=2)
    >>> layer(tg.Tensor(np.zeros((32, 6, 14), "f4"))).shape
    (32, 1, 28)
    """

    _axes, input_axis = 1, -2

    def forward(self, x: TensorLike) -> Tensor:
        """Return the result, (N, OC, OL), for signals `x`, (N, C, L); N may be left out."""
        return ops.conv_transpose1d(
            x,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.dilation,
        )
