"""Checks of derivatives and of ops, against numbers.

- `check_gradients(f, *arrays)` compares the gradients of any function of Tensors with numerical
  derivatives, at one point. It returns a `GradientReport` of `InputReport` rows, or raises a
  `GradientMismatch`, which names the wrong entries and the rule at fault.
- `check_op(op)` checks all promises of an op's declaration, on calls that Hypothesis draws. It
  returns an `OpReport` of `OperandReport` rows, or raises an `OpCheckError` (an `OpGradientError`
  for a wrong derivative, a `FormulaError` for an unreadable formula).
- `strategies` draw the arguments of ops, for `Op.calls` and for tests; `Draw` and `Strategies` are
  the types of such a function's arguments.

Hypothesis is imported by `check_op` and `strategies` on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinygrad_cnn.check.errors import GradientMismatch, OpCheckError, OpGradientError
from tinygrad_cnn.check.formula import FormulaError
from tinygrad_cnn.check.gradients import check_gradients
from tinygrad_cnn.check.report import GradientReport, InputReport, OperandReport, OpReport
from tinygrad_cnn.core.declaration import Draw, Strategies
from tinygrad_cnn.support.modules import public

if TYPE_CHECKING:
    from tinygrad_cnn.check import strategies
    from tinygrad_cnn.check.ops import check_op

__all__ = [
    "Draw",
    "FormulaError",
    "GradientMismatch",
    "GradientReport",
    "InputReport",
    "OpCheckError",
    "OpGradientError",
    "OpReport",
    "OperandReport",
    "Strategies",
    "check_gradients",
    "check_op",
    "strategies",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = public(
        __name__, {"check_op": "ops", "strategies": "strategies"}, extra="check"
    )
