"""``torch.utils``."""

from tinygrad_cnn.compat.torch.utils import data

__all__ = ["data"]
