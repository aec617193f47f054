"""Cutting a program into tapes: instructions that have rows, and those that NumPy computes."""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import count
from typing import Any

import numpy as np

from tinygrad_cnn.compiler import lowering
from tinygrad_cnn.compiler.guards import StepGuard
from tinygrad_cnn.compiler.lowering.effects import (
    ClearedGuard,
    cleared_after,
    cleared_by,
    is_harmless,
    stepped_by,
)
from tinygrad_cnn.compiler.lowering.fusion import NotFusedError, fused, is_fused
from tinygrad_cnn.compiler.lowering.gradients import (
    StoredGradient,
    StoredGradients,
    add_gradients,
    store_gradient,
)
from tinygrad_cnn.compiler.lowering.live import with_live_views
from tinygrad_cnn.compiler.lowering.optimizers import GivenGradient, OptimizerStep, kernels_of
from tinygrad_cnn.compiler.lowering.tape import (
    BACKWARD,
    EFFECTS,
    FORWARD,
    SHARED,
    Lowered,
    NoPlace,
    Writer,
)
from tinygrad_cnn.compiler.lowering.tape_run import TapeMemory, TapeRun
from tinygrad_cnn.compiler.program import (
    AddGradients,
    Effect,
    ForwardCall,
    FunctionCall,
    LeafValue,
    NumberValue,
    RuleCall,
    SharedCall,
    StepInstruction,
    StepProgram,
    StepValue,
    StoreGradient,
    TapeCall,
    replaced,
    values_in,
)
from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.engine.fast.kernel import POINTERS
from tinygrad_cnn.engine.fast.machine import KernelCall


def on_tapes(program: StepProgram) -> StepProgram:
    """Return the program with its instructions on tapes, where they have rows.

    An instruction without rows stays: NumPy computes it between two tapes. Programs of equal inputs
    share nothing; each has memory of its own.
    """
    _load_lowerings()
    live = with_live_views(program)
    cutter = _Cutter(fused(live.program), live.left)
    try:
        cutter.cut()
    except NotFusedError:
        cutter = _Cutter(live.program, live.left)
        cutter.cut()
    return cutter.lowered()


class _Segment:
    """Consecutive instructions that one tape computes."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.instructions: list[StepInstruction] = []
        self.placed: list[StepValue] = []
        self.rows: list[KernelCall] = []
        self.rows_before_step = 0
        self.reads: list[tuple[int, Callable[[], float]]] = []
        self.changed: dict[LeafValue, None] = {}
        self.cleared: list[tuple[int, int, Variable]] = []
        """With the instruction, and the number of gradients stored before."""
        self.prepared: list[StoredGradient] = []
        self.stored: dict[LeafValue, StoredGradient] = {}
        self.step: OptimizerStep | None = None

    @property
    def is_run(self) -> bool:
        """Whether a tape runs it: it has rows, or stores what rows of another have computed."""
        return bool(self.rows or self.stored)

    def add(self, instruction: StepInstruction, writer: Writer) -> None:
        """Take the rows of an instruction."""
        self.instructions.append(instruction)
        self.placed += writer.placed
        self.rows += writer.rows
        self.reads += writer.reads
        self.changed.update(writer.changed)
        if self.step is None:
            self.rows_before_step = len(self.rows)


class _Cutter:
    """Lowers the instructions of one program in order, but those that are left to NumPy."""

    def __init__(self, program: StepProgram, left: set[StepInstruction]) -> None:
        self.program = program
        self._left = left
        self.writer = Writer(program)
        self.parts: list[StepInstruction | _Segment] = []
        self._open: _Segment | None = None
        self.guards: list[StepGuard] = []
        self._direct = _written_directly(program)
        self._gradients: dict[LeafValue, StoredGradient] = {}  # which rows write to directly
        self._with_gradient: dict[LeafValue, None] = {}
        self._cleared: set[Variable] = set()  # their .grad is None

    def cut(self) -> None:
        """Lower every instruction that has rows."""
        for index, instruction in enumerate(self.program.instructions):
            segment = self._open or _Segment(index)
            if self._is_lowered(index, instruction, segment):
                if self._open is None:
                    self.parts.append(segment)
                segment.add(instruction, self.writer)
                self._open = segment if segment.step is None else None
            elif is_fused(instruction):
                raise NotFusedError
            else:
                self.writer.drop()
                self.parts.append(instruction)
                self._close()
            if isinstance(instruction, StoreGradient):
                self._with_gradient[instruction.leaf] = None
            self._cleared = cleared_after(self._cleared, instruction)
        self._close()

    def _close(self) -> None:
        """End the open segment; NumPy computes the values of one without rows."""
        if self._open is not None and not self._open.is_run:
            self.writer.forget(self._open.placed)
        self._open = None

    def _is_lowered(self, index: int, instruction: StepInstruction, segment: _Segment) -> bool:
        """Lower one instruction; return False where it has no rows."""
        self.writer.begin(index, segment.first, instruction)
        try:
            return self._lower(index, instruction, segment)
        except NoPlace:
            return False
        except Exception as error:
            text = f"compile: a kernel for {_name(instruction)} failed, NumPy takes its place: "
            warnings.warn(f"{text}{error}", RuntimeWarning, stacklevel=2)
            return False

    def _lower(self, index: int, instruction: StepInstruction, segment: _Segment) -> bool:
        if instruction in self._left:
            return False
        if isinstance(instruction, Effect):
            return self._lower_effect(index, instruction, segment)
        if isinstance(instruction, StoreGradient):
            return self._store(index, instruction, segment)
        if isinstance(instruction, AddGradients):
            return add_gradients(self.writer, instruction)
        found = _lowering_of(instruction)
        if found is None:
            return False
        direct = {
            leaf: StoredGradient(leaf, self.writer, is_first=True)
            for value in instruction.results()
            if (leaf := self._direct.get(value)) is not None
        }
        for value in instruction.results():
            if value in self._direct:
                self.writer.direct(value, direct[self._direct[value]].place)
        if not found(self.writer, instruction):
            return False
        self._gradients |= direct
        segment.prepared += direct.values()
        return True

    def _lower_effect(self, index: int, effect: Effect, segment: _Segment) -> bool:
        cleared = cleared_by(effect)
        if cleared is not None:
            stored_before = len(segment.stored)
            segment.cleared += [(index, stored_before, parameter) for parameter in cleared]
            if "self" in effect.arguments:  # an optimizer or a module, which may get others
                self.guards.append(ClearedGuard(effect))
            return True
        optimizer = stepped_by(effect)
        if optimizer is None:
            return self._lower_function(effect)
        if None in kernels_of(optimizer) or not self._with_gradient:
            return False
        gradients: dict[LeafValue, StoredGradient | GivenGradient] = {
            leaf: segment.stored.get(leaf) or GivenGradient(leaf.tensor, self.writer)
            for leaf in self._with_gradient
        }
        step = OptimizerStep(optimizer, gradients)
        step.lower(self.writer)
        segment.step = step
        return True

    def _lower_function(self, effect: Effect) -> bool:
        """Lower an effect by its declared lowering; a copy is the memory of what it copies."""
        if isinstance(effect, FunctionCall) and effect.function is np.ndarray.copy:
            (source,), (result,) = effect.arguments.values(), effect.parts
            alike = self.writer.are_alike(source, result) and not self.writer.has(result)
            if not alike or isinstance(source, LeafValue):
                return False
            self.writer.alias(result, source)
            return True
        found = next((lowers for function, lowers in EFFECTS if function is effect.function), None)
        return found is not None and found(self.writer, effect)

    def _store(self, index: int, instruction: StoreGradient, segment: _Segment) -> bool:
        """Store a gradient: rows add it to ``.grad``, unless they have written to it directly."""
        leaf, gradient = instruction.leaf, instruction.gradient
        if leaf in segment.stored:
            if any(parameter is leaf.tensor for *_, parameter in segment.cleared):
                return False
            earlier = self.writer.number(1.0)
            return store_gradient(self.writer, instruction, segment.stored[leaf].place, earlier)
        stored = self._gradients.get(leaf)
        if stored is None or gradient not in self._direct:
            stored = StoredGradient(leaf, self.writer, leaf.tensor in self._cleared)
            if not store_gradient(self.writer, instruction, stored.place, stored.earlier):
                return False
            segment.prepared.append(stored)
        cleared = [at for at, _, parameter in segment.cleared if parameter is leaf.tensor]
        stored.cleared, stored.stored = max(cleared, default=-1), index
        segment.stored[leaf] = stored
        return True

    # --- the program of tapes --------------------------------------------------------------------

    def lowered(self) -> StepProgram:
        """Return the program with a call of a tape for each segment."""
        segments = [part for part in self.parts if isinstance(part, _Segment) and part.is_run]
        copied = set(values_in(self.program.result))
        viewed: set[StepValue] = set()
        for instruction in self._left_to_numpy():
            keeps = isinstance(instruction, Effect) and not is_harmless(instruction)
            (copied if keeps else viewed).update(instruction.reads())
        for value in viewed | copied:
            self.writer.keep(value)
        memory = TapeMemory(self.writer)
        memory.guards = self.guards
        calls = {segment: self._call(segment, memory, viewed, copied) for segment in segments}
        for group in self._groups(segments):
            stored = StoredGradients(group, memory.at, memory.numbers)
            for segment in segments:
                if group[0] in segment.prepared:
                    calls[segment].function.prepared.append(stored)
                if group[0] in segment.stored.values():
                    calls[segment].function.stored.append(stored)
        if segments:
            calls[segments[0]].function.is_first = True
        instructions: list[StepInstruction] = []
        for part in self.parts:
            if isinstance(part, StepInstruction):
                instructions.append(part)
            else:
                instructions += [calls[part]] if part in calls else part.instructions
        result = self._apart(memory, instructions)
        return StepProgram(self.program.inputs, instructions, result)

    def _apart(self, memory: TapeMemory, instructions: list[StepInstruction]) -> Any:
        """Copy what is returned, or kept by an effect, if NumPy has left it in the arena."""
        computed = {v for i in self._left_to_numpy() for v in i.results()}
        names = (f"own_{k}" for k in count(1))

        def apart(argument: Any) -> tuple[Any, list[StepInstruction]]:
            values: dict[StepValue, StepValue] = {}
            calls: list[StepInstruction] = []
            for value in values_in(argument):
                if value in computed and not isinstance(value, NumberValue):
                    made = StepValue(next(names), value.shape, value.dtype, value.strides)
                    calls.append(FunctionCall(memory.apart, {"0": value}, [made]))
                    values[value] = made
            return replaced(argument, values), calls

        if not any(isinstance(each, TapeCall) for each in instructions):
            return self.program.result
        for k, each in reversed(list(enumerate(instructions))):
            if isinstance(each, Effect) and not is_harmless(each):
                arguments, calls = apart(each.arguments)
                if calls:
                    instructions[k : k + 1] = [*calls, replace(each, arguments=arguments)]
        result, calls = apart(self.program.result)
        instructions += calls
        return result

    def _left_to_numpy(self) -> Iterator[StepInstruction]:
        """Yield the instructions that no tape computes."""
        for part in self.parts:
            if isinstance(part, StepInstruction):
                yield part
            elif not part.is_run:
                yield from part.instructions

    def _groups(self, segments: list[_Segment]) -> list[list[StoredGradient]]:
        """Return the stored gradients that are prepared and stored by the same segments."""
        groups: dict[tuple[int, int], list[StoredGradient]] = {}
        last = {g: k for k, segment in enumerate(segments) for g in segment.stored.values()}
        for first, segment in enumerate(segments):
            for gradient in segment.prepared:
                groups.setdefault((first, last.get(gradient, -1)), []).append(gradient)
        return list(groups.values())

    def _call(
        self,
        segment: _Segment,
        memory: TapeMemory,
        viewed: set[StepValue],
        copied: set[StepValue],
    ) -> TapeCall:
        """Return the call of the tape of a segment."""
        writer = self.writer
        imported = [each for each in writer.imported.values() if each.first == segment.first]
        outputs = [
            value
            for instruction in segment.instructions
            for value in instruction.results()
            if (value in viewed or value in copied) and writer.has(value)
        ]
        leaves = {
            place: writer.sources[place]
            for row in segment.rows
            for place, kind in zip(row.operands, row.kernel.kinds, strict=True)
            if kind in POINTERS and isinstance(writer.sources[place], LeafValue)
        }
        run = TapeRun(
            memory,
            segment.rows,
            imported,
            [(value, value in copied) for value in outputs],
            list(leaves.items()),
            [leaf.tensor for leaf in segment.changed],
        )
        run.reads = segment.reads
        run.rows_before_step = segment.rows_before_step
        if segment.step is not None:
            run.step = segment.step
            segment.step.bind(memory.at, memory.numbers)
        places = {leaf.tensor: k for k, leaf in enumerate(segment.stored)}
        for index, stored_before, parameter in segment.cleared:
            if parameter not in places:
                run.cleared_before.append((index, parameter))
            elif places[parameter] < stored_before:
                run.cleared_after.append((index, parameter))
        return TapeCall(
            instructions=segment.instructions,
            inputs=[each.value for each in imported],
            outputs=outputs,
            function=run,
        )


def _written_directly(program: StepProgram) -> dict[StepValue, LeafValue]:
    """Return the gradients that rows may write to ``.grad`` directly.

    Each is stored once, is the first after ``.grad`` was cleared, and is read by nothing else.
    """
    cleared: set[Variable] = set()
    found: dict[StepValue, LeafValue] = {}
    reads = Counter(values_in(program.result))
    stores = Counter(i.leaf for i in program.instructions if isinstance(i, StoreGradient))
    for instruction in program.instructions:
        reads.update(instruction.reads())
        if isinstance(instruction, StoreGradient):
            leaf, gradient = instruction.leaf, instruction.gradient
            like = (gradient.shape, gradient.dtype) == (leaf.shape, leaf.dtype)
            if leaf.tensor in cleared and stores[leaf] == 1 and like:
                found[gradient] = leaf
        cleared = cleared_after(cleared, instruction)
    return {gradient: leaf for gradient, leaf in found.items() if reads[gradient] == 1}


def _lowering_of(instruction: StepInstruction) -> Lowered | None:
    """Return the declared lowering of an instruction."""
    if isinstance(instruction, ForwardCall):
        return None if instruction.op.guarded else FORWARD.get(instruction.op.name)
    if isinstance(instruction, RuleCall):
        op, of = instruction.call.op, instruction.derivative.of
        return None if op.guarded else BACKWARD.get((op.name, of))
    if isinstance(instruction, SharedCall):
        op = instruction.call.op
        return None if op.guarded else SHARED.get((op.name, instruction.name))
    return None


def _name(instruction: StepInstruction) -> str:
    """Return the name of an instruction for a warning."""
    if isinstance(instruction, ForwardCall):
        return instruction.op.name
    if isinstance(instruction, RuleCall | SharedCall):
        return f"the derivative of {instruction.call.op.name}"
    return type(instruction).__name__


@cache
def _load_lowerings() -> None:
    """Import the modules that declare lowerings."""
    for module in pkgutil.iter_modules(lowering.__path__):
        importlib.import_module(f"{lowering.__name__}.{module.name}")
