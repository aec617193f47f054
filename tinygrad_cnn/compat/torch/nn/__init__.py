"""``torch.nn``: modules, layers, losses and parameters, under PyTorch's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinygrad_cnn.compat.torch import names
from tinygrad_cnn.compat.torch.nn import functional, init, parameter, utils
from tinygrad_cnn.compat.torch.nn.layers import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    Conv1d,
    Conv2d,
    ConvTranspose1d,
    ConvTranspose2d,
    Embedding,
    GroupNorm,
    InstanceNorm1d,
    InstanceNorm2d,
    LayerNorm,
    Linear,
    ModuleDict,
    ModuleList,
    ParameterDict,
    ParameterList,
    PReLU,
    RMSNorm,
    Sequential,
)
from tinygrad_cnn.compat.torch.nn.module import Module
from tinygrad_cnn.compat.torch.nn.table import layers
from tinygrad_cnn.compat.torch.tensor import Parameter

globals().update(layers(__name__))

if not TYPE_CHECKING:
    __getattr__ = names.missing(__name__, "torch.nn", "torch.nn")
else:

    def __getattr__(name: str) -> Any: ...
