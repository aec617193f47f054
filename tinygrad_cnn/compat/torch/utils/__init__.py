"""``torch.utils``."""

from typing import TYPE_CHECKING

from tinygrad_cnn.compat.torch import names
from tinygrad_cnn.compat.torch.utils import checkpoint, data, model_zoo

__all__ = ["checkpoint", "data", "model_zoo"]

if not TYPE_CHECKING:
    __getattr__ = names.missing(__name__, "torch.utils", "torch.utils")
