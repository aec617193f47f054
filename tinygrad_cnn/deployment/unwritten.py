"""The ops that no NumPy program has, and why."""

from __future__ import annotations

from tinygrad_cnn.capture import REFUSED

__all__ = ["UNWRITTEN"]

UNWRITTEN: dict[str, str] = {**REFUSED, "cross_entropy": "it is for training: return logits"}
"""Why an op of this package has no NumPy function, by its name."""
