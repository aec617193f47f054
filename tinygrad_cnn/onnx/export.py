"""`export`: a model as an ONNX file."""

from __future__ import annotations

from typing import Any

__all__ = ["export"]


def export(model: Any, example: Any, path: Any) -> None:
    """Write a model as an ONNX file."""
    raise NotImplementedError
