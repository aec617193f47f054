"""``torch.save`` and ``torch.load``: safetensors and JSON in one file, never pickle."""

from __future__ import annotations

from typing import Any


def save(obj: Any, f: Any) -> None:
    """Write Tensors, numbers and texts, in dicts and lists, to a file."""
    raise NotImplementedError


def load(f: Any, map_location: Any = None, weights_only: bool = True) -> Any:
    """Read what `save` has written."""
    raise NotImplementedError
