"""``torch.nn.modules``: where PyTorch defines its layers."""

from tinygrad_cnn.compat.torch.nn.module import Module
from tinygrad_cnn.compat.torch.nn.modules import batchnorm, conv, loss, utils

__all__ = ["Module", "batchnorm", "conv", "loss", "utils"]
