"""``torch.nn.modules.batchnorm``."""

from tinygrad_cnn.compat.torch.nn.layers import BatchNorm1d, BatchNorm2d, _BatchNorm

__all__ = ["BatchNorm1d", "BatchNorm2d", "_BatchNorm"]
