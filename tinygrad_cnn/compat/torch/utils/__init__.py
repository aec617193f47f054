"""``torch.utils``."""

from tinygrad_cnn.compat.torch.utils import checkpoint, data, model_zoo

__all__ = ["checkpoint", "data", "model_zoo"]
