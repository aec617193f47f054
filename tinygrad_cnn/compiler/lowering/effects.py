"""Effects that tapes know: clearing gradients, and steps of optimizers."""

from __future__ import annotations

from operator import is_
from typing import Any

from tinygrad_cnn.compiler.guards import StepGuard
from tinygrad_cnn.compiler.program import (
    Effect,
    FunctionCall,
    LeafValue,
    StepInstruction,
    StoreGradient,
)
from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.optim.optimizer import Optimizer

STEP: Any = Optimizer.update_all.__wrapped__  # type: ignore[attr-defined]  # as `wraps` sets it


def cleared_by(effect: Effect) -> list[Variable] | None:
    """Return the parameters whose ``.grad`` an effect sets to None; None if it does more.

    That is `zero_grad` of an optimizer or a module, and the assignment of None.
    """
    return _declared("clears", effect)


def changed_by(effect: Effect) -> set[Variable] | None:
    """Return the Tensors whose memory an effect may write to; None if that may be any."""
    changed = [] if hasattr(effect.function, "clears") else _declared("writes", effect)
    return None if changed is None else set(changed)


def _declared(what: str, effect: Effect) -> list[Variable] | None:
    """Return the Tensors that an effect declares: see `core.effects`."""
    of = getattr(effect.function, what, None)
    if of is None:
        return None
    first = next(iter(effect.arguments.values()))
    return [*of(first.tensor if isinstance(first, LeafValue) else first)]


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
    """Return whether an effect neither adds to gradients nor keeps the arrays that it gets."""
    return isinstance(effect, FunctionCall) or changed_by(effect) is not None


def stepped_by(effect: Effect) -> Optimizer | None:
    """Return the optimizer that an effect is the update of; None if it is something else."""
    return effect.arguments["self"] if effect.function is STEP else None


def cleared_after(cleared: set[Variable], instruction: StepInstruction) -> set[Variable]:
    """Return the parameters whose ``.grad`` is None after an instruction, of those before."""
    if isinstance(instruction, StoreGradient):
        return cleared - {instruction.leaf.tensor}
    if isinstance(instruction, Effect):
        parameters = cleared_by(instruction)
        if parameters is not None:
            return cleared | set(parameters)
        return cleared if is_harmless(instruction) else set()
    return cleared
