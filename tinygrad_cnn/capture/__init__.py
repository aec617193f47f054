"""Captured programs: the calls of ops that a function makes, with the sources of their arguments.

A capture runs the function once and lists its calls. What follows from that list is elsewhere: an
ONNX file (`tinygrad_cnn.onnx`), a NumPy program.
"""

from typing import TYPE_CHECKING

from tinygrad_cnn.capture.program import (
    CaptureError,
    Instruction,
    Operand,
    Origin,
    Program,
    captured,
)
from tinygrad_cnn.support.modules import public

__all__ = ["CaptureError", "Instruction", "Operand", "Origin", "Program", "captured"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = public(__name__)
