"""``torch.nn.parameter``."""

from tinygrad_cnn.compat.torch.tensor import Parameter

__all__ = ["Parameter"]
