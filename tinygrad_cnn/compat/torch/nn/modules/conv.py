"""``torch.nn.modules.conv``."""

from tinygrad_cnn.compat.torch.nn.layers import Conv1d, Conv2d, ConvTranspose2d, _ConvNd

__all__ = ["Conv1d", "Conv2d", "ConvTranspose2d", "_ConvNd"]
