"""Errors of `compile`."""

from __future__ import annotations

__all__ = ["CompileError"]


class CompileError(RuntimeError):
    """A function does what a captured step cannot repeat."""
