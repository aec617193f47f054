"""The values of a captured run: which value of the program an array or a Tensor is."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.compiler import refusals
from tinygrad_cnn.compiler.errors import CompileError
from tinygrad_cnn.compiler.holders import Holders
from tinygrad_cnn.compiler.naming import ValueNames
from tinygrad_cnn.compiler.places import Draws, Elements, changed
from tinygrad_cnn.compiler.program import (
    ConstantValue,
    ForwardCall,
    FunctionCall,
    InputValue,
    LeafValue,
    StepInstruction,
    StepValue,
)
from tinygrad_cnn.compiler.replay import in_c_order
from tinygrad_cnn.core.hidden import HiddenNumber, hide, plain
from tinygrad_cnn.core.recording import recording
from tinygrad_cnn.core.tensor import Parameter
from tinygrad_cnn.core.variable import Variable, array_of
from tinygrad_cnn.ops.arithmetic import astype
from tinygrad_cnn.support.frames import running_line
from tinygrad_cnn.support.nested import parts


class KnownArrays:
    """The values by their arrays, which it does not keep alive."""

    def __init__(self) -> None:
        self._of: dict[int, tuple[ref[Any], StepValue]] = {}
        self._hidden: dict[tuple[Any, ...], tuple[ref[Any], StepValue]] = {}

    def add(self, array: NDArray[Any], value: StepValue) -> None:
        """Let `array` be that of `value`."""
        self._of[id(array)] = ref(array), value

    def add_hidden(self, array: NDArray[Any], value: StepValue) -> None:
        """Let a hidden array, and any view of the whole of it, be those of `value`."""
        self.add(array, value)
        if array.size:
            self._hidden[_memory(array)] = ref(array), value

    def get(self, array: Any) -> StepValue | None:
        """Return the value of `array`, if it is known."""
        found = self._of.get(id(array))
        if found is not None and found[0]() is array:
            return found[1]
        if isinstance(array, np.ndarray) and array.size:
            found = self._hidden.get(_memory(array))
            if found is not None and found[0]() is not None:
                return found[1]
        return None


class RecordedValues:
    """The values of one run of a step, and the instructions that compute them.

    Parameters
    ----------
    function : callable
        The step: where constants are looked for.
    with_digests : bool
        Whether to keep a digest of each value, to find the first in which two runs differ.

    Attributes
    ----------
    inputs : list of InputValue
    instructions : list of StepInstruction
    digests : dict of str to int, or None
    error : CompileError or None
        What was refused, even if the function went on.
    objects : list
        Arguments that are not arrays, Tensors or numbers.
    """

    def __init__(self, function: Callable[..., Any], with_digests: bool) -> None:
        self.names = ValueNames()
        self.digests: dict[str, int] | None = {} if with_digests else None
        self.error: CompileError | None = None
        self.objects: list[Any] = []
        self.inputs: list[InputValue] = []
        self.instructions: list[StepInstruction] = []
        self.holders = Holders(function)
        self.known = KnownArrays()
        self.leaves: dict[int, LeafValue] = {}  # by id of the Tensor
        self._given: dict[int, InputValue] = {}  # by id of the Tensor
        self._made: list[NDArray[Any]] = []  # kept alive: ids of constants
        self._sources: dict[int, tuple[NDArray[Any], Any]] = {}  # of copies, by id of the copy

    def input(self, path: tuple[Any, ...], given: Any) -> Any:
        """Return what the function gets for an argument: a Tensor, or a hidden array."""
        array = array_of(given)
        name = self.names.unique("_".join(map(str, path)))
        value = InputValue(name, array.shape, array.dtype, array.strides, path)
        self.inputs.append(value)
        if isinstance(given, Variable):
            self._given[id(given)] = value
            self.known.add(array, value)
            return given
        shown = hide(array)
        self.known.add_hidden(shown, value)
        self._made.append(shown)
        return shown

    def made(self, letter: str, array: Any) -> StepValue:
        """Return a new value for a computed array."""
        array = np.asarray(array)
        value = StepValue(self.names.numbered(letter), array.shape, array.dtype, array.strides)
        if self.digests is not None:
            self.digests[value.name] = digest(array)
        return value

    def constant(self, array: NDArray[Any], name: str = "") -> ConstantValue:
        """Return a value with these numbers."""
        name = self.names.unique(name) if name else self.names.numbered("c")
        self._made.append(array)
        return ConstantValue(name, array.shape, array.dtype, array.strides, array)

    def leaf(self, tensor: Variable) -> LeafValue:
        """Return the value of a Tensor from before the run."""
        found = self.leaves.get(id(tensor))
        if found is None:
            name = self.holders.name_of(tensor)
            if not name and not isinstance(tensor, Parameter):
                self.refuse(
                    f"a Tensor of shape {tensor.shape} was made neither by an op of the step, nor "
                    "is it a parameter or buffer of a module that runs, or a variable that the "
                    "function names; pass it as an argument"
                )
            array = tensor._array
            name = self.names.unique(name or tensor.name or "parameter")
            found = LeafValue(name, array.shape, array.dtype, array.strides, tensor)
            self.leaves[id(tensor)] = found
        return found

    def input_of(self, tensor: Variable) -> InputValue | None:
        """Return the value of a Tensor among the arguments."""
        return self._given.get(id(tensor))

    def of_tensor(self, tensor: Variable) -> StepValue:
        """Return the value of a Tensor."""
        found = self.known.get(tensor._array)
        if found is not None:
            return found
        self._check_source(tensor._array)
        if tensor.node is not None or not tensor.is_leaf:
            self.refuse(
                f"a Tensor of shape {tensor.shape} was computed before the step; make it an "
                "argument"
            )
        return self.leaf(tensor)

    def of_array(self, array: NDArray[Any]) -> StepValue:
        """Return the value of an array that the function gave to an op."""
        found = self.known.get(array)
        if found is not None:
            return found
        self._check_source(array)
        made_of = self._sources.get(id(array), (None, array))[1]
        if isinstance(made_of, np.ndarray):
            owner = self.holders.owner_of(made_of)
            if owner is not None:
                return self.leaf(owner)
            if not self.holders.holds(made_of):
                self._refuse_array(array)
            value = self.constant(made_of)  # as it will be in a replay
        else:
            value = self.constant(array.copy())
        self.known.add(array, value)
        return value

    def _can_read(self, array: NDArray[Any]) -> bool:
        """Return whether a replay could make an array again."""
        held = self.holders
        return (
            self.known.get(array) is not None
            or held.holds(array)
            or held.owner_of(array) is not None
        )

    def _refuse_array(self, array: NDArray[Any]) -> None:
        self.refuse(refusals.of_array(array, self.objects))

    def _check_source(self, array: NDArray[Any]) -> None:
        """Refuse a copy of something that a replay could not make again."""
        found = self._sources.get(id(array))
        if found is None or found[0] is not array or self.holders.sized:
            return
        for part in arrays_in(found[1]):
            if not self.holders.holds(part):
                self._refuse_array(part)

    def copied(self, source: Any, array: NDArray[Any]) -> None:
        """Take a copy of an array or Tensor for a call of `astype`."""
        value = self.known.get(source) if isinstance(source, np.ndarray) else None
        is_foreign = value is None and type(source) is np.ndarray and not self.holders.holds(source)
        if is_foreign and not self.holders.sized:
            self._refuse_array(source)
        if value is None:
            self._sources[id(array)] = array, source  # judged where it is used
            self._made.append(array)
            return
        made = self._registered("y", array)
        arguments = {"x": value, "dtype": array.dtype}
        if array.strides == value.strides or not array.flags.c_contiguous:
            self.add(ForwardCall(astype, arguments, made))
        else:
            self.add(FunctionCall(in_c_order, arguments, [made]))

    def _registered(self, letter: str, array: NDArray[Any]) -> StepValue:
        value = self.made(letter, array)
        self.known.add(array, value)
        return value

    def argument(self, given: Any, value: Any) -> Any:
        """Return an argument of a call with values for arrays; `value` is what the op made of it.

        An operand may have been converted to another dtype: that is a call of its own.
        """
        if isinstance(given, HiddenNumber):
            self.refuse(
                "a number that an effect returned is an argument of an op; let the effect return "
                "an array (np.asarray)"
            )
        if isinstance(given, Variable | np.ndarray):
            if given.dtype == object or isinstance(value, str):
                return value
            found = self.of_tensor(given) if isinstance(given, Variable) else self.of_array(given)
            if isinstance(value, np.ndarray) and value.dtype != found.dtype:
                made = self.made("y", value)
                self.add(ForwardCall(astype, {"x": found, "dtype": value.dtype}, made))
                return made
            return found
        if isinstance(given, list | tuple) and type(value) in (list, tuple):
            if next(arrays_in(given), None) is None or len(given) != len(value):
                return value
            parts = [self.argument(*pair) for pair in zip(given, value, strict=True)]
            return type(value)(parts)
        if isinstance(given, slice) and next(arrays_in(given), None) is not None:
            self.refuse("a slice has a bound that the step computes")
        if isinstance(value, np.ndarray):
            for part in arrays_in(given):
                if not self.holders.holds(part):
                    self._refuse_array(part)
            return self.constant(value.copy())
        return value

    def is_settled(self, name: str) -> bool:
        """Return whether the run left all Python state beside effects; refuse what none will leave.

        A value that appears, such as one in a cache, may be there for all later runs: the next call
        shows it.
        """
        changes = self.holders.changed_places()
        for place, key, before, now in changes:
            known = (
                self.known.get(array_of(now)) if isinstance(now, Variable | np.ndarray) else None
            )
            is_kept = isinstance(now, HiddenNumber) or not (
                known is None or isinstance(known, LeafValue | ConstantValue)
            )
            is_counted = isinstance(place, Draws | Elements) or (
                isinstance(before, int | float) and isinstance(now, int | float)
                and not isinstance(now, bool)
            )  # fmt: skip
            if is_kept or is_counted:
                verb = "keeps" if is_kept else place.verb
                raise CompileError(
                    f"compile: {name} {verb} {place.named(key)} "
                    f"({changed(place, key, before, now)}), which a replay "
                    "would not repeat; do it in a function marked with @tg.effect, or "
                    "outside of the step, and pass what it needs as an argument"
                )
        return not changes

    def add(self, instruction: StepInstruction) -> None:
        """Add an instruction."""
        instruction.scope = instruction.scope or str(recording.get().scope)
        instruction.line = running_line()
        self.instructions.append(instruction)

    def refuse(self, text: str) -> None:
        """Raise `CompileError` with the module and the line that are running."""
        scope = recording.get().scope
        place = ", ".join(filter(None, [f"in module {scope}" if scope else "", running_line()]))
        self.error = CompileError(f"compile: {text}" + (f" ({place})" if place else ""))
        raise self.error


def digest(array: Any) -> int:
    """Return a checksum of an array's dtype, shape and bits."""
    array = np.asarray(array)
    described = zlib.crc32(repr((array.dtype, array.shape)).encode())
    if array.dtype.hasobject:
        return described
    bits: Any = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return zlib.crc32(bits, described)


def arrays_in(value: Any) -> Iterator[Any]:
    """Yield the arrays and Tensors in an argument, at any depth."""
    return parts(value, Variable | np.ndarray)


def _memory(array: NDArray[Any]) -> tuple[Any, ...]:
    start = plain(array).__array_interface__["data"][0]
    return start, array.shape, array.strides, array.dtype
