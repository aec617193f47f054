"""``torch.nn.modules.loss``: the base class of losses."""

from tinygrad_cnn.compat.torch.nn.table import _Loss

__all__ = ["_Loss"]
