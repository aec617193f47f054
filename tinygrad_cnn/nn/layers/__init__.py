"""Layers: Modules that call one op, and hold its parameters and options."""

from tinygrad_cnn.nn.layers.activation import GELU, LeakyReLU, ReLU, Sigmoid, Softmax, Tanh
from tinygrad_cnn.nn.layers.convolution import Conv2d, ConvTranspose2d
from tinygrad_cnn.nn.layers.linear import Linear
from tinygrad_cnn.nn.layers.pooling import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from tinygrad_cnn.nn.layers.regularization import BatchNorm2d, Dropout, GroupNorm
from tinygrad_cnn.nn.layers.shape import Flatten

__all__ = [
    "GELU",
    "AvgPool2d",
    "BatchNorm2d",
    "Conv2d",
    "ConvTranspose2d",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2d",
    "GroupNorm",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "ReLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
]
