"""``torch.nn.modules.utils``: arguments for each axis."""

from tinygrad_cnn.compat.torch.nn.layers import pair as _pair

__all__ = ["_pair"]
