"""Captured programs: the calls of ops that a function makes, with the sources of their arguments.

A capture runs the function once and lists its calls. Several runs together show which numbers vary
with the sizes of the inputs. What follows from the list is elsewhere: an ONNX file
(`tinygrad_cnn.onnx`), a NumPy program.
"""

from typing import TYPE_CHECKING

from tinygrad_cnn.capture.comparison import compared, folded
from tinygrad_cnn.capture.program import (
    CaptureError,
    Instruction,
    Operand,
    Origin,
    Output,
    Program,
    Size,
    SizeError,
)
from tinygrad_cnn.capture.refused import REFUSED
from tinygrad_cnn.capture.tracing import captured, flat
from tinygrad_cnn.support.modules import public

__all__ = [
    "REFUSED",
    "CaptureError",
    "Instruction",
    "Operand",
    "Origin",
    "Output",
    "Program",
    "Size",
    "SizeError",
    "captured",
    "compared",
    "flat",
    "folded",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = public(__name__)
