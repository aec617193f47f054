"""Gradient checks: `check_gradients` for any function, `check_op` for an op.

Hypothesis, which draws the inputs of `check_op`, is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinygrad_cnn.check.errors import GradientMismatch, OpCheckError, OpGradientError
from tinygrad_cnn.check.formula import FormulaError
from tinygrad_cnn.check.gradients import check_gradients
from tinygrad_cnn.check.report import GradientReport, InputReport, OperandReport, OpReport
from tinygrad_cnn.support.modules import public

if TYPE_CHECKING:
    from tinygrad_cnn.check import strategies
    from tinygrad_cnn.check.ops import check_op

__all__ = [
    "FormulaError",
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

if not TYPE_CHECKING:
    __getattr__, __dir__ = public(
        __name__, {"check_op": "ops", "strategies": "strategies"}, extra="check"
    )
