"""`compile`: a function's step, captured once and replayed from the declarations of its ops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinygrad_cnn.compiler import module_method as module_method  # it sets `Module.compile`
from tinygrad_cnn.compiler.errors import CompileError
from tinygrad_cnn.compiler.step import CompiledStep, compile
from tinygrad_cnn.support.modules import public

__all__ = ["CompileError", "CompiledStep", "compile"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = public(__name__)
