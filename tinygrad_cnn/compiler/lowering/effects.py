"""Effects that tapes know: clearing gradients, and steps of optimizers."""

from __future__ import annotations

from operator import is_
from typing import Any

from tinygrad_cnn.compiler.guards import StepGuard
from tinygrad_cnn.compiler.lowering.tape import qualified_name
from tinygrad_cnn.compiler.program import (
    Effect,
    FunctionCall,
    LeafValue,
    StepInstruction,
    StoreGradient,
)
from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.nn.layers.normalization import _BatchNorm
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.optim.optimizer import Optimizer

HARMLESS = ("tinygrad_cnn.core.", "tinygrad_cnn.nn.", "tinygrad_cnn.ops.")
"""Where effects change no gradients, but for `cleared_by`, and keep no arrays."""

CLEAR = "tinygrad_cnn.core.variable.clear_gradient"
"""The effect of ``tensor.grad = None``."""


def method_of(effect: Effect, name: str) -> Any:
    """Return the object whose method of this name an effect calls; None if it calls another."""
    function = effect.function
    if getattr(function, "__name__", "") != name:
        return None
    return effect.arguments.get("self", getattr(function, "__self__", None))


def cleared_by(effect: Effect) -> list[Variable] | None:
    """Return the parameters whose ``.grad`` an effect sets to None; None if it does something else.

    That is `zero_grad` of an optimizer or a module, and the assignment of None.
    """
    if qualified_name(effect.function) == CLEAR:
        tensor = effect.arguments["tensor"]
        tensor = tensor.tensor if isinstance(tensor, LeafValue) else tensor
        return [tensor] if isinstance(tensor, Variable) else None
    owner = method_of(effect, "zero_grad")
    if isinstance(owner, Optimizer) and type(owner).zero_grad is Optimizer.zero_grad:
        return list(owner.params)
    if isinstance(owner, Module) and type(owner).zero_grad is Module.zero_grad:
        return [tensor for _, tensor in owner._named_tensors()]
    return None


class ClearedGuard(StepGuard):
    """The parameters whose ``.grad`` an effect sets to None."""

    def __init__(self, effect: Effect) -> None:
        self._effect = effect
        self._parameters = cleared_by(effect)

    def holds(self) -> bool:
        """Compare identities."""
        now, kept = cleared_by(self._effect), self._parameters
        if now is None or kept is None or len(now) != len(kept):
            return False
        return all(map(is_, now, kept))

    def change(self) -> str:
        """Return what has changed."""
        return "the parameters whose gradients are cleared"


def is_harmless(effect: Effect) -> bool:
    """Return whether an effect neither changes gradients nor keeps the arrays that it gets."""
    name = qualified_name(effect.function)
    return isinstance(effect, FunctionCall) or name.startswith(HARMLESS)


def stepped_by(effect: Effect) -> Optimizer | None:
    """Return the optimizer that an effect is the update of; None if it is something else."""
    owner = method_of(effect, "_update_all")
    return owner if isinstance(owner, Optimizer) else None


def changed_by(effect: Effect) -> set[Variable] | None:
    """Return the Tensors whose memory an effect may write to; None if that may be any."""
    optimizer, norm = stepped_by(effect), method_of(effect, "_follow_batch")
    if optimizer is not None:
        return set(optimizer.params)
    if isinstance(norm, _BatchNorm):
        return {tensor for _, tensor in norm.named_buffers()}
    is_known = qualified_name(effect.function).startswith(
        ("tinygrad_cnn.core.", "tinygrad_cnn.ops.")
    )
    return set() if is_known or cleared_by(effect) is not None else None


def cleared_after(cleared: set[Variable], instruction: StepInstruction) -> set[Variable]:
    """Return the parameters whose ``.grad`` is None after an instruction, of those before."""
    if isinstance(instruction, StoreGradient):
        return cleared - {instruction.leaf.tensor}
    if isinstance(instruction, Effect):
        parameters = cleared_by(instruction)
        if parameters is not None:
            return cleared | set(parameters)
        known = is_harmless(instruction) or stepped_by(instruction) is not None
        return cleared if known else set()
    return cleared
