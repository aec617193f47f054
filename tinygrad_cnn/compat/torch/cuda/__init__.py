"""``torch.cuda``: there is none."""

from __future__ import annotations

from typing import Any

from tinygrad_cnn.compat.torch import names
from tinygrad_cnn.compat.torch.cuda import amp


def is_available() -> bool:
    """Return False."""
    return False


def device_count() -> int:
    """Return 0."""
    return 0


def manual_seed(seed: int) -> None:
    """Do nothing."""


def manual_seed_all(seed: int) -> None:
    """Do nothing."""


def empty_cache() -> None:
    """Do nothing."""


def synchronize(device: Any = None) -> None:
    """Do nothing."""


__all__ = [
    "amp", "device_count", "empty_cache", "is_available", "manual_seed", "manual_seed_all",
    "synchronize",
]  # fmt: skip
__getattr__ = names.missing(__name__, "torch.cuda", "torch.cuda")
