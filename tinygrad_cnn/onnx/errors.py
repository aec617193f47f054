"""The error of what cannot be exported or loaded."""

from __future__ import annotations

__all__ = ["OnnxError"]


class OnnxError(ValueError):
    """A model cannot be exported, or a file cannot be loaded; the message says what and where."""
