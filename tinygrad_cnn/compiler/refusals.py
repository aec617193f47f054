"""Why a step is refused that reads or changes what a replay would not."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.compiler.snapshot import objects_in
from tinygrad_cnn.core.hidden import HiddenArray, HiddenNumber
from tinygrad_cnn.core.variable import Variable


def why_not(value: Any, what: str) -> str:
    """Return why a step may not do `what`, which reads or changes `value`, and what to do."""
    of = "a Tensor" if isinstance(value, Variable) else "an array"
    if what in ("register_hook()", "retain_grad()"):
        return (
            f"{what} in a step, and a replay does not call hooks and keeps no gradients of "
            "results; compute with ops, and return tg.grad(y, x) where you need a gradient"
        )
    is_value = isinstance(value, HiddenArray | HiddenNumber | Variable)
    if what.startswith("assignment") and not is_value:
        return (
            f"{what} of {type(value).__name__}, which a replay would not repeat; return the value, "
            "or do it outside of the step, by a schedule, or in a function marked "
            "with @tg.effect"
        )
    if what.startswith("assignment"):
        return (
            f"{what} of {of} changes it beside the ops, which a replay would not repeat; do it "
            "in a function marked with @tg.effect, such as a step of an optimizer"
        )
    kind = "float" if isinstance(value, HiddenNumber) else f"shape {tuple(np.shape(value))}"
    return (
        f"{what} reads the values of {of} ({kind}), and what Python does with them would not "
        "be repeated in a replay; compute with ops, such as tg.where, return it from the "
        "function and read it there, or do it in a function marked with @tg.effect"
    )


def of_array(array: NDArray[Any], objects: list[Any]) -> str:
    """Return why a step may not use an array; `objects` are arguments that hold no inputs."""
    text = (
        f"an array of {array.dtype} and shape {array.shape} is neither an argument, nor was it "
        "computed by an op or an effect of the step, so a replay could not make it again; "
    )
    for value in objects:
        for part in objects_in({"": value}):
            if isinstance(part, np.ndarray) and np.may_share_memory(part, array):
                return (
                    f"{text}it belongs to an argument of type {type(value).__name__}: pass the "
                    "arrays in it as arguments, alone or in a list, tuple or dict"
                )
    return (
        f"{text}pass it as an argument, compute it with ops, or in a function marked "
        "with @tg.effect"
    )


class EffectFlags:
    """What ``requires_grad`` of Tensors was when effects could read it.

    A step may change it, and ops need nothing else: the program is that of the ops. But a replay
    calls effects with what it is after the step, and an optimizer passes over what requires none.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[int, bool], tuple[Variable, str]] = {}

    def seen(self, arguments: dict[str, Any], line: str) -> None:
        """Note the Tensors that the arguments of an effect lead to."""
        for value in objects_in(arguments):
            if isinstance(value, Variable):
                self._seen.setdefault((id(value), value.requires_grad), (value, line))

    def why_not(self) -> str:
        """Return what has changed since an effect saw it, as a message; "" if nothing has."""
        for (_, flag), (tensor, line) in self._seen.items():
            if tensor.requires_grad != flag:
                return (
                    f"requires_grad of {tensor.name or 'a Tensor'} of shape {tensor.shape} is "
                    f"{flag} in one part of the step and {not flag} at its end, and a replay would "
                    f"call an optimizer with the latter; set it back before the step ends ({line})"
                )
        return ""
