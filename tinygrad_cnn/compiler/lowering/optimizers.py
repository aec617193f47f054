"""Steps of optimizers as rows: SGD, Adam and AdamW."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from operator import is_
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.compiler.lowering.gradients import StoredGradient
from tinygrad_cnn.compiler.lowering.tape import Writer
from tinygrad_cnn.compiler.program import LeafValue
from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.engine import threads
from tinygrad_cnn.engine.fast.optimizers import adam, descend, descend_with_momentum
from tinygrad_cnn.optim.adaptive import Adam, AdamW
from tinygrad_cnn.optim.optimizer import Grouped, Optimizer
from tinygrad_cnn.optim.sgd import SGD


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
        Of exactly one of the classes in `FORMS`.
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
        self._settings, self._form_of = SETTINGS[type(optimizer)], FORMS[type(optimizer)]
        self._form = self._current_form()
        self._grouped: Grouped | None = None
        self._states: list[dict[str, Any]] = []

    def lower(self, writer: Writer) -> None:
        """Write the rows."""
        for group, options, params in self._groups():
            places = [writer.number_slot() for _ in self._settings(options, 1)]
            self._numbers.append((places[0], group, params[0]))
            for p in params:
                leaf, gradient = self._updated[p]
                arrays = [StateArray(p, slot) for slot in self.optimizer.slots]
                slots = [writer.source(array) for array in arrays]
                self._arrays += zip(slots, arrays, strict=True)
                operands = (writer.changes(leaf), gradient.place, slots)
                ROWS[type(self.optimizer)](writer, options, leaf, operands, places)

    def bind(self, at: memoryview, numbers: memoryview[float]) -> None:
        """Take the tables of addresses and of numbers."""
        self._at, self._values = at, numbers

    def begin(self) -> bool:
        """Prepare a run of the rows, and count the step.

        Return False, with nothing done, where only the optimizer's own step does the right thing.
        """
        optimizer = self.optimizer
        if optimizer._grouped is not self._grouped and not self._found():
            return False
        if self._others and any(p._grad is not None and p.requires_grad for p in self._others):
            return False
        if self._given and not self._found_gradients():
            return False
        if self._current_form() != self._form:
            return False
        for state in self._states:
            state["steps"] += 1
        values = self._values
        for first, group, p in self._numbers:
            options = optimizer._of(group) if group.own else optimizer
            for k, value in enumerate(self._settings(options, optimizer.state[p]["steps"]), first):
                values[k] = value
        return True

    def undo(self) -> None:
        """Uncount the step, which the rows did not come to."""
        for state in self._states:
            state["steps"] -= 1

    def _current_form(self) -> list[Any]:
        """Return the options that decide which kernels run."""
        form, optimizer = self._form_of, self.optimizer
        return [form(optimizer._of(g) if g.own else optimizer) for g in optimizer.param_groups]

    def _groups(self) -> list[tuple[Any, Any, list[Variable]]]:
        """Return each group with its options and the parameters to update."""
        return [
            (group, self.optimizer._of(group) if group.own else self.optimizer, params)
            for group in self.optimizer.param_groups
            if (params := [p for p in group.params if p in self._updated])
        ]

    def _found(self) -> bool:
        """Find the arrays of the state; return whether the rows may use them."""
        optimizer, self._grouped = self.optimizer, None
        if len(optimizer.params) != len(self._ready) + len(self._others):
            return False
        if optimizer._grouped[0] != self._ready:
            optimizer._grouped = self._ready, optimizer._groups(self._ready)
        for _, _, params in self._groups():
            if len({optimizer.state[p]["steps"] for p in params}) > 1:
                return False
        for place, source in self._arrays:
            array: NDArray[Any] = optimizer.state[source.parameter][source.slot]
            if not _is_like(array, source.parameter):
                return False
            self._at[place] = array.ctypes.data
        states = [optimizer.state[optimizer.params[i]] for i in self._ready]
        states += [group.state for _, groups in optimizer._grouped[1] for group in groups]
        self._states = list({id(state): state for state in states}.values())
        self._grouped = optimizer._grouped
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


def _sgd(o: SGD, steps: int) -> tuple[float, ...]:
    kept = 1.0 - o.dampening if steps > 1 else 1.0
    return o.lr, o.momentum, kept, o.weight_decay


def _adam(o: Adam, steps: int) -> tuple[float, ...]:
    beta1, beta2 = o.betas
    root = math.sqrt(1.0 - beta2**steps)
    is_decoupled = type(o) is AdamW
    keep = 1.0 - o.lr * o.weight_decay if is_decoupled else 1.0
    decay = 0.0 if is_decoupled else o.weight_decay
    rate = o.lr * root / (1.0 - beta1**steps)
    return rate, keep, decay, 1.0 - beta1, beta2, 1.0 - beta2, root * o.eps


def _write_sgd(
    writer: Writer, o: SGD, leaf: LeafValue, places: Any, numbers: Sequence[int]
) -> None:
    p, g, slots = places
    lr, momentum, kept, decay = numbers
    count = math.prod(leaf.shape)
    if o.momentum:
        operands = (p, g, *slots, int(o.nesterov), lr, momentum, kept, decay)
        _row(writer, descend_with_momentum, leaf, count, operands)
    else:
        _row(writer, descend, leaf, count, (p, g, lr, decay))


def _write_adam(
    writer: Writer, _: Adam, leaf: LeafValue, places: Any, numbers: Sequence[int]
) -> None:
    p, g, slots = places
    count = math.prod(leaf.shape)
    _row(writer, adam, leaf, count, (p, g, *slots, *numbers))


def _row(
    writer: Writer, kernel: Any, leaf: LeafValue, count: int, operands: tuple[int, ...]
) -> None:
    work = count * leaf.dtype.itemsize * threads.BYTE * len(kernel.operands) // 2
    writer.flat_row(kernel, leaf.dtype, count, *operands, work=work)


SETTINGS: dict[type, Callable[[Any, int], tuple[float, ...]]] = {
    SGD: _sgd, Adam: _adam, AdamW: _adam,
}  # fmt: skip
"""The numbers that the kernels of each class read, from its options and the number of steps."""

ROWS: dict[type, Callable[..., None]] = {SGD: _write_sgd, Adam: _write_adam, AdamW: _write_adam}
FORMS: dict[type, Callable[[Any], Any]] = {
    SGD: lambda o: (o.momentum != 0.0, o.nesterov), Adam: lambda _: (), AdamW: lambda _: (),
}  # fmt: skip
