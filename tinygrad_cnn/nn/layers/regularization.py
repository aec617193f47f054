"""Dropout and normalization."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.core.random import own_generator
from tinygrad_cnn.core.tensor import A, Parameter, Tensor, get_default_dtype
from tinygrad_cnn.core.variable import Variable, array_of
from tinygrad_cnn.engine.reduction import average, total
from tinygrad_cnn.nn.module import Parameterless
from tinygrad_cnn.nn.sizes import SizedLayer
from tinygrad_cnn.support.arguments import flag, number, share, whole


class Dropout(Parameterless):
    """Dropout: in train mode, zero random values and scale the rest to keep the mean.

    Each value is zeroed independently with probability `p`; the others are divided by 1 − p. In
    eval mode values pass unchanged.

    Parameters
    ----------
    p : float
        In [0, 1).
    rng : numpy.random.Generator, optional
        Source of the decisions. By default the layer keeps a generator of its own, seeded once from
        the one that `manual_seed` sets: it is copied, pickled and saved with the layer.

    Raises
    ------
    ValueError
        If `p` is out of range.
    TypeError
        If `rng` is not a generator.

    Notes
    -----
    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> layer = tg.nn.Dropout(0.5, rng=np.random.default_rng(0))
    >>> layer(tg.Tensor([1.0, 2.0, 3.0, 4.0]))
    Tensor([2., 4., 6., 0.])
    >>> layer.eval()(tg.Tensor([1.0, 2.0, 3.0, 4.0]))
    Tensor([1., 2., 3., 4.])
    """

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | None = None) -> None:
        owner = type(self).__name__
        self.p = number(owner, "p", p, below=1.0)
        self.rng = own_generator(owner, rng)

    def forward(self, x: A) -> A:
        """Return `x` with values dropped, in the same shape."""
        if not self.training or self.p == 0.0:
            return x
        shape = x.shape if isinstance(x, Variable) else np.shape(x)
        # float32 draws are multiples of 2⁻²⁴, too coarse for a p near that
        dtype = np.float32 if self.p > 1e-3 else np.float64
        return ops.dropout(x, self.rng.random(shape, dtype) >= self.p, self.p)


class BatchNorm2d(SizedLayer):
    """Batch normalization of each channel: w·(x − μ) / √(σ² + ε) + b.

    In train mode μ and σ² are those of the batch (`tinygrad_cnn.batch_norm`), and update the
    running statistics: running ← (1 − momentum)·running + momentum·batch, with the unbiased
    variance of the batch, Σ (x − μ)² / (n − 1). In eval mode the running statistics are used.

    Parameters
    ----------
    num_features : int or None
        C, the number of channels. The first input determines it if it is None.
    eps : float
        ε, 0 or more.
    momentum : float or None
        The weight of the newest batch, in [0, 1]. With None all batches weigh the same.

    Attributes
    ----------
    weight, bias : Parameter
        The scale w and shift b of each channel, of shape (C,); initially 1 and 0.
    running_mean, running_var : Tensor
        Buffers of shape (C,); initially 0 and 1.
    num_batches_tracked : Tensor
        A buffer: the number of batches in the running statistics, an int64.

    Raises
    ------
    ValueError
        If an argument is out of range. On a call, if `x` is not of shape (N, C, H, W), or in train
        mode has only one value per channel.

    Notes
    -----
    Ioffe and Szegedy, "Batch Normalization: accelerating deep network training by reducing internal
    covariate shift", 2015; momentum and the unbiased variance are as in PyTorch.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> layer = tg.nn.BatchNorm2d(1)
    >>> y = layer(tg.Tensor([[[[0.0, 2.0]]]]))
    >>> layer.running_mean, layer.running_var
    (Tensor([0.1]), Tensor([1.1]))
    """

    inferred, input_axis = "num_features", 1

    def __init__(
        self, num_features: int | None, eps: float = 1e-5, momentum: float | None = 0.1
    ) -> None:
        owner = type(self).__name__
        self.num_features = self._size(num_features)
        self.eps = number(owner, "eps", eps)
        self.momentum = None if momentum is None else share(owner, "momentum", momentum)
        names = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
        self._when_sized(names, self._make)

    def _make(self) -> None:
        size, dtype = self.num_features, get_default_dtype()
        self.weight = Parameter(np.ones(size, dtype), name="weight")
        self.bias = Parameter(np.zeros(size, dtype), name="bias")
        self.running_mean = Tensor(np.zeros(size, dtype))
        self.running_var = Tensor(np.ones(size, dtype))
        self.num_batches_tracked = Tensor(np.array(0, np.int64))

    def forward(self, x: Tensor | NDArray[Any]) -> Tensor:
        """Return `x`, of shape (N, C, H, W), normalized, in the same shape."""
        array = np.asarray(array_of(x))
        if array.ndim != 4 or array.shape[1] != self.num_features:
            raise ValueError(
                f"{type(self).__name__}: x has shape {array.shape}, expected "
                f"(N, {self.num_features}, H, W)"
            )
        if not self.training:
            scale = self.weight / ops.sqrt(self.running_var + self.eps)
            shift = self.bias - self.running_mean * scale
            return x * scale.reshape(1, -1, 1, 1) + shift.reshape(1, -1, 1, 1)
        if array.size <= self.num_features:
            raise ValueError(
                f"{type(self).__name__}: x has shape {array.shape}, expected more than one value a "
                "channel in training"
            )
        y = ops.batch_norm(x, self.weight, self.bias, self.eps)
        mean = average(array, (0, 2, 3), keepdims=True)
        squares = total(np.square(array - mean), (0, 2, 3))
        self.num_batches_tracked._array += 1
        self.num_batches_tracked._mark_changed()
        self._follow(self.running_mean, mean.reshape(-1))
        self._follow(self.running_var, squares / (array.size // self.num_features - 1))
        return y

    def _follow(self, running: Tensor, batch: NDArray[Any]) -> None:
        """Update a running statistic with that of the batch."""
        momentum = self.momentum
        if momentum is None:
            momentum = 1.0 / self.num_batches_tracked.item()
        running._array += momentum * (batch.astype(running.dtype) - running._array)
        running._mark_changed()


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
        shape = x.shape if isinstance(x, Variable) else np.shape(x)
        if len(shape) < 2 or shape[1] != self.num_channels or 0 in shape[2:]:
            raise ValueError(
                f"{type(self).__name__}: x has shape {shape}, expected "
                f"(N, {self.num_channels}, ...), none of ... 0"
            )
        # (N, C, ...) → (1, N·G, C/G·...): batch norm, of one example and a channel for each group
        groups = shape[0] * self.num_groups
        if groups:
            one, zero = np.ones(groups, np.float32), np.zeros(groups, np.float32)
            row = ops.reshape(x, (1, groups, -1))
            x = ops.reshape(ops.batch_norm(row, one, zero, self.eps), shape)
        if self.weight is None or self.bias is None:
            return x
        channels = (-1,) + (1,) * (len(shape) - 2)
        y: Tensor = x * self.weight.reshape(channels) + self.bias.reshape(channels)
        return y
