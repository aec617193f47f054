"""``torch.backends``: switches of devices that are not here."""

from types import SimpleNamespace

from tinygrad_cnn.compat.torch.backends import cudnn

mps = SimpleNamespace(is_available=lambda: False, is_built=lambda: False)

__all__ = ["cudnn", "mps"]
