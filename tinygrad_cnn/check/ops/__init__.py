"""Op checks: every property that an op's declaration promises."""

from tinygrad_cnn.check.ops.check import EXAMPLES, check_op
from tinygrad_cnn.check.ops.report import (
    COLUMNS,
    OpCheckError,
    OperandReport,
    OpGradientError,
    OpReport,
)
from tinygrad_cnn.check.ops.run import PROPERTIES

__all__ = [
    "COLUMNS",
    "EXAMPLES",
    "PROPERTIES",
    "OpCheckError",
    "OpGradientError",
    "OpReport",
    "OperandReport",
    "check_op",
]
