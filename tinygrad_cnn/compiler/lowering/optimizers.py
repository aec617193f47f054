"""Steps of optimizers as rows: of those with a compiled update, such as SGD and Adam."""

from __future__ import annotations

import math
from collections.abc import Mapping
from operator import is_
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.compiler.lowering.gradients import StoredGradient
from tinygrad_cnn.compiler.lowering.tape import Writer
from tinygrad_cnn.compiler.program import LeafValue
from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.engine import threads
from tinygrad_cnn.engine.fast import optimizers as kernels
from tinygrad_cnn.engine.fast.kernel import Kernel
from tinygrad_cnn.optim.optimizer import CompiledUpdate, Optimizer, UpdatePlan
from tinygrad_cnn.optim.param_group import ParamGroup


class StateArray:
    """The array of an optimizer's state for one parameter: a source of addresses."""

    __slots__ = ("parameter", "slot")

    def __init__(self, parameter: Variable, slot: str) -> None:
        self.parameter, self.slot = parameter, slot


class GivenGradient:
    """The gradient of a parameter that ``.grad`` holds before the tape: a source of addresses."""

    __slots__ = ("place", "tensor")

    def __init__(self, tensor: Variable, writer: Writer) -> None:
        self.tensor = tensor
        self.place = writer.source(self)


class OptimizerStep:
    """A step of an optimizer as the last rows of a tape.

    Parameters
    ----------
    optimizer : Optimizer
        With a compiled update for each parameter group.
    gradients : mapping of LeafValue to (StoredGradient or GivenGradient)
        The leaves that have a gradient then.
    """

    def __init__(
        self, optimizer: Optimizer, gradients: Mapping[LeafValue, StoredGradient | GivenGradient]
    ) -> None:
        self.optimizer = optimizer
        by_parameter = {leaf.tensor: (leaf, gradient) for leaf, gradient in gradients.items()}
        self._updated = {p: by_parameter[p] for p in optimizer.params if p in by_parameter}
        self._given = [g for _, g in self._updated.values() if isinstance(g, GivenGradient)]
        self._seen: list[Any] = [None] * len(self._given)
        self._ready = [i for i, p in enumerate(optimizer.params) if p in self._updated]
        self._others = [p for p in optimizer.params if p not in self._updated]
        self._arrays: list[tuple[int, StateArray]] = []
        self._numbers: list[tuple[int, Any, Variable]] = []  # first place, group, a parameter of it
        self._kernels = kernels_of(optimizer)
        self._plan: UpdatePlan | None = None
        self._states: list[dict[str, Any]] = []

    def lower(self, writer: Writer) -> None:
        """Write the rows."""
        for group, params in self._groups():
            options = self.optimizer.of_group(group)
            own = options.compiled_update()
            assert own is not None
            kernel: Kernel = getattr(kernels, own.kernel)
            places = [writer.number_slot() for _ in options.coefficients(1)]
            self._numbers.append((places[0], group, params[0]))
            for p in params:
                leaf, gradient = self._updated[p]
                arrays = [StateArray(p, slot) for slot in own.slots]
                slots = [writer.source(array) for array in arrays]
                self._arrays += zip(slots, arrays, strict=True)
                operands = (writer.changes(leaf), gradient.place, *slots, *own.options, *places)
                count = math.prod(leaf.shape)
                work = count * leaf.dtype.itemsize * threads.BYTE * len(kernel.operands) // 2
                writer.flat_row(kernel, leaf.dtype, count, *operands, work=work)

    def bind(self, at: memoryview, numbers: memoryview[float]) -> None:
        """Take the tables of addresses and of numbers."""
        self._at, self._values = at, numbers

    def begin(self) -> bool:
        """Prepare a run of the rows, and count the step.

        Return False, with nothing done, where only the optimizer's own step does the right thing.
        """
        optimizer = self.optimizer
        if optimizer.plan is not self._plan and not self._found():
            return False
        if self._others and any(p._grad is not None and p.requires_grad for p in self._others):
            return False
        if self._given and not self._found_gradients():
            return False
        if kernels_of(optimizer) != self._kernels:
            return False
        for state in self._states:
            state["steps"] += 1
        values = self._values
        for first, group, p in self._numbers:
            numbers = optimizer.of_group(group).coefficients(optimizer.state[p]["steps"])
            for k, value in enumerate(numbers, first):
                values[k] = value
        return True

    def undo(self) -> None:
        """Uncount the step, which the rows did not come to."""
        for state in self._states:
            state["steps"] -= 1

    def _groups(self) -> list[tuple[ParamGroup, list[Variable]]]:
        """Return each group with the parameters to update."""
        return [
            (group, params)
            for group in self.optimizer.param_groups
            if (params := [p for p in group.params if p in self._updated])
        ]

    def _found(self) -> bool:
        """Find the arrays of the state; return whether the rows may use them."""
        optimizer, self._plan = self.optimizer, None
        if len(optimizer.params) != len(self._ready) + len(self._others):
            return False
        _, planned = plan = optimizer.planned(self._ready)
        for _, params in self._groups():
            if len({optimizer.state[p]["steps"] for p in params}) > 1:
                return False
        for place, source in self._arrays:
            array: NDArray[Any] = optimizer.state[source.parameter][source.slot]
            if not _is_like(array, source.parameter):
                return False
            self._at[place] = array.ctypes.data
        states = [optimizer.state[optimizer.params[i]] for i in self._ready]
        states += [group.state for _, groups in planned for group in groups]
        self._states = list({id(state): state for state in states}.values())
        self._plan = plan
        return True

    def _found_gradients(self) -> bool:
        """Find the gradients that ``.grad`` holds; return whether the rows may read them."""
        came: list[Any] = [each.tensor._grad for each in self._given]
        if not all(map(is_, came, self._seen)):
            self._seen = [None] * len(came)
            for each, array in zip(self._given, came, strict=True):
                if type(array) is not np.ndarray or not _is_like(array, each.tensor):
                    return False
                self._at[each.place] = array.ctypes.data
            self._seen = came
        return True


def _is_like(array: NDArray[Any], p: Variable) -> bool:
    return array.flags.c_contiguous and (array.shape, array.dtype) == (p.shape, p.dtype)


def kernels_of(optimizer: Optimizer) -> list[CompiledUpdate | None]:
    """Return the compiled update of each parameter group."""
    return [optimizer.of_group(g).compiled_update() for g in optimizer.param_groups]
