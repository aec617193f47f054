"""``torch.backends``: switches of devices that are not here."""

from types import SimpleNamespace
from typing import TYPE_CHECKING

from tinygrad_cnn.compat.torch import names
from tinygrad_cnn.compat.torch.backends import cudnn

mps = SimpleNamespace(is_available=lambda: False, is_built=lambda: False)

__all__ = ["cudnn", "mps"]

if not TYPE_CHECKING:
    __getattr__ = names.missing(__name__, "torch.backends", "torch.backends")
