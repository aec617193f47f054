"""Ready-made models, one file each: from the text's perceptron to ResNet, U-Net and DCGAN."""

from typing import TYPE_CHECKING

from tinygrad_cnn.nn.models.activations import ACTIVATIONS
from tinygrad_cnn.nn.models.autoencoder import ConvAutoencoder
from tinygrad_cnn.nn.models.dcgan import DCGANDiscriminator, DCGANGenerator
from tinygrad_cnn.nn.models.densenet import DenseNet, densenet121
from tinygrad_cnn.nn.models.lenet import POOLINGS, LeNet5
from tinygrad_cnn.nn.models.mobilenet import MobileNetV2
from tinygrad_cnn.nn.models.perceptron import MLP
from tinygrad_cnn.nn.models.registry import MODELS, build
from tinygrad_cnn.nn.models.resnet import (
    ResNet,
    resnet18,
    resnet20,
    resnet32,
    resnet34,
    resnet50,
    resnet56,
)
from tinygrad_cnn.nn.models.unet import UNet
from tinygrad_cnn.nn.models.vgg import VGG
from tinygrad_cnn.support.modules import public

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "MODELS",
    "POOLINGS",
    "VGG",
    "ConvAutoencoder",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "DenseNet",
    "LeNet5",
    "MobileNetV2",
    "ResNet",
    "UNet",
    "build",
    "densenet121",
    "resnet18",
    "resnet20",
    "resnet32",
    "resnet34",
    "resnet50",
    "resnet56",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = public(__name__)
