"""Ready-made models: the text's perceptron, LeNet-5 and a small VGG."""

from tinygrad_cnn.nn.models.activations import ACTIVATIONS
from tinygrad_cnn.nn.models.lenet import POOLINGS, LeNet5
from tinygrad_cnn.nn.models.perceptron import MLP
from tinygrad_cnn.nn.models.registry import MODELS, build
from tinygrad_cnn.nn.models.vgg import VGG

__all__ = ["ACTIVATIONS", "MLP", "MODELS", "POOLINGS", "VGG", "LeNet5", "build"]
