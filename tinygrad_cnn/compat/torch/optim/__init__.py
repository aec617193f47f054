"""``torch.optim``: optimizers and schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinygrad_cnn.compat.torch import names
from tinygrad_cnn.compat.torch.optim import lr_scheduler
from tinygrad_cnn.compat.torch.optim.optimizer import Optimizer, optimizers

globals().update(optimizers(__name__))

if not TYPE_CHECKING:
    __getattr__ = names.missing(__name__, "torch.optim", "torch.optim")
else:

    def __getattr__(name: str) -> Any: ...
