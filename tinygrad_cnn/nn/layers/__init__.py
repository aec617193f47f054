"""Layers: Modules that call one op, and hold its parameters and options."""

from tinygrad_cnn.nn.layers.activation import (
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    ReLU,
    Sigmoid,
    Softmax,
    Softplus,
    Softsign,
    Tanh,
)
from tinygrad_cnn.nn.layers.adaptive import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
)
from tinygrad_cnn.nn.layers.convolution import Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d
from tinygrad_cnn.nn.layers.dropout import Dropout, Dropout1d, Dropout2d
from tinygrad_cnn.nn.layers.embedding import Embedding
from tinygrad_cnn.nn.layers.group_normalization import GroupNorm, LayerNorm, LocalResponseNorm
from tinygrad_cnn.nn.layers.hard_activation import (
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    ReLU6,
    Tanhshrink,
)
from tinygrad_cnn.nn.layers.images import (
    CircularPad2d,
    Fold,
    PixelShuffle,
    PixelUnshuffle,
    ReflectionPad2d,
    ReplicationPad2d,
    Unfold,
    Upsample,
    ZeroPad2d,
)
from tinygrad_cnn.nn.layers.linear import Linear
from tinygrad_cnn.nn.layers.linear_units import CELU, ELU, GELU, SELU, Mish, PReLU, SiLU
from tinygrad_cnn.nn.layers.normalization import BatchNorm1d, BatchNorm2d, InstanceNorm2d
from tinygrad_cnn.nn.layers.pooling import (
    AvgPool1d,
    AvgPool2d,
    GlobalAvgPool2d,
    MaxPool1d,
    MaxPool2d,
)
from tinygrad_cnn.nn.layers.shape import Flatten, Identity

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "SELU",
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AvgPool1d",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "CircularPad2d",
    "Conv1d",
    "Conv2d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Embedding",
    "Flatten",
    "Fold",
    "GlobalAvgPool2d",
    "GroupNorm",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "Identity",
    "InstanceNorm2d",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LocalResponseNorm",
    "LogSigmoid",
    "LogSoftmax",
    "MaxPool1d",
    "MaxPool2d",
    "Mish",
    "PReLU",
    "PixelShuffle",
    "PixelUnshuffle",
    "ReLU",
    "ReLU6",
    "ReflectionPad2d",
    "ReplicationPad2d",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Unfold",
    "Upsample",
    "ZeroPad2d",
]
