"""Views of memory that a step changes or returns: NumPy makes them, so that they stay views.

A row copies what it reads of a parameter. The eager result of ``w.T`` is a view of `w`, though: it
shows what an optimizer then does to `w`. So NumPy computes such a view where it is read after a
change, or by someone outside; and what reads it after a change gets it again:

    y1 = transpose(w);  step();  y2 = y1·2      →  y1 = transpose(w);  step();  e1 = y1;  y2 = e1·2
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import numpy as np

from tinygrad_cnn.compiler.lowering.effects import changed_by, is_harmless
from tinygrad_cnn.compiler.program import (
    ConstantValue,
    Effect,
    ForwardCall,
    FunctionCall,
    InputValue,
    LeafValue,
    RuleCall,
    SharedCall,
    StepInstruction,
    StepProgram,
    StepValue,
    replaced,
    values_in,
)


@dataclass(slots=True)
class LiveViews:
    """A program whose views of changed memory are read again after each change.

    Attributes
    ----------
    program : StepProgram
    left : set of StepInstruction
        Those that NumPy must compute.
    """

    program: StepProgram
    left: set[StepInstruction] = field(default_factory=set)


def with_live_views(program: StepProgram) -> LiveViews:
    """Return the program in which views of changed memory are read again."""
    made = _Reader(program)
    result = replaced(program.result, made.read(program.result))
    for value in values_in(result):
        made.leave(value)
    return LiveViews(StepProgram(program.inputs, made.instructions, result), made.left)


class _Reader:
    """Goes through the instructions of one program."""

    def __init__(self, program: StepProgram) -> None:
        self.instructions: list[StepInstruction] = []
        self.left: set[StepInstruction] = set()
        self._maker: dict[StepValue, StepInstruction] = {}
        self._owners: dict[StepValue, set[StepValue]] = {}  # of views: whose memory they show
        self._changed: set[StepValue] = set()  # views, since they were read
        self._now: dict[StepValue, StepValue] = {}  # what is read in place of views
        self._calls: dict[ForwardCall, ForwardCall] = {}  # with other arguments
        self._shared: dict[SharedCall, SharedCall] = {}
        self._names = (f"view_{k}" for k in count(1))
        for instruction in program.instructions:
            self._take(instruction)

    def read(self, argument: Any) -> dict[StepValue, StepValue]:
        """Read the changed views in an argument again; return what takes the place of which."""
        for value in values_in(argument):
            if value in self._changed:
                self._changed.remove(value)
                self.leave(value)
                array = StepValue(next(self._names), value.shape, value.dtype, value.strides)
                self._add(FunctionCall(np.asarray, {"0": value}, [array]))
                self._now[value] = array
        return self._now

    def leave(self, value: StepValue) -> None:
        """Leave a view, and what it is a view of, to NumPy."""
        if value in self._owners and value in self._maker:
            maker = self._maker[value]
            self.left.add(maker)
            for part in maker.reads():
                self.leave(part)

    def _take(self, instruction: StepInstruction) -> None:
        instruction = self._with_views(instruction)
        self._add(instruction)
        if isinstance(instruction, ForwardCall | FunctionCall):
            self._note_view(instruction)
        elif isinstance(instruction, Effect):
            if not is_harmless(instruction):
                for value in instruction.reads():
                    self.leave(value)
            self._note_change(instruction)

    def _add(self, instruction: StepInstruction) -> None:
        self.instructions.append(instruction)
        self._maker |= dict.fromkeys(instruction.results(), instruction)

    def _with_views(self, instruction: StepInstruction) -> StepInstruction:
        """Return an instruction that reads changed views again."""
        if isinstance(instruction, ForwardCall | Effect):
            now = self.read(instruction.arguments)
            if now.keys().isdisjoint(values_in(instruction.arguments)):
                return instruction
            changed = replace(instruction, arguments=replaced(instruction.arguments, now))
            if isinstance(instruction, ForwardCall) and isinstance(changed, ForwardCall):
                self._calls[instruction] = changed
            return changed
        if isinstance(instruction, SharedCall) and instruction.call in self._calls:
            made = replace(instruction, call=self._calls[instruction.call])
            self._shared[instruction] = made
            return made
        if isinstance(instruction, RuleCall) and instruction.call in self._calls:
            shared = {key: self._shared.get(v, v) for key, v in instruction.shared.items()}
            return replace(instruction, call=self._calls[instruction.call], shared=shared)
        return instruction

    def _note_view(self, call: ForwardCall | FunctionCall) -> None:
        if call.is_view:
            result = call.result if isinstance(call, ForwardCall) else call.parts[0]
            owners = {owner for value in call.reads() for owner in self._owners_of(value)}
            if owners:
                self._owners[result] = owners

    def _owners_of(self, value: StepValue) -> Iterator[StepValue]:
        if isinstance(value, LeafValue | InputValue | ConstantValue):
            yield value
        yield from self._owners.get(value, ())

    def _note_change(self, effect: Effect) -> None:
        """Note the views that show what an effect has changed."""
        tensors = changed_by(effect)
        for view, owners in self._owners.items():
            if tensors is None or any(
                isinstance(owner, LeafValue) and owner.tensor in tensors for owner in owners
            ):
                self._changed.add(view)
                self._now.pop(view, None)
        if tensors is None:
            given = {v for v in effect.reads() if isinstance(v, InputValue)}
            self._changed |= given
            for value in given:
                self._now.pop(value, None)
