"""Neural networks: Module, layers, initializers and ready-made models."""

from typing import TYPE_CHECKING

from tinygrad_cnn.core.tensor import Parameter
from tinygrad_cnn.nn import init
from tinygrad_cnn.nn.containers import (
    ModuleDict,
    ModuleList,
    ParameterDict,
    ParameterList,
    Sequential,
)
from tinygrad_cnn.nn.layers import (
    GELU,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    GroupNorm,
    LeakyReLU,
    Linear,
    MaxPool2d,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)
from tinygrad_cnn.nn.loss import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
    SmoothL1Loss,
)
from tinygrad_cnn.nn.models import ACTIVATIONS, MLP, MODELS, POOLINGS, VGG, LeNet5, build
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.nn.sizes import SizedLayer
from tinygrad_cnn.nn.summary import Summary, SummaryRow
from tinygrad_cnn.support.modules import public

__all__ = [
    "ACTIVATIONS",
    "GELU",
    "MLP",
    "MODELS",
    "POOLINGS",
    "VGG",
    "AvgPool2d",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm2d",
    "Conv2d",
    "ConvTranspose2d",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2d",
    "GroupNorm",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "LeNet5",
    "LeakyReLU",
    "Linear",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "ModuleDict",
    "ModuleList",
    "NLLLoss",
    "Parameter",
    "ParameterDict",
    "ParameterList",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "SizedLayer",
    "SmoothL1Loss",
    "Softmax",
    "Summary",
    "SummaryRow",
    "Tanh",
    "build",
    "init",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = public(__name__)
