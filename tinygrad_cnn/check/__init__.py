"""Gradient checks: `check_gradients` for any function, `check_op` for an op.

Hypothesis, which draws the inputs of `check_op`, is imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tinygrad_cnn.check.errors import GradientMismatch, OpCheckError, OpGradientError
from tinygrad_cnn.check.gradients import check_gradients
from tinygrad_cnn.check.report import GradientReport, InputReport, OperandReport, OpReport
from tinygrad_cnn.support.modules import needs_extra

if TYPE_CHECKING:
    from tinygrad_cnn.check import strategies
    from tinygrad_cnn.check.ops import check_op

__all__ = [
    "GradientMismatch",
    "GradientReport",
    "InputReport",
    "OpCheckError",
    "OpGradientError",
    "OpReport",
    "OperandReport",
    "check_gradients",
    "check_op",
    "strategies",
]

_LATE = {"check_op": "ops", "strategies": "strategies"}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with needs_extra("check", f"check.{name}"):
        module = importlib.import_module(f"{__name__}.{_LATE[name]}")
    return module if name == _LATE[name] else getattr(module, name)


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
