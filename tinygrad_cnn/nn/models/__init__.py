"""Ready-made models, one file each: from the text's perceptron to ResNet, U-Net and DCGAN."""

from typing import TYPE_CHECKING

from tinygrad_cnn.nn.models.activations import ACTIVATIONS
from tinygrad_cnn.nn.models.autoencoder import ConvAutoencoder
from tinygrad_cnn.nn.models.dcgan import DCGANDiscriminator, DCGANGenerator
from tinygrad_cnn.nn.models.densenet import (
    DenseNet,
    densenet121,
    densenet161,
    densenet169,
    densenet201,
)
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
    resnet101,
    resnet152,
    resnext50_32x4d,
    resnext101_32x8d,
    resnext101_64x4d,
    wide_resnet50_2,
    wide_resnet101_2,
)
from tinygrad_cnn.nn.models.unet import UNet
from tinygrad_cnn.nn.models.vgg import VGG, vgg11, vgg13, vgg16, vgg19
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
    "densenet161",
    "densenet169",
    "densenet201",
    "resnet18",
    "resnet20",
    "resnet32",
    "resnet34",
    "resnet50",
    "resnet56",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
    "wide_resnet50_2",
    "wide_resnet101_2",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = public(__name__)
