"""``torch.optim.lr_scheduler``: schedules of the learning rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinygrad_cnn import optim
from tinygrad_cnn.compat.torch import names
from tinygrad_cnn.optim import lr_scheduler

globals().update({n: getattr(optim, n) for n in optim.__all__ if hasattr(lr_scheduler, n)})

if not TYPE_CHECKING:
    __getattr__ = names.missing(__name__, "torch.optim.lr_scheduler", "torch.optim.lr_scheduler")
else:

    def __getattr__(name: str) -> Any: ...
