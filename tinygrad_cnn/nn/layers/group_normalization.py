"""Normalization of each example, without running statistics: groups of channels, last axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.core.dtypes import get_default_dtype
from tinygrad_cnn.core.tensor import A, Parameter, Tensor
from tinygrad_cnn.core.variable import array_of
from tinygrad_cnn.nn.module import Parameterless
from tinygrad_cnn.nn.sizes import SizedLayer
from tinygrad_cnn.support.arguments import flag, number, whole, wholes


class GroupNorm(SizedLayer):
    """Group normalization: w·(x − μ) / √(σ² + ε) + b, with statistics of each example.

    The channels are divided into groups; μ and σ² are the mean and the variance of a group of one
    example, over its channels and all their values. So the batch has no influence, and train and
    eval mode do not differ. One group is layer normalization of images; a group for each channel is
    instance normalization.

    Parameters
    ----------
    num_groups : int
        The number of groups.
    num_channels : int or None
        C, a multiple of `num_groups`. The first input determines it if it is None.
    eps : float
        ε, 0 or more.
    affine : bool
        Whether to scale and shift each channel.

    Attributes
    ----------
    weight, bias : Parameter or None
        The scale w and shift b of each channel, of shape (C,); initially 1 and 0. None without
        `affine`.

    Raises
    ------
    ValueError
        If an argument is out of range. On a call, if `x` is not of shape (N, C, ...), or has
        channels without values.

    Notes
    -----
    Wu and He, "Group normalization", 2018.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> layer = tg.nn.GroupNorm(2, 4, eps=0.0)
    >>> layer(tg.Tensor([[1.0, 3.0, 10.0, 30.0]])).numpy()
    array([[-1.,  1., -1.,  1.]], dtype=float32)
    """

    inferred, input_axis = "num_channels", 1

    def __init__(
        self, num_groups: int, num_channels: int | None, eps: float = 1e-5, affine: bool = True
    ) -> None:
        owner = type(self).__name__
        self.num_groups = whole(owner, "num_groups", num_groups)
        self.num_channels = self._size(num_channels)
        self.eps = number(owner, "eps", eps)
        self.affine = flag(owner, "affine", affine)
        self._when_sized(["weight", "bias"] if affine else [], self._make)

    def _make(self) -> None:
        if self.num_channels % self.num_groups:
            raise ValueError(
                f"{type(self).__name__}: num_channels is {self.num_channels}, expected a multiple "
                f"of num_groups={self.num_groups}"
            )
        self.weight = self.bias = None
        if self.affine:
            size, dtype = self.num_channels, get_default_dtype()
            self.weight = Parameter(np.ones(size, dtype), name="weight")
            self.bias = Parameter(np.zeros(size, dtype), name="bias")

    def forward(self, x: A) -> A | Tensor:
        """Return `x`, of shape (N, C, ...), normalized, in the same shape."""
        shape = np.shape(array_of(x))
        if len(shape) < 2 or shape[1] != self.num_channels or 0 in shape[2:]:
            raise ValueError(
                f"{type(self).__name__}: x has shape {shape}, expected "
                f"(N, {self.num_channels}, ...), none of ... 0"
            )
        given: Any = x
        y: A | Tensor
        y = ops.group_norm(given, self.num_groups, self.weight, self.bias, self.eps)
        return y


class LayerNorm(SizedLayer):
    """Layer normalization: w·(x − μ) / √(σ² + ε) + b, μ and σ² over the last axes of an example.

    Parameters
    ----------
    normalized_shape : int or sequence of int, or None
        The lengths of the last axes, over which the statistics are taken. With None, the last axis
        of the first input.
    eps : float
        ε, 0 or more.
    elementwise_affine : bool
        Whether to scale and shift each value.
    bias : bool
        Whether to shift; without `elementwise_affine` there is no shift.

    Attributes
    ----------
    weight, bias : Parameter or None
        The scale w and shift b of each value, of shape `normalized_shape`; initially 1 and 0.

    Raises
    ------
    ValueError
        If an argument is out of range. On a call, if `x` does not end in `normalized_shape`.

    Notes
    -----
    Ba, Kiros and Hinton, "Layer normalization", 2016.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.LayerNorm(2, eps=0.0)(tg.Tensor([[1.0, 3.0], [10.0, 30.0]])).numpy()
    array([[-1.,  1.],
           [-1.,  1.]], dtype=float32)
    """

    inferred, input_axis = "normalized_shape", -1

    def __init__(
        self,
        normalized_shape: int | Sequence[int] | None,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:
        owner = type(self).__name__
        if isinstance(normalized_shape, int | np.integer):
            normalized_shape = (normalized_shape,)
        self.normalized_shape: Any = None
        if normalized_shape is not None:
            self.normalized_shape = wholes(owner, "normalized_shape", normalized_shape)
        if self.normalized_shape == ():
            raise ValueError(f"{owner}: normalized_shape is (), expected one length or more")
        self.eps = number(owner, "eps", eps)
        self.elementwise_affine = flag(owner, "elementwise_affine", elementwise_affine)
        self.weight: Parameter | None = None
        self.bias: Parameter | None = None
        shift = flag(owner, "bias", bias)
        names = ["weight", "bias"][: 1 + shift] if elementwise_affine else []
        self._when_sized(names, self._make, shift)

    def _make(self, shift: bool) -> None:
        if isinstance(self.normalized_shape, int):  # determined by the first input
            self.normalized_shape = (self.normalized_shape,)
        self.weight = self.bias = None
        if self.elementwise_affine:
            dtype = get_default_dtype()
            self.weight = Parameter(np.ones(self.normalized_shape, dtype), name="weight")
            if shift:
                self.bias = Parameter(np.zeros(self.normalized_shape, dtype), name="bias")

    def forward(self, x: A) -> A | Tensor:
        """Return `x`, of shape ``(..., *normalized_shape)``, normalized, in the same shape."""
        given: Any = x
        y: A | Tensor
        y = ops.layer_norm(given, self.normalized_shape, self.weight, self.bias, self.eps)
        return y


class LocalResponseNorm(Parameterless):
    """Local response normalization: `tinygrad_cnn.local_response_norm`, as in AlexNet.

    Parameters
    ----------
    size : int
        The number of neighboring channels.
    alpha, beta, k : float
        As in x·(k + α·mean x²)^−β.

    Raises
    ------
    ValueError
        If `size` is not positive. On a call, if `x` has fewer than three axes.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> layer = tg.nn.LocalResponseNorm(1, alpha=1.0, beta=1.0, k=0.0)
    >>> layer(tg.Tensor([[[2.0], [4.0]]])).numpy().tolist()
    [[[0.5], [0.25]]]
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        self.size = whole(type(self).__name__, "size", size)
        self.alpha, self.beta, self.k = alpha, beta, k

    def forward(self, x: A) -> A:
        """Return `x` normalized, in the same shape."""
        return ops.local_response_norm(x, self.size, self.alpha, self.beta, self.k)
