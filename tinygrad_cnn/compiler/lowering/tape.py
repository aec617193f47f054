"""What lowerings write to: the rows of a tape, and the places of its values in memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from tinygrad_cnn.compiler.lowering.arena import FOREVER, MemoryBlock
from tinygrad_cnn.compiler.program import (
    AddGradients,
    ConstantValue,
    LeafValue,
    RuleCall,
    StepInstruction,
    StepProgram,
    StepValue,
    StoreGradient,
)
from tinygrad_cnn.engine import threads
from tinygrad_cnn.engine.arrays import Array, memory_order
from tinygrad_cnn.engine.fast.kernel import Kernel
from tinygrad_cnn.engine.fast.moving import turned
from tinygrad_cnn.engine.fast.row_writer import RowWriter
from tinygrad_cnn.engine.planes import Order

COPIED = 1 << 12  # bytes up to which NumPy copies a given array: to find its address takes longer


class NoPlace(Exception):  # noqa: N818  # not an error: NumPy computes the instruction
    """A value that no row can read: of another dtype, or of other memory."""


@dataclass(eq=False, slots=True)
class Imported:
    """A value computed by NumPy, or given, that a tape reads.

    Attributes
    ----------
    value : StepValue
    place : int
    block : MemoryBlock or None
        Where it is copied to; None if its own memory is used.
    first : int
        The first instruction of the tape.
    """

    value: StepValue
    place: int
    block: MemoryBlock | None
    first: int


class Writer(RowWriter):
    """Writes the rows of a program, instruction by instruction.

    A value that rows compute is contiguous in memory, with its axes in the order `order`. Leaves
    keep their own memory, in C order: parameters, buffers, and their gradients. Integers and labels
    are int64; bools, and bytes that the program computes, stay as they are.

    Parameters
    ----------
    program : StepProgram

    Attributes
    ----------
    sources : list
        What is at each place of the table of addresses: a `MemoryBlock` of the arena, a
        `LeafValue`, the array of a constant, an `Imported`, or what sets its own address.
    copies : list of (ndarray, ndarray)
        Constants of another dtype or memory order, and what rows read in their place.
    rows, reads, changed, placed
        Of the current instruction: its rows, the numbers that are read before each run with their
        places, the leaves that rows write to, and the values that got a place.
    """

    def __init__(self, program: StepProgram) -> None:
        super().__init__()
        self.sources: list[Any] = []
        self.numbers: list[float] = []
        self.reads: list[tuple[int, Callable[[], float]]] = []
        self.imported: dict[StepValue, Imported] = {}
        self.changed: dict[LeafValue, None] = {}  # by rows of this instruction
        self.status = np.zeros(1, np.int64)
        self.explanations: list[tuple[Callable[..., object], tuple[StepValue, ...], int]] = []
        self.copies: list[tuple[Array, Array]] = []
        self._places: dict[StepValue, int] = {}
        self._orders: dict[StepValue, Order] = {}
        self._of_leaves = _of_leaves(program)
        self._constants: dict[float, int] = {}
        self._now, self._start = 0, 0
        self._computed: set[StepValue] = set()
        self.placed: list[StepValue] = []
        self._status_place = self._placed(self.status)

    def begin(self, index: int, start: int, instruction: StepInstruction) -> None:
        """Begin to lower an instruction; `start` is the first of the tape that it continues."""
        self._now, self._start = index, start
        self.rows, self.reads, self.changed, self.placed = [], [], {}, []
        self._computed = set(instruction.results())

    def drop(self) -> None:
        """Forget the rows of this instruction and the values that they would have computed."""
        self.forget(self.placed)

    def forget(self, values: list[StepValue]) -> None:
        """Take the places of values that no row of a tape computes or reads."""
        for value in values:
            self._places.pop(value, None)
            self.imported.pop(value, None)

    def blocks(self) -> dict[StepValue | int, MemoryBlock]:
        """Return the blocks of the arena by their values, and temporary ones by their places."""
        found: dict[StepValue | int, MemoryBlock] = {}
        blocks = [s.block if isinstance(s, Imported) else s for s in self.sources]
        for value, place in self._places.items():
            block = blocks[place]
            if isinstance(block, MemoryBlock):
                found[value] = block
        named = set(found.values())
        for place, block in enumerate(blocks):
            if isinstance(block, MemoryBlock) and block not in named:
                found[place] = block
        return found

    # --- for lowerings ---------------------------------------------------------------------------

    def at(self, value: StepValue) -> int:
        """Return the place in the table of addresses of a value that is read or computed.

        Raises
        ------
        NoPlace
            If it is complex, or a leaf that is not contiguous. The instruction is then left to
            NumPy.
        """
        if value not in self._places:
            self._places[value] = self._new_place(value)
            self.placed.append(value)
        place = self._places[value]
        source = self.sources[place]
        if isinstance(source, Imported) and source.block is None and source.first != self._start:
            size = math.prod(value.shape) * value.dtype.itemsize  # the given array may be gone
            source.block = MemoryBlock(size, source.first, self._now)
        block = source.block if isinstance(source, Imported) else source
        if isinstance(block, MemoryBlock):
            block.last = max(block.last, self._now)
        return place

    def order(self, value: StepValue) -> Order:
        """Return the axes of a value, slowest in memory first."""
        if value in self._orders:
            return self._orders[value]
        if isinstance(value, LeafValue | ConstantValue) or value in self._of_leaves:
            return tuple(range(len(value.shape)))
        return images_last(len(value.shape))

    def are_alike(self, *values: StepValue) -> bool:
        """Return whether values have one shape, dtype and order in memory."""
        kinds = {(value.shape, value.dtype, self.order(value)) for value in values}
        return len(kinds) == 1

    def arrange(self, value: StepValue, order: Order) -> bool:
        """Ask for the axes of a value in this order in memory; return whether it has it.

        What rows compute has the order that it has.
        """
        if value not in self._places and not isinstance(value, LeafValue):
            self._orders[value] = order
        return self.order(value) == order

    def alias(self, result: StepValue, source: StepValue, order: Order | None = None) -> None:
        """Let a result be the memory of another value, such as a reshaped one.

        `order` is that of the result's axes in this memory, if it differs from `order(result)`.
        """
        self._places[result] = self.at(source)
        self.placed.append(result)
        if order is not None:
            self._orders[result] = order

    def direct(self, value: StepValue, place: int) -> None:
        """Let a value be computed at a place that is known before."""
        self._places[value] = place
        self.placed.append(value)

    def has(self, value: StepValue) -> bool:
        """Return whether a value has a place."""
        return value in self._places

    def keep(self, value: StepValue) -> None:
        """Keep the memory of a value, if it has a place, to the end of the program."""
        if value in self._places:
            self._now = FOREVER
            source = self.sources[self.at(value)]
            if isinstance(source, Imported) and source.block is None:  # the caller's memory
                size = math.prod(value.shape) * value.dtype.itemsize
                source.block = MemoryBlock(size, source.first, FOREVER)

    def source(self, source: Any) -> int:
        """Return a new place in the table of addresses for an array or a source of addresses."""
        return self._placed(source)

    def temporary(self, count: int, dtype: DTypeLike) -> int:
        """Return the place of memory that only the rows of this instruction use."""
        return self._placed(MemoryBlock(count * np.dtype(dtype).itemsize, self._now, self._now))

    def number(self, read: Callable[[], float] | float) -> int:
        """Return the place in the table of numbers of one that is read before each run."""
        if callable(read):
            self.numbers.append(0.0)
            self.reads.append((len(self.numbers) - 1, read))
            return len(self.numbers) - 1
        if read not in self._constants:
            self._constants[read] = len(self.numbers)
            self.numbers.append(read)
        return self._constants[read]

    def number_slot(self) -> int:
        """Return the place in the table of numbers of one that its owner sets."""
        self.numbers.append(0.0)
        return len(self.numbers) - 1

    def stop(self, explain: Callable[..., object], *values: StepValue) -> tuple[int, int]:
        """Return the place of the status word, and what a kernel writes to it to end the run.

        Then ``explain`` is called with the arrays of the values, and raises the error.
        """
        self.explanations.append((explain, values, self._now))
        return self._status_place, len(self.explanations)

    def changes(self, leaf: LeafValue) -> int:
        """Return the place of a leaf that the rows of this instruction change."""
        self.changed[leaf] = None
        return self.at(leaf)

    def row(self, kernel: Kernel, dtype: DTypeLike, *operands: int, **sizes: int) -> None:
        """Add a row, compiled here: where that fails, NumPy computes the instruction."""
        kernel.address(dtype)
        super().row(kernel, dtype, *operands, **sizes)

    # --- places ----------------------------------------------------------------------------------

    def _placed(self, source: Any) -> int:
        self.sources.append(source)
        return len(self.sources) - 1

    def _new_place(self, value: StepValue) -> int:
        dtype = tape_dtype(value)
        if isinstance(value, LeafValue):
            if not value.tensor._array.flags.c_contiguous or dtype != value.dtype:
                raise NoPlace(f"{value.name}: a leaf that is not contiguous")
            return self._placed(value)
        if isinstance(value, ConstantValue):
            array = value.array.transpose(self.order(value))
            read = np.asarray(array, dtype, order="C")
            if not np.may_share_memory(read, array):
                self.copies.append((array, read))
            return self._placed(read)
        size = math.prod(value.shape) * dtype.itemsize
        if value in self._computed:
            return self._placed(MemoryBlock(size, self._now, self._now))
        order, own = self.order(value), memory_order(value.shape, value.strides)
        is_dense = value.dtype == dtype and size > COPIED and is_ordered(value, own)
        is_read = is_dense and (is_ordered(value, order) or _is_turned(value, own, order))
        block = None if is_read else MemoryBlock(size, self._start, self._now)
        self.imported[value] = Imported(value, len(self.sources), block, self._start)
        place = self._placed(self.imported[value])
        if block is not None or is_ordered(value, order):
            return place
        result = self._placed(MemoryBlock(size, self._now, self._now))
        axes = (*[axis for axis in own if axis not in (own[-1], order[-1])], own[-1], order[-1])
        missing = 4 - len(axes)
        sizes = [1] * missing + [value.shape[axis] for axis in axes]
        steps = [0] * missing + [value.strides[axis] // dtype.itemsize for axis in axes]
        to = [math.prod([value.shape[k] for k in order[order.index(a) + 1 :]]) for a in axes]
        pieces, work = sizes[0] * sizes[1], 4 * threads.BYTE * size
        places = (place, result, *sizes, *steps, *[0] * missing, *to)
        self.row(turned, dtype, *places, pieces=pieces, work=work)
        return result


def tape_dtype(value: StepValue) -> np.dtype[Any]:
    """Return the dtype of a value on a tape: its own, int64 of integers.

    What a program computes in bytes, such as the winners of a max pooling, stays so.
    """
    dtype = value.dtype
    if dtype == np.uint8 and type(value) is StepValue:
        return dtype
    if dtype.kind in "iu" and dtype != np.uint64:
        return np.dtype(np.int64)
    if dtype.char not in "fd?":
        raise NoPlace(f"{value.name}: {dtype}")
    return dtype.newbyteorder("=")


def _is_turned(value: StepValue, own: Order, order: Order) -> bool:
    """Return whether a kernel brings a value from one order to another."""
    return value.dtype.char in "fd" and len(order) <= 4 and own[-1] != order[-1]


def is_ordered(value: StepValue, order: Order) -> bool:
    """Return whether a value was contiguous in the captured run, with its axes in this order."""
    expected = value.dtype.itemsize
    for axis in reversed(order):
        if value.shape[axis] > 1 and value.strides[axis] != expected:
            return False
        expected *= value.shape[axis]
    return True


def _of_leaves(program: StepProgram) -> set[StepValue]:
    """Return the gradients of leaves, which are in C order: of rules, stored, and what is added.

    They have the shape of the leaf: what a rule returns before it is summed may not.
    """
    found: set[StepValue] = set()
    for instruction in reversed(program.instructions):
        if isinstance(instruction, StoreGradient):
            found.add(instruction.gradient)
        elif isinstance(instruction, AddGradients) and instruction.result in found:
            found.update(instruction.reads())
        elif isinstance(instruction, RuleCall):
            operand = instruction.call.arguments[instruction.derivative.of]
            operands = operand if isinstance(operand, list) else [operand]
            for part, of in zip(instruction.parts, operands, strict=True):
                if part is not None and isinstance(of, LeafValue) and part.shape == of.shape:
                    found.add(part)
    return found


Lowered: TypeAlias = Callable[[Writer, Any], bool]
FORWARD: dict[str, Lowered] = {}
BACKWARD: dict[tuple[str, str], Lowered] = {}
SHARED: dict[tuple[str, str], Lowered] = {}
EFFECTS: list[tuple[Callable[..., Any], Lowered]] = []
"""The lowerings of calls, of rules by op and operand, of intermediates of the gradient by op and
name, and of effects by function. Each writes rows and returns True, or writes nothing and
returns False where it has no kernel: for a dtype, a layout or an option. Then NumPy computes it
between two tapes."""


RECTIFIED: set[str] = set()
"""The ops whose lowering takes a `fusion.RectifiedCall`, too."""


def lowers(
    op: str, of: str = "", shared: str = "", rectified: bool = False
) -> Callable[[Lowered], Lowered]:
    """Declare the lowering of an op's call, of its rule for `of`, or of an intermediate."""
    if rectified:
        RECTIFIED.add(op)

    def declare(function: Lowered) -> Lowered:
        if shared:
            SHARED[op, shared] = function
        elif of:
            BACKWARD[op, of] = function
        else:
            FORWARD[op] = function
        return function

    return declare


def lowers_effect(function: Callable[..., Any]) -> Callable[[Lowered], Lowered]:
    """Declare the lowering of calls of a function that is marked as an effect."""

    def declare(lowering: Lowered) -> Lowered:
        EFFECTS.append((function.__wrapped__, lowering))  # type: ignore[attr-defined]
        return lowering

    return declare


def images_last(ndim: int) -> Order:
    """Return the order of the axes of values on a tape: (H, W, C, N), (L, C, N), (F, N)."""
    return (*range(2, ndim), *((1,) if ndim > 1 else ()), *((0,) if ndim else ()))
