"""`load`: the `Module` of an ONNX file."""

from __future__ import annotations

from typing import Any

__all__ = ["load"]


def load(path: Any) -> Any:
    """Return the Module of an ONNX file."""
    raise NotImplementedError
