"""Layers with parameters, initialized as PyTorch initializes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tinygrad_cnn.compat.torch import creation
from tinygrad_cnn.compat.torch.devices import check_device
from tinygrad_cnn.compat.torch.nn import functional, init
from tinygrad_cnn.compat.torch.nn.module import Module
from tinygrad_cnn.compat.torch.tensor import Parameter, Tensor
from tinygrad_cnn.core.effects import effect
from tinygrad_cnn.nn import containers, sequential

F: Any = functional


def pair(value: Any) -> tuple[Any, ...]:
    """Return ``(value, value)``, or the pair itself."""
    return tuple(value) if isinstance(value, tuple | list) else (value, value)


class _Affine(Module):
    """A weight, and a bias or none, drawn from a range that the fan-in gives."""

    weight: Any
    bias: Any

    def _create(self, shape: tuple[int, ...], outs: int | None, device: Any, dtype: Any) -> None:
        check_device(device)
        self.weight = Parameter(creation.empty(shape, dtype=dtype))
        self.bias = None if outs is None else Parameter(creation.empty(outs, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and biases from −a ≤ x < a with a = 1 / √fan_in."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(init.fans(self.weight)[0])
            init.uniform_(self.bias, -bound, bound)


class Linear(_Affine):
    """A fully connected layer, ``F.linear``."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self.in_features = in_features
        self.out_features = out_features
        outs = out_features if bias else None
        self._create((out_features, in_features), outs, device, dtype)

    def forward(self, input: Any) -> Any:
        """Return ``F.linear(input, weight, bias)``."""
        return F.linear(input, self.weight, self.bias)


class _ConvNd(_Affine):
    """The arguments that all convolutions share; `_axes` is the number of spatial axes."""

    _axes = 2
    _transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        output_padding: Any = 0,
    ) -> None:
        for name, value in (("in_channels", in_channels), ("out_channels", out_channels)):
            if value % groups:
                raise ValueError(
                    f"{type(self).__name__}: {name} is {value}, expected a multiple of "
                    f"groups={groups}"
                )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = self._each(kernel_size)
        self.stride = self._each(stride)
        self.padding = padding if isinstance(padding, str) else self._each(padding)
        self.dilation = self._each(dilation)
        self.output_padding = self._each(output_padding)
        self.groups = groups
        self.padding_mode = padding_mode
        ends = (out_channels, in_channels // groups)
        if self._transposed:
            ends = (in_channels, out_channels // groups)
        outs = out_channels if bias else None
        self._create((*ends, *self.kernel_size), outs, device, dtype)

    def extra_repr(self) -> str:
        """Return the arguments as PyTorch shows them."""
        shown = [f"{self.in_channels}, {self.out_channels}"]
        shown += [f"kernel_size={self.kernel_size}, stride={self.stride}"]
        defaults = {"padding": 0, "dilation": 1, "output_padding": 0}
        others: dict[str, Any] = {name: self._each(value) for name, value in defaults.items()}
        for name, default in {**others, "groups": 1}.items():
            if getattr(self, name) != default:
                shown.append(f"{name}={getattr(self, name)}")
        shown += ["bias=False"] if self.bias is None else []
        shown += [f"padding_mode={self.padding_mode}"] if self.padding_mode != "zeros" else []
        return ", ".join(shown)

    def _each(self, value: Any) -> tuple[Any, ...]:
        return tuple(value) if isinstance(value, tuple | list) else (value,) * self._axes

    def forward(self, input: Any) -> Any:
        """Return the convolution."""
        padding = self.padding
        if self.padding_mode != "zeros" and not isinstance(padding, str):
            sides = [width for side in reversed(padding) for width in (side, side)]
            input, padding = F.pad(input, sides, self.padding_mode), (0,) * self._axes
        options = (self.stride, padding, self.dilation)
        if self._axes == 1:
            options = tuple(o if isinstance(o, str) else o[0] for o in options)  # type: ignore[assignment]
        function = F.conv2d if self._axes == 2 else F.conv1d
        return function(input, self.weight, self.bias, *options, self.groups)


class Conv2d(_ConvNd):
    """A 2-d convolution, ``F.conv2d``."""


class Conv1d(_ConvNd):
    """A 1-d convolution, ``F.conv1d``."""

    _axes = 1


class _Transposed(_ConvNd):
    """The arguments and the computation that both transposed convolutions share."""

    _transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
            padding_mode, device, dtype, output_padding,
        )  # fmt: skip

    def forward(self, input: Any) -> Any:
        """Return the transposed convolution."""
        stride, padding, extra, dilation = (
            option if self._axes == 2 else option[0]
            for option in (self.stride, self.padding, self.output_padding, self.dilation)
        )
        function = F.conv_transpose2d if self._axes == 2 else F.conv_transpose1d
        options = (stride, padding, extra, self.groups, dilation)
        return function(input, self.weight, self.bias, *options)


class ConvTranspose2d(_Transposed):
    """A transposed 2-d convolution, ``F.conv_transpose2d``."""


class ConvTranspose1d(_Transposed):
    """A transposed 1-d convolution, ``F.conv_transpose1d``."""

    _axes = 1


class _Scaled(Module):
    """A scale of ones and a shift of zeros, or neither."""

    weight: Any
    bias: Any

    def _create(self, shape: Any, affine: bool, bias: bool, dtype: Any) -> None:
        self.weight = Parameter(creation.ones(shape, dtype=dtype)) if affine else None
        self.bias = Parameter(creation.zeros(shape, dtype=dtype)) if affine and bias else None

    def reset_parameters(self) -> None:
        """Set the scale to 1 and the shift to 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class _BatchNorm(_Scaled):
    """Batch normalization of each channel, ``F.batch_norm``."""

    ranks: Any = None  # see `tinygrad_cnn.distributed.convert_sync_batchnorm`
    running_mean: Any
    running_var: Any
    num_batches_tracked: Any

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        check_device(device)
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self._create(num_features, affine, True, dtype)
        kept = track_running_stats
        self.register_buffer(
            "running_mean", creation.zeros(num_features, dtype=dtype) if kept else None
        )
        self.register_buffer(
            "running_var", creation.ones(num_features, dtype=dtype) if kept else None
        )
        self.register_buffer("num_batches_tracked", creation.tensor(0) if kept else None)

    def reset_running_stats(self) -> None:
        """Set the running mean to 0 and the running variance to 1."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    @effect
    def _count_batch(self) -> None:
        self.num_batches_tracked.add_(1)

    def forward(self, input: Any) -> Any:
        """Return the normalized input; in train mode, update the running statistics."""
        if input.dim() < 2 or input.shape[1] != self.num_features:
            raise ValueError(
                f"{type(self).__name__}: the input has shape {tuple(input.shape)}, expected "
                f"(N, {self.num_features}, ...)"
            )
        momentum = self.momentum
        if self.training and self.track_running_stats:
            self._count_batch()
            if momentum is None:
                momentum = 1.0 / self.num_batches_tracked.item()
        return F.batch_norm_of_ranks(
            input, self.running_mean, self.running_var, self.weight, self.bias,
            self.training, momentum, self.eps, self.ranks,
        )  # fmt: skip


class BatchNorm2d(_BatchNorm):
    """Batch normalization of (N, C, H, W)."""


class BatchNorm1d(_BatchNorm):
    """Batch normalization of (N, C) or (N, C, L)."""


class BatchNorm3d(_BatchNorm):
    """Batch normalization of (N, C, D, H, W)."""


class _InstanceNorm(_Scaled):
    """Normalization of each channel of each example, ``F.instance_norm``."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if track_running_stats:
            raise NotImplementedError(
                f"{type(self).__name__}: track_running_stats is not here; use BatchNorm2d"
            )
        self.num_features = num_features
        self.eps = eps
        self.affine = affine
        self._create(num_features, affine, True, dtype)

    def forward(self, input: Any) -> Any:
        """Return ``F.instance_norm(input, ...)``."""
        return F.instance_norm(input, weight=self.weight, bias=self.bias, eps=self.eps)


class InstanceNorm2d(_InstanceNorm):
    """Normalization of each channel of each example, of (N, C, H, W)."""


class InstanceNorm1d(_InstanceNorm):
    """Normalization of each channel of each example, of (N, C, L)."""


class GroupNorm(_Scaled):
    """Normalization of groups of channels, ``F.group_norm``."""

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self._create(num_channels, affine, True, dtype)

    def forward(self, input: Any) -> Any:
        """Return ``F.group_norm(input, ...)``."""
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


class LayerNorm(_Scaled):
    """Normalization over the last axes, ``F.layer_norm``."""

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        whole = isinstance(normalized_shape, int)
        self.normalized_shape = (normalized_shape,) if whole else tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self._create(self.normalized_shape, elementwise_affine, bias, dtype)

    def forward(self, input: Any) -> Any:
        """Return ``F.layer_norm(input, ...)``."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)


class RMSNorm(_Scaled):
    """Division by the root of the mean square over the last axes, ``F.rms_norm``."""

    def __init__(
        self,
        normalized_shape: Any,
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        whole = isinstance(normalized_shape, int)
        self.normalized_shape = (normalized_shape,) if whole else tuple(normalized_shape)
        self.eps = eps
        self._create(self.normalized_shape, elementwise_affine, False, dtype)

    def forward(self, input: Any) -> Any:
        """Return ``F.rms_norm(input, ...)``."""
        eps = np.finfo(input._array.dtype).eps if self.eps is None else self.eps
        return F.rms_norm(input, self.normalized_shape, self.weight, float(eps))


class Embedding(Module):
    """A row of `weight` for each index, ``F.embedding``."""

    weight: Any

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        _weight: Tensor | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = padding_idx
        drawn = creation.randn(num_embeddings, embedding_dim, dtype=dtype)
        if _weight is None and padding_idx is not None:
            drawn[padding_idx] = 0.0
        self.weight = Parameter(drawn if _weight is None else _weight)

    @classmethod
    def from_pretrained(
        cls, embeddings: Tensor, freeze: bool = True, padding_idx: int | None = None
    ) -> Embedding:
        """Return a layer with these rows, which are not learned if `freeze`."""
        count, width = embeddings.shape
        layer = cls(count, width, padding_idx, embeddings)
        layer.weight.requires_grad = not freeze
        return layer

    def forward(self, input: Any) -> Any:
        """Return ``F.embedding(input, weight, padding_idx)``."""
        return F.embedding(input, self.weight, self.padding_idx)


class PReLU(Module):
    """A ReLU with a learned slope for negative values, ``F.prelu``."""

    weight: Any

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None
    ) -> None:
        self.num_parameters = num_parameters
        self.weight = Parameter(creation.full((num_parameters,), float(init), dtype))

    def forward(self, input: Any) -> Any:
        """Return ``F.prelu(input, weight)``."""
        return F.prelu(input, self.weight)


# --- containers ----------------------------------------------------------------------------------


class Sequential(Module, sequential.Sequential):
    """Modules called in order, each on the result of the one before."""

    def forward(self, input: Any) -> Any:
        """Return the result of the last module."""
        for module in self:
            input = module(input)
        return input


class ModuleList(Module, containers.ModuleList):
    """A list of modules."""


class ModuleDict(Module, containers.ModuleDict):
    """A dict of modules."""


class ParameterList(Module, containers.ParameterList):
    """A list of parameters."""

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__(map(_parameter, values or ()))


class ParameterDict(Module, containers.ParameterDict):
    """A dict of parameters."""

    def __init__(self, parameters: Mapping[str, Any] | None = None) -> None:
        super().__init__({k: _parameter(v) for k, v in dict(parameters or {}).items()})


def _parameter(value: Any) -> Parameter:
    return value if isinstance(value, Parameter) else Parameter(np.asarray(value))
