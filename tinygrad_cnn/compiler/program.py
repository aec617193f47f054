"""Programs of a step: the calls, rules, sums and effects of one run, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.declaration import Derivative, names_of
from tinygrad_cnn.core.op import Op
from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.support.nested import mapped, parts


@dataclass(eq=False, slots=True)
class StepValue:
    """An array of a program, without its numbers.

    Attributes
    ----------
    name : str
        Unique in a program and a Python name, such as "y3".
    shape, strides : tuple of int
        Of the captured run.
    dtype : dtype
    """

    name: str
    shape: Shape
    dtype: np.dtype[Any]
    strides: Shape


@dataclass(eq=False, slots=True)
class InputValue(StepValue):
    """An array that each call is given.

    Attributes
    ----------
    path : tuple
        Its place in the arguments: the position or name of the argument, then indices and keys.
    """

    path: tuple[Any, ...]


@dataclass(eq=False, slots=True)
class LeafValue(StepValue):
    """A parameter, a buffer or another Tensor from before the run; its array is read in each call.

    Attributes
    ----------
    tensor : Variable
    """

    tensor: Variable


@dataclass(eq=False, slots=True)
class ConstantValue(StepValue):
    """An array that every run computes with, such as a number that an op made an array of.

    Attributes
    ----------
    array : ndarray
    """

    array: NDArray[Any]


@dataclass(eq=False, slots=True)
class NumberValue(StepValue):
    """A Python float that an effect returns."""


@dataclass(eq=False, slots=True, kw_only=True)
class StepInstruction:
    """One thing that a step does.

    Attributes
    ----------
    scope : str
        The module that it is of, such as "features.0".
    line : str
        The file and line outside this package that called it; may be empty.
    """

    scope: str = ""
    line: str = ""

    def reads(self) -> Iterator[StepValue]:
        """Yield the values that it reads."""
        raise NotImplementedError

    def results(self) -> Iterator[StepValue]:
        """Yield the values that it computes."""
        raise NotImplementedError


@dataclass(eq=False, slots=True)
class ForwardCall(StepInstruction):
    """A call of an op.

    Attributes
    ----------
    op : Op
    arguments : dict
        By parameter, all of them: a `StepValue`, a list of them (of an op on a sequence), or a
        number, None or other option as it was given; an index may be a tuple with values in it.
    result : StepValue
    shared : dict of str to StepValue
        The intermediates that it computes before the result.
    kept : dict of str to StepValue
        The residuals that rules of this program need, computed after the result; and copies of
        arguments that rules read in place of them.
    is_number : bool
        Whether the forward returns a NumPy number, of which an array is made.
    is_view : bool
        Whether the result shared memory with an argument.
    """

    op: Op[..., Any]
    arguments: dict[str, Any]
    result: StepValue
    shared: dict[str, StepValue] = field(default_factory=dict)
    kept: dict[str, StepValue] = field(default_factory=dict)
    is_number: bool = False
    is_view: bool = False

    def residuals(self) -> dict[str, StepValue]:
        """Return the residuals among `kept`."""
        return {name: value for name, value in self.kept.items() if name in self.op.residuals}

    def reads(self) -> Iterator[StepValue]:
        for value in self.arguments.values():
            yield from values_in(value)

    def results(self) -> Iterator[StepValue]:
        yield self.result
        yield from self.shared.values()
        yield from self.residuals().values()

    def named(self, name: str) -> Any:
        """Return what a rule of the op knows by `name`: a value, or an option such as a shape."""
        if name == "y":
            return self.result
        if name == "static":
            return {key: self.arguments[key] for key in self.op.static}
        for known in (self.kept, self.arguments, self.shared):
            if name in known:
                return known[name]
        of = name.removesuffix("_shape")
        value = self.result if of == "y" else self.arguments[of]
        if isinstance(value, list):
            return [part.shape for part in value]
        return value.shape if isinstance(value, StepValue) else np.shape(value)


@dataclass(eq=False, slots=True)
class SharedCall(StepInstruction):
    """An intermediate of a call that depends on the gradient, for several rules.

    Attributes
    ----------
    call : ForwardCall
    name : str
    gradient : StepValue
        That of the call's result.
    parts : list of StepValue
        What it computes.
    is_tuple : bool
        Whether rules get the parts as a tuple; else there is one.
    """

    call: ForwardCall
    name: str
    gradient: StepValue
    parts: list[StepValue]
    is_tuple: bool

    def reads(self) -> Iterator[StepValue]:
        yield self.gradient
        _, *names = names_of(self.call.op.intermediates[self.name])
        yield from _known(self.call, names)

    def results(self) -> Iterator[StepValue]:
        yield from self.parts


@dataclass(eq=False, slots=True)
class RuleCall(StepInstruction):
    """A rule: the gradient of one operand of a call, as the rule returns it.

    Attributes
    ----------
    call : ForwardCall
    derivative : Derivative
    gradient : StepValue
        That of the call's result.
    shared : dict of str to SharedCall
        The intermediates of the gradient that the rule reads.
    parts : list of (StepValue or None)
        One; of an op on a sequence one for each operand, None where it is not needed.
    """

    call: ForwardCall
    derivative: Derivative
    gradient: StepValue
    shared: dict[str, SharedCall]
    parts: list[StepValue | None]

    def reads(self) -> Iterator[StepValue]:
        yield self.gradient
        for name in self.derivative.needs:
            if name in self.shared:
                yield from self.shared[name].parts
            else:
                yield from _known(self.call, [name])

    def results(self) -> Iterator[StepValue]:
        yield from (part for part in self.parts if part is not None)

    def named(self, name: str) -> Any:
        """Return what the rule knows by `name`: "g", its "result", or as of `ForwardCall.named`."""
        if name == "g":
            return self.gradient
        return self.parts[0] if name == "result" else self.call.named(name)


@dataclass(eq=False, slots=True)
class AddGradients(StepInstruction):
    """The sum of two gradients of one value."""

    left: StepValue
    right: StepValue
    result: StepValue

    def reads(self) -> Iterator[StepValue]:
        yield from (self.left, self.right)

    def results(self) -> Iterator[StepValue]:
        yield self.result


@dataclass(eq=False, slots=True)
class GradientStore(StepInstruction):
    """An addition of a gradient to ``.grad``, or its first value where that is None.

    Attributes
    ----------
    leaf : LeafValue or InputValue
    gradient : StepValue
    copies : bool
        Whether the first value is a copy in any case: another leaf gets the gradient too.
    """

    leaf: Any
    gradient: StepValue
    copies: bool = False

    def reads(self) -> Iterator[StepValue]:
        yield self.gradient

    def results(self) -> Iterator[StepValue]:
        yield from ()


@dataclass(eq=False, slots=True)
class StoreGradient(GradientStore):
    """The gradient of a leaf from before the run."""

    leaf: LeafValue


@dataclass(eq=False, slots=True)
class StoreInputGradient(GradientStore):
    """The gradient of a Tensor that each call is given."""

    leaf: InputValue


@dataclass(eq=False, slots=True)
class Effect(StepInstruction):
    """A call of a function that changes more than its result, such as a step of an optimizer.

    Attributes
    ----------
    function : callable
        Called again in each replay.
    arguments : dict
        By parameter: values, or other objects as they were given.
    parts : list of StepValue
        The arrays that it returns: of one, or of a tuple.
    is_tuple : bool
        Whether it returns a tuple of them.
    """

    function: Callable[..., Any]
    arguments: dict[str, Any]
    parts: list[StepValue]
    is_tuple: bool = False

    def reads(self) -> Iterator[StepValue]:
        for value in self.arguments.values():
            yield from values_in(value)

    def results(self) -> Iterator[StepValue]:
        yield from self.parts


@dataclass(eq=False, slots=True)
class FunctionCall(Effect):
    """A call of a function that only computes its result, such as a comparison or a copy.

    Attributes
    ----------
    is_view : bool
        Whether the result, which is one array, shared memory with an argument.
    """

    is_view: bool = False


@dataclass(eq=False, slots=True)
class TapeCall(StepInstruction):
    """A run of a tape: compiled kernels compute several instructions.

    Attributes
    ----------
    instructions : list of StepInstruction
        What it computes.
    inputs, outputs : list of StepValue
        The values from outside that it reads, except leaves and constants, and those that others
        read. ``function(*arrays)`` takes the arrays of the inputs and returns those of the outputs
        as a list.
    function : callable
    """

    instructions: list[StepInstruction]
    inputs: list[StepValue]
    outputs: list[StepValue]
    function: Any

    def reads(self) -> Iterator[StepValue]:
        yield from self.inputs

    def results(self) -> Iterator[StepValue]:
        yield from self.outputs


@dataclass(slots=True)
class StepProgram:
    """The instructions of a step.

    Attributes
    ----------
    inputs : list of InputValue
    instructions : list of StepInstruction
        In the order of the run.
    result : object
        What the function returns: a `StepValue`, or nested lists, tuples and dicts of values and
        other objects.
    """

    inputs: list[InputValue]
    instructions: list[StepInstruction]
    result: Any

    def without_dead_instructions(self) -> StepProgram:
        """Return the program without calls that no result, stored gradient or effect needs."""
        needed = set(values_in(self.result))
        kept: list[StepInstruction] = []
        for instruction in reversed(self.instructions):
            computes = isinstance(
                instruction, ForwardCall | SharedCall | RuleCall | AddGradients | FunctionCall
            )
            if computes and needed.isdisjoint(instruction.results()):
                continue
            if isinstance(instruction, ForwardCall):
                instruction.shared = {n: v for n, v in instruction.shared.items() if v in needed}
                instruction.kept = {n: v for n, v in instruction.kept.items() if v in needed}
            kept.append(instruction)
            needed.update(instruction.reads())
        return StepProgram(self.inputs, kept[::-1], self.result)


def values_in(argument: Any) -> Iterator[StepValue]:
    """Yield the values in an argument, at any depth."""
    return parts(argument, StepValue)


def replaced(argument: Any, values: Mapping[StepValue, StepValue]) -> Any:
    """Return an argument with some of the values in it replaced by others."""
    return mapped(argument, lambda v: values.get(v, v) if isinstance(v, StepValue) else v)


def _known(call: ForwardCall, names: list[str]) -> Iterator[StepValue]:
    for name in names:
        if not name.endswith("_shape") or name in call.arguments:
            yield from values_in(call.named(name))
