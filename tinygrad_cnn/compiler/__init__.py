"""`compile`: a function's step, captured once and replayed from the declarations of its ops."""

from __future__ import annotations

from tinygrad_cnn.compiler.errors import CompileError
from tinygrad_cnn.compiler.step import CompiledStep, compile

__all__ = ["CompileError", "CompiledStep", "compile"]
