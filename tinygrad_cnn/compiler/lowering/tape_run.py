"""Running a tape: what is copied and found before, and what is stored after."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from operator import is_
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.compiler.guards import StepGuard
from tinygrad_cnn.compiler.lowering.arena import LINE, MemoryBlock, plan
from tinygrad_cnn.compiler.lowering.gradients import StoredGradients
from tinygrad_cnn.compiler.lowering.optimizers import OptimizerStep
from tinygrad_cnn.compiler.lowering.tape import Imported, Writer, tape_dtype
from tinygrad_cnn.compiler.program import LeafValue, StepValue
from tinygrad_cnn.core.variable import Variable, calls
from tinygrad_cnn.engine import memory
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.configuration import configuration
from tinygrad_cnn.engine.fast.machine import KernelCall, Tape

_all_memory: weakref.WeakSet[TapeMemory] = weakref.WeakSet()


class TapeMemory:
    """The memory of a program's tapes: the arena, and the tables of addresses and numbers.

    Parameters
    ----------
    writer : Writer
        After the last instruction.

    Attributes
    ----------
    lock : RLock
        Held while a tape runs: one thread at a time uses the memory.
    user : int or None
        The thread that runs the program. A signal handler or a finalizer may call the program
        within its own run, and must not touch the memory then.
    size : int
        Of the arena, in bytes.
    guards : list of StepGuard
        What must not change for the tapes to be right.
    """

    def __init__(self, writer: Writer) -> None:
        blocks = [s.block if isinstance(s, Imported) else s for s in writer.sources]
        self.size = plan([block for block in blocks if isinstance(block, MemoryBlock)])
        whole = memory.empty((self.size + LINE,), np.uint8)
        start = -whole.ctypes.data % LINE
        self._arena = whole[start : start + self.size]
        self._writer = writer
        self.addresses = np.zeros(len(writer.sources), np.int64)
        self.number_table = np.array(writer.numbers, np.float64)
        self.at: memoryview[int] = self.addresses.data
        self.numbers: memoryview[float] = self.number_table.data  # type: ignore[assignment]
        self.status, self.copies = writer.status, writer.copies
        self.lock = threading.RLock()
        self.user: int | None = None
        self.guards: list[StepGuard] = []
        base = self._arena.ctypes.data
        for place, (source, block) in enumerate(zip(writer.sources, blocks, strict=True)):
            if isinstance(block, MemoryBlock):
                self.at[place] = base + block.offset
            elif isinstance(source, np.ndarray):
                self.at[place] = source.ctypes.data
        _all_memory.add(self)

    def blocks(self) -> dict[StepValue | int, MemoryBlock]:
        """Return the blocks of the arena: see `Writer.blocks`."""
        return self._writer.blocks()

    def view(self, value: StepValue) -> Array:
        """Return the array of a value, in its shape."""
        source = self._writer.sources[self._writer.at(value)]
        order, dtype = self._writer.order(value), tape_dtype(value)
        if isinstance(source, Imported):
            source = source.block
        if isinstance(source, MemoryBlock):
            numbers = self._arena[source.offset : source.offset + source.size].view(dtype)
        elif isinstance(source, LeafValue):
            numbers = source.tensor._array.reshape(-1)
        else:
            numbers = np.asarray(source).reshape(-1)
        turned = numbers.reshape([value.shape[axis] for axis in order])
        return turned.transpose([order.index(axis) for axis in range(len(order))])

    def apart(self, array: Any) -> Any:
        """Return an array, copied if it is a view of the arena."""
        is_view = isinstance(array, np.ndarray) and np.may_share_memory(array, self._arena)
        return array.copy() if is_view else array

    def poison(self) -> None:
        """Fill the arena with NaN."""
        self._arena.fill(0xFF)

    def failed(self) -> int:
        """Return the instruction whose kernel ended a run."""
        return self._writer.explanations[int(self.status[0]) - 1][2]

    def explain(self, given: Mapping[StepValue, Array]) -> None:
        """Raise the error of the kernel that ended a run on the values given."""
        explain, values, _ = self._writer.explanations[int(self.status[0]) - 1]
        self.status[0] = 0
        explain(*[given[v] if v in given else self.view(v) for v in values])
        raise RuntimeError("a kernel ended the run without an error")


class TapeRun:
    """Runs one tape of a program.

    Parameters
    ----------
    memory : TapeMemory
    rows : sequence of KernelCall
    imported : sequence of Imported
        The values that a call is given.
    exported : sequence of (StepValue, bool)
        The values that a call returns, and whether as a copy.
    leaves : sequence of (int, LeafValue)
        The leaves that rows read or write, with their places.
    changed : sequence of Variable
        Those that rows write to.

    Attributes
    ----------
    is_first : bool
        Whether no tape of the program runs before.
    reads : list of (int, callable)
        The numbers to read before a run, with their places.
    cleared_before, cleared_after : list of (int, Variable)
        Those whose ``.grad`` a run sets to None at its beginning, and at its end, each with the
        instruction that does so.
    prepared, stored : list of StoredGradients
        Those that it writes first, and those that it stores.
    step : OptimizerStep or None
    rows_before_step : int
    """

    def __init__(
        self,
        memory: TapeMemory,
        rows: Sequence[KernelCall],
        imported: Sequence[Imported],
        exported: Sequence[tuple[StepValue, bool]],
        leaves: Sequence[tuple[int, LeafValue]],
        changed: Sequence[Variable],
    ) -> None:
        self.memory = memory
        self.tape = Tape(rows, memory.addresses, memory.number_table, memory.status)
        self.is_first = False
        self.reads: list[tuple[int, Callable[[], float]]] = []
        self.cleared_before: list[tuple[int, Variable]] = []
        self.cleared_after: list[tuple[int, Variable]] = []
        self.prepared: list[StoredGradients] = []
        self.stored: list[StoredGradients] = []
        self.step: OptimizerStep | None = None
        self.rows_before_step = len(rows)
        self._imported = imported
        self._views: list[Array | None] = [
            None if each.block is None else memory.view(each.value) for each in imported
        ]
        self._are_copied = all(each.block is not None for each in imported)
        self._exported = [(memory.view(value), is_copy) for value, is_copy in exported]
        self._places = [place for place, _ in leaves]
        self._tensors = [leaf.tensor for _, leaf in leaves]
        self._dtypes = [leaf.dtype for _, leaf in leaves]
        self._arrays: list[NDArray[Any] | None] = [None] * len(leaves)
        self._changed = changed

    def __call__(self, *arrays: Array) -> list[Array]:
        """Run the tape on the imported values; return the exported ones.

        The caller holds the lock of the memory.
        """
        if self.is_first:
            if configuration.get().poison:
                self.memory.poison()
            for array, copy in self.memory.copies:  # its owner may have changed it
                copy[...] = array
        if self._are_copied:
            for view, array in zip(self._views, arrays, strict=True):
                view[...] = array  # type: ignore[index]  # none is None
        else:
            arrays = self._placed(arrays)  # held until the end
        if not all(map(is_, [tensor._array for tensor in self._tensors], self._arrays)):
            self._find_leaves()
        earlier = [tensor._grad for _, tensor in self.cleared_before]
        for _, tensor in self.cleared_before:
            tensor._grad = None
        for group in self.prepared:
            group.prepare()
        step = self.step
        stepped = step is not None and all(g.are_own for g in self.stored) and step.begin()
        numbers = self.memory.numbers
        for place, read in self.reads:
            numbers[place] = read()
        if self._changed:
            number = next(calls)
            for tensor in self._changed:
                tensor._changed = number
        self.tape.run(None if stepped else self.rows_before_step)
        if self.memory.status[0]:
            self._end_early(stepped, earlier, arrays)
        for group in self.stored:
            group.store()
        if step is not None and not stepped:
            step.optimizer.update_all()
        for _, tensor in self.cleared_after:
            tensor._grad = None
        return [view.copy() if is_copy else view for view, is_copy in self._exported]

    def _placed(self, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        """Copy the given arrays, or find their addresses; return those that are used."""
        used = []
        for each, view, array in zip(self._imported, self._views, arrays, strict=True):
            if view is not None:
                view[...] = array
                used.append(array)
                continue
            if array.strides != each.value.strides or array.dtype != each.value.dtype:
                order = np.argsort([-stride for stride in each.value.strides], kind="stable")
                shape = [array.shape[axis] for axis in order]
                made = np.empty(shape, tape_dtype(each.value)).transpose(np.argsort(order))
                made[...] = array
                array = made
            self.memory.at[each.place] = array.ctypes.data
            used.append(array)
        return tuple(used)

    def _find_leaves(self) -> None:
        """Find the memory of the leaves."""
        for tensor in self._changed:
            if not tensor._array.flags.writeable:
                raise ValueError(
                    f"the step updates a parameter or buffer of shape {tensor.shape} in place, "
                    "whose array is read-only"
                )
        for i, (tensor, dtype) in enumerate(zip(self._tensors, self._dtypes, strict=True)):
            if not tensor._array.flags.c_contiguous or tensor._array.dtype != dtype:
                tensor._array = np.array(tensor._array, dtype, order="C")
            self.memory.at[self._places[i]] = tensor._array.ctypes.data
            self._arrays[i] = tensor._array

    def _end_early(
        self, stepped: bool, earlier: list[NDArray[Any] | None], arrays: tuple[Array, ...]
    ) -> None:
        """Leave everything as the instructions before the error do, and raise it."""
        failed = self.memory.failed()
        if stepped and self.step is not None:
            self.step.undo()
        for (index, tensor), gradient in zip(self.cleared_before, earlier, strict=True):
            if index > failed:
                tensor._grad = gradient
        for group in self.stored:
            group.store_until(failed)
        for index, tensor in self.cleared_after:
            if index < failed:
                tensor._grad = None
        values = [each.value for each in self._imported]
        self.memory.explain(dict(zip(values, arrays, strict=True)))


def _start_afresh() -> None:
    """Replace the locks after a fork: a thread that was not copied may hold one."""
    for each in _all_memory:
        each.lock = threading.RLock()
        each.status[0] = 0
        if each.user != threading.get_ident():
            each.user = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)
