"""The lines of a captured step, and the memory that its values take from line to line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from tinygrad_cnn.compiler.lowering.arena import MemoryBlock, plan
from tinygrad_cnn.compiler.program import (
    AddGradients,
    ConstantValue,
    Effect,
    ForwardCall,
    GradientStore,
    RuleCall,
    SharedCall,
    StepInstruction,
    StepProgram,
    StepValue,
    TapeCall,
    values_in,
)
from tinygrad_cnn.engine.arrays import Shape

__all__ = ["MapLine", "MapPiece", "MapRegion", "StepMap", "step_map"]

StepPhase: TypeAlias = Literal["forward", "backward", "update"]
PieceKind: TypeAlias = Literal["input", "value", "gradient", "scratch"]
MOST_ARGUMENTS = 3  # more are counted, not named


@dataclass(frozen=True, slots=True)
class MapLine:
    """One line of a step: an instruction, or those of a module.

    Attributes
    ----------
    text : str
        What it computes, such as "y3 = relu(y2)".
    scope : str
        The module.
    shape : tuple of int or None
        Of its result.
    phase : {"forward", "backward", "update"}
    tape : int
        The number of the tape that runs it, from 1; 0 if NumPy computes it.
    count : int
        The number of instructions.
    """

    text: str
    scope: str
    shape: Shape | None
    phase: StepPhase
    tape: int = 0
    count: int = 1


@dataclass(frozen=True, slots=True)
class MapPiece:
    """Memory of a value, from the line that computes it to the last that reads it.

    Attributes
    ----------
    names : tuple of str
        Its value, and those that are the same memory in another shape.
    kind : {"input", "value", "gradient", "scratch"}
        Scratch is memory that only one line uses.
    shape : tuple of int or None
    first, last : int
        The numbers of lines, from 0.
    offset, size : int
        In bytes.
    """

    names: tuple[str, ...]
    kind: PieceKind
    shape: Shape | None
    first: int
    last: int
    offset: int
    size: int

    def shares_with(self, other: MapPiece) -> bool:
        """Return whether some of the bytes are those of another piece."""
        return self.offset < other.offset + other.size and other.offset < self.offset + self.size


@dataclass(frozen=True, slots=True)
class MapRegion:
    """Memory of one owner.

    Attributes
    ----------
    title : str
    pieces : list of MapPiece
    size : int
        The bytes that they take together.
    """

    title: str
    pieces: list[MapPiece]
    size: int

    @property
    def unshared(self) -> int:
        """The bytes that the pieces would take if none shared memory with another."""
        return sum(piece.size for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class StepMap:
    """A step, line by line: its lines, and the regions of memory."""

    lines: list[MapLine]
    regions: list[MapRegion] = field(default_factory=list)


def step_map(program: StepProgram, depth: int | None = None) -> StepMap:
    """Return the map of a program, with the instructions of a module below `depth` in one line."""
    tapes = [call for call in program.instructions if isinstance(call, TapeCall)]
    numbers = {id(i): k for k, tape in enumerate(tapes, 1) for i in tape.instructions}
    instructions = [
        inner
        for outer in program.instructions
        for inner in (outer.instructions if isinstance(outer, TapeCall) else [outer])
    ]
    phases = list(_phases(instructions))
    lines, line_of = _folded(
        [
            MapLine(_text(each), each.scope, _shape(each), phase, numbers.get(id(each), 0))
            for each, phase in zip(instructions, phases, strict=True)
        ],
        depth,
    )
    gradients = {
        value
        for each, phase in zip(instructions, phases, strict=True)
        if phase == "backward"
        for value in each.results()
    }
    on_tapes = _on_tapes(tapes)
    regions = []
    for title, blocks in (
        ("one arena, for all tapes", on_tapes),
        ("NumPy's arrays", _of_numpy(program, instructions)),
    ):
        region = _region(title, blocks, gradients, line_of)
        regions += [region] if region.pieces else []
    return StepMap(lines, regions)


# --- lines ---------------------------------------------------------------------------------------


def _phases(instructions: Sequence[StepInstruction]) -> Iterator[StepPhase]:
    """Yield the phase of each instruction: what follows the last rule is the update."""
    backward = [k for k, each in enumerate(instructions) if _is_backward(each)]
    first, last = (backward[0], backward[-1]) if backward else (len(instructions),) * 2
    for k, each in enumerate(instructions):
        if isinstance(each, Effect) and k > last:
            yield "update"
        else:
            yield "backward" if first <= k <= last else "forward"


def _is_backward(instruction: StepInstruction) -> bool:
    kinds = (RuleCall, SharedCall, AddGradients, GradientStore)
    return isinstance(instruction, kinds)


def _text(instruction: StepInstruction) -> str:
    match instruction:
        case ForwardCall():
            given = ", ".join(_names(instruction.reads()))
            return f"{instruction.result.name} = {instruction.op.name}({given})"
        case RuleCall():
            parts = ", ".join(part.name for part in instruction.parts if part is not None)
            op, of = instruction.call.op.name, instruction.derivative.of
            return f"{parts} = {instruction.gradient.name} · ∂{op}/∂{of}"
        case SharedCall():
            parts = ", ".join(part.name for part in instruction.parts)
            op = instruction.call.op.name
            return f"{parts} = {instruction.name} of ∂{op}({instruction.gradient.name})"
        case AddGradients():
            return f"{instruction.result.name} = {instruction.left.name} + {instruction.right.name}"
        case GradientStore():
            return f"{instruction.leaf.name}.grad ← {instruction.gradient.name}"
        case Effect():
            parts = ", ".join(part.name for part in instruction.parts)
            name = _called(instruction)
            return f"{parts} = {name}()" if parts else f"{name}()"
        case _:
            return type(instruction).__name__


def _called(effect: Effect) -> str:
    """Return the name of the function of an effect: of a method with the class of its object."""
    name = getattr(effect.function, "__name__", type(effect.function).__name__).strip("_")
    owner = effect.arguments.get("self")
    return name if owner is None else f"{type(owner).__name__}.{name}"


def _names(values: Iterator[StepValue]) -> Iterator[str]:
    """Yield the names of values, each once; of many only the first."""
    names = list(dict.fromkeys(value.name for value in values))
    yield from names[:MOST_ARGUMENTS]
    if len(names) > MOST_ARGUMENTS:
        yield f"… {len(names) - MOST_ARGUMENTS} more"


def _shape(instruction: StepInstruction) -> Shape | None:
    result = next(iter(instruction.results()), None)
    return None if result is None else result.shape


def _folded(lines: Sequence[MapLine], depth: int | None) -> tuple[list[MapLine], list[int]]:
    """Return the lines, consecutive ones of a module in one, and the new number of each line."""
    folded: list[MapLine] = []
    numbers = []
    for line in lines:
        scope = line.scope if depth is None else ".".join(line.scope.split(".")[:depth])
        before = folded[-1] if folded else None
        if (
            depth is not None
            and before is not None
            and scope
            and (before.scope, before.phase, before.tape) == (scope, line.phase, line.tape)
        ):
            count = before.count + 1
            folded[-1] = replace(before, text=f"{count} calls", shape=line.shape, count=count)
        else:
            folded.append(replace(line, scope=scope))
        numbers.append(len(folded) - 1)
    return folded, numbers


# --- memory --------------------------------------------------------------------------------------

Blocks: TypeAlias = Mapping[StepValue | int, MemoryBlock]
"""Blocks by their values; those without by a number."""


def _on_tapes(tapes: Sequence[TapeCall]) -> dict[StepValue | int, MemoryBlock]:
    """Return the blocks of the arena, which a program's tapes share."""
    found: dict[StepValue | int, MemoryBlock] = {}
    for memory in {id(tape.function.memory): tape.function.memory for tape in tapes}.values():
        found |= memory.blocks()
    return found


def _of_numpy(
    program: StepProgram, instructions: Sequence[StepInstruction]
) -> dict[StepValue | int, MemoryBlock]:
    """Return blocks for the values that NumPy computes, placed as if in an arena."""
    found: dict[StepValue | int, MemoryBlock] = {}
    k = 0
    for outer in program.instructions:
        inner = outer.instructions if isinstance(outer, TapeCall) else [outer]
        for value in outer.reads():
            if value in found:
                found[value].last = k + len(inner) - 1
        for value in () if isinstance(outer, TapeCall) else outer.results():
            size = math.prod(value.shape) * value.dtype.itemsize
            found[value] = MemoryBlock(size, k, k)
        k += len(inner)
    for value in values_in(program.result):
        if value in found:
            found[value].last = len(instructions) - 1
    plan(found.values())
    return found


def _region(
    title: str, blocks: Blocks, gradients: set[StepValue], line_of: Sequence[int]
) -> MapRegion:
    values: dict[MemoryBlock, list[StepValue]] = {block: [] for block in blocks.values()}
    for value, block in blocks.items():
        if isinstance(value, StepValue) and not isinstance(value, ConstantValue):
            values[block].append(value)
    pieces = []
    for block, names in values.items():
        kind: PieceKind = "scratch"
        if names:
            kind = "gradient" if names[0] in gradients else "value"
            kind = "input" if hasattr(names[0], "path") else kind
        first, last = (line_of[min(k, len(line_of) - 1)] for k in (block.first, block.last))
        pieces.append(
            MapPiece(
                tuple(value.name for value in names),
                kind,
                names[0].shape if names else None,
                first,
                last,
                block.offset,
                block.size,
            )
        )
    size = max((piece.offset + piece.size for piece in pieces), default=0)
    return MapRegion(title, pieces, size)
