"""Normalization of batches and of single channels, with running statistics for eval mode."""

from __future__ import annotations

import math
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.core.dtypes import get_default_dtype
from tinygrad_cnn.core.effects import effect, writes
from tinygrad_cnn.core.recording import recording
from tinygrad_cnn.core.step_observer import step_observers
from tinygrad_cnn.core.tensor import A, Parameter, Tensor
from tinygrad_cnn.core.variable import array_of
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.engine.reduction import average, total
from tinygrad_cnn.nn.sizes import SizedLayer
from tinygrad_cnn.ops.batch_normalization import (
    announce_inference,
    batch_statistics,
    saved_statistics,
)
from tinygrad_cnn.ops.ranks import Ranks
from tinygrad_cnn.support.arguments import flag, number, share


def by_running_statistics(
    x: Any, mean: Any, variance: Any, weight: Any, bias: Any, eps: float
) -> Tensor:
    """Return `x` normalized by the running statistics: one factor and one term a channel."""
    given: list[Any] = [mean, variance, weight, bias]
    is_on, observers = recording.get().on, recording.get().observers
    is_wanted = any(getattr(v, "requires_grad", False) for v in given)
    if not ((is_on and is_wanted) or step_observers()):
        given = [array_of(v) for v in given]  # NumPy takes a tenth of the time
    center, spread, factor, term = given
    deviation = ops.sqrt(spread + eps)
    scale = 1.0 / deviation if factor is None else factor / deviation
    moved = center * scale
    shift = -moved if term is None else term - moved
    channels = (1, -1) + (1,) * (np.ndim(array_of(x)) - 2)
    scale, shift = scale.reshape(channels), shift.reshape(channels)
    if observers and not isinstance(scale, Tensor):  # a drawing shows the names
        scale, shift = Tensor(scale, name="scale"), Tensor(shift, name="shift")
    y: Any = ops.multiply_add(x, scale, shift)
    y = y if isinstance(y, Tensor) else Tensor._of(y)
    y._unrecorded = y._unrecorded or (is_wanted and not is_on)
    if observers:
        announce_inference(x, mean, variance, weight, bias, eps, y)
    return cast(Tensor, y)


class _ChannelNorm(SizedLayer):
    """A normalization with a scale, a shift and running statistics of each channel, if wanted."""

    inferred, input_axis = "num_features", 1
    sizing = ("weight", "running_mean")
    _axes: ClassVar[tuple[int, ...]] = (4,)  # the numbers of axes of an input
    _expected: ClassVar[str] = "(N, {0}, H, W)"

    def __init__(
        self,
        num_features: int | None,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        owner = type(self).__name__
        self.num_features = self._size(num_features)
        self.eps = number(owner, "eps", eps)
        self.momentum = None if momentum is None else share(owner, "momentum", momentum)
        self.affine = flag(owner, "affine", affine)
        self.track_running_stats = flag(owner, "track_running_stats", track_running_stats)
        names = ["weight", "bias"] if affine else []
        tracked = ["running_mean", "running_var", "num_batches_tracked"]
        self._when_sized(names + (tracked if track_running_stats else []), self._make)

    def _make(self) -> None:
        size, dtype = self.num_features, get_default_dtype()
        self.weight: Parameter | None = None
        self.bias: Parameter | None = None
        self.running_mean: Tensor | None = None
        self.running_var: Tensor | None = None
        self.num_batches_tracked: Tensor | None = None
        if self.affine:
            self.weight = Parameter(np.ones(size, dtype), name="weight")
            self.bias = Parameter(np.zeros(size, dtype), name="bias")
        if self.track_running_stats:
            self.running_mean = Tensor(np.zeros(size, dtype))
            self.running_var = Tensor(np.ones(size, dtype))
            self.num_batches_tracked = Tensor(np.array(0, np.int64))

    def _checked(self, shape: Shape) -> Shape:
        """Return the shape of an input; raise if it does not fit."""
        if len(shape) not in self._axes or shape[1] != self.num_features:
            raise ValueError(
                f"{type(self).__name__}: x has shape {shape}, expected "
                f"{self._expected.format(self.num_features)}"
            )
        return shape

    def _by_running_statistics(self, x: Any) -> Tensor:
        """Return `x` normalized by the running statistics."""
        return by_running_statistics(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.eps
        )

    def _follow(self, mean: NDArray[Any], variance: NDArray[Any], momentum: float) -> None:
        """Update the running statistics with those of a batch."""
        for running, batch in ((self.running_mean, mean), (self.running_var, variance)):
            assert running is not None
            running._array += momentum * (batch.astype(running.dtype) - running._array)
            running._mark_changed()


class _BatchNorm(_ChannelNorm):
    """Batch normalization for inputs of some numbers of axes.

    Attributes
    ----------
    ranks : Ranks or None
        The ranks over which to take the statistics of a batch; None for this one.
    """

    ranks: Ranks | None = None

    def forward(self, x: Tensor | NDArray[Any]) -> Tensor:
        """Return `x` normalized, in the same shape."""
        array = np.asarray(array_of(x))
        self._checked(array.shape)
        if not self.training and self.running_mean is not None:
            return self._by_running_statistics(x)
        if self.ranks is None:
            self._check_count(array.shape, array.size // self.num_features)
        given: Any = x
        y: Tensor = ops.batch_norm(given, self.weight, self.bias, self.eps, self.ranks)
        if self.training and self.num_batches_tracked is not None:
            self._follow_batch(saved_statistics(y), x)
        return y

    @effect
    @writes(lambda self: self.buffers())
    def _follow_batch(self, statistics: NDArray[Any] | None, x: Tensor | NDArray[Any]) -> None:
        """Update the running statistics with those of `x`: the saved ones, if they are given."""
        array = np.asarray(array_of(x))
        mean, variance, count = batch_statistics(statistics, array, self.ranks)
        self._check_count(array.shape, count)
        tracked: Any = self.num_batches_tracked
        tracked._array += 1
        tracked._mark_changed()
        momentum = 1.0 / tracked.item() if self.momentum is None else self.momentum
        self._follow(mean, variance, momentum)

    def _check_count(self, shape: Shape, count: int) -> None:
        """Raise ValueError unless a channel has more than one value."""
        if count < 2:
            raise ValueError(
                f"{type(self).__name__}: x has shape {shape}, expected more than one value a "
                f"channel in training{'' if self.ranks is None else ', on all ranks together'}"
            )


class BatchNorm2d(_BatchNorm):
    """Batch normalization of images, each channel: w·(x − μ) / √(σ² + ε) + b.

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
    affine : bool
        Whether to scale and shift each channel.
    track_running_stats : bool
        Whether to keep running statistics. Without them, eval mode uses those of the batch too.

    Attributes
    ----------
    weight, bias : Parameter or None
        The scale w and shift b of each channel, of shape (C,); initially 1 and 0.
    running_mean, running_var : Tensor or None
        Buffers of shape (C,); initially 0 and 1.
    num_batches_tracked : Tensor or None
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


class BatchNorm1d(_BatchNorm):
    """Batch normalization of rows and sequences: `BatchNorm2d` for (N, C) and (N, C, L).

    Parameters
    ----------
    num_features, eps, momentum, affine, track_running_stats
        As for `BatchNorm2d`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.BatchNorm1d(2, eps=0.0)(tg.Tensor([[0.0, 5.0], [2.0, 1.0]])).numpy()
    array([[-1.,  1.],
           [ 1., -1.]], dtype=float32)
    """

    _axes, _expected = (2, 3), "(N, {0}) or (N, {0}, L)"


class InstanceNorm2d(_ChannelNorm):
    """Instance normalization of images: w·(x − μ) / √(σ² + ε) + b, each channel of each example.

    Parameters
    ----------
    num_features : int or None
        C, the number of channels. The first input determines it if it is None.
    eps : float
        ε, 0 or more.
    momentum : float or None
        The weight of the newest batch in the running statistics. None counts as 0, as in PyTorch.
    affine : bool
        Whether to scale and shift each channel.
    track_running_stats : bool
        Whether to keep the means over the batch of μ and of the unbiased σ², and to use them in
        eval mode, as `BatchNorm2d` does.

    Attributes
    ----------
    weight, bias : Parameter or None
        The scale w and shift b of each channel, of shape (C,); initially 1 and 0.
    running_mean, running_var, num_batches_tracked : Tensor or None
        Buffers, as those of `BatchNorm2d`; batches are not counted, as in PyTorch.

    Raises
    ------
    ValueError
        If an argument is out of range. On a call, if `x` is not of shape (N, C, H, W) or (C, H, W),
        or has only one value per channel.

    Notes
    -----
    Ulyanov, Vedaldi and Lempitsky, "Instance normalization: the missing ingredient for fast
    stylization", 2016.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.InstanceNorm2d(2, eps=0.0)(tg.Tensor([[[[0.0, 2.0]], [[1.0, 5.0]]]])).numpy()
    array([[[[-1.,  1.]],
    <BLANKLINE>
            [[-1.,  1.]]]], dtype=float32)
    """

    input_axis = -3  # also of one image

    def __init__(
        self,
        num_features: int | None,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats)

    def forward(self, x: A) -> A | Tensor:
        """Return `x` normalized, in the same shape."""
        given: Any = x
        if np.ndim(array_of(x)) == 3:  # one image
            return ops.squeeze(self.forward(ops.expand_dims(given, 0)), 0)
        array = np.asarray(array_of(x))
        self._checked(array.shape)
        if not self.training and self.running_mean is not None:
            return self._by_running_statistics(x)
        y: A | Tensor = ops.instance_norm(given, self.weight, self.bias, self.eps)
        if self.training and self.running_mean is not None and len(array):
            self._follow_images(x)
        return y

    @effect
    @writes(lambda self: self.buffers())
    def _follow_images(self, x: Tensor | NDArray[Any]) -> None:
        """Update the running statistics with those of the images `x`."""
        array = np.asarray(array_of(x))
        mean = average(array, (2, 3), keepdims=True)
        variance = total(np.square(array - mean), (2, 3)) / (math.prod(array.shape[2:]) - 1)
        self._follow(average(mean, (0, 2, 3)), average(variance, 0), self.momentum or 0.0)
