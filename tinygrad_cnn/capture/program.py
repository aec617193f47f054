"""Programs: the calls of one run of a function, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.graph import Node
from tinygrad_cnn.core.observer import ForwardEvent, Observer, observe
from tinygrad_cnn.core.op import Op
from tinygrad_cnn.core.recording import recording
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.core.variable import Variable

__all__ = ["CaptureError", "Instruction", "Operand", "Origin", "Program", "captured"]


class CaptureError(RuntimeError):
    """A function does what a list of calls of ops cannot say."""


@dataclass(eq=False, slots=True)
class Operand:
    """A value of a program.

    Attributes
    ----------
    array : ndarray
        Its value in the run that was captured.
    """

    array: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in the captured run."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype."""
        return self.array.dtype


@dataclass(eq=False, slots=True)
class Origin(Operand):
    """A value that no call computes.

    Attributes
    ----------
    kind : {"input", "parameter", "constant"}
        A parameter is an array that the caller named: a parameter or a buffer.
    name : str
        Empty for a constant without a name.
    scope : str
        The module that first used it.
    """

    kind: Literal["input", "parameter", "constant"]
    name: str = ""
    scope: str = ""


@dataclass(eq=False, slots=True)
class Instruction(Operand):
    """A call of an op, and its result.

    Attributes
    ----------
    op : Op or ufunc
        A ufunc for comparisons and logical operations, whose arguments are named by position.
    arguments : dict
        By the op's parameters: each an `Operand`, a list of them (of an op on a sequence), None for
        an optional array that was left out, or an option as it was given.
    scope : str
        The module that called it, such as "features.0".
    """

    op: Op[..., Any] | np.ufunc
    arguments: dict[str, Any]
    scope: str = ""

    @property
    def name(self) -> str:
        """The name of the op."""
        return self.op.__name__ if isinstance(self.op, np.ufunc) else self.op.name

    def operands(self) -> list[Operand]:
        """Return the values among the arguments."""
        found: list[Operand] = []
        for argument in self.arguments.values():
            parts = argument if isinstance(argument, list) else [argument]
            found += [part for part in parts if isinstance(part, Operand)]
        return found


@dataclass(slots=True)
class Program:
    """The calls of one run.

    Attributes
    ----------
    inputs : list of Origin
    calls : list of Instruction
        In the order of the run.
    outputs : list of Operand
    """

    inputs: list[Origin]
    calls: list[Instruction] = field(default_factory=list)
    outputs: list[Operand] = field(default_factory=list)

    def without_dead_calls(self) -> Program:
        """Return the program without the calls that no output needs."""
        needed = set(map(id, self.outputs))
        calls: list[Instruction] = []
        for call in reversed(self.calls):
            if id(call) in needed:
                calls.append(call)
                needed.update(map(id, call.operands()))
        return Program(self.inputs, calls[::-1], self.outputs)


def captured(
    function: Callable[..., Any],
    inputs: Mapping[str, Tensor | NDArray[Any]],
    names: Mapping[int, str] | None = None,
) -> Program:
    """Run ``function(*inputs)`` and return its calls.

    A function that reads the value of a Tensor (``item``, ``bool``, ``data``, NumPy) is refused,
    as the list of calls would not contain what it did with it. Whether constants are the same for
    other inputs, a single run cannot say.

    Parameters
    ----------
    function : callable
        Returns a Tensor, or a list, tuple or dict of Tensors.
    inputs : mapping of str to Tensor or ndarray
    names : mapping of int to str, optional
        The names of the arrays that are parameters or buffers, by ``id`` of the array.

    Raises
    ------
    CaptureError
        If the function reads a value, or returns something that is no Tensor.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> program = captured(lambda x: tg.relu(x * 2.0), {"x": tg.Tensor([1.0, -1.0])})
    >>> [call.name for call in program.calls]
    ['mul', 'relu']
    """
    watch = _Watch(names or {})
    given = []
    for name, value in inputs.items():
        kind = _traced(value._tensor if isinstance(value, Variable) else Tensor)  # type: ignore[arg-type]
        array = np.array(value._array if isinstance(value, Variable) else value)
        tensor = kind._of(array)
        watch.program.inputs.append(watch.leaf(array, "input", name))
        given.append(tensor)
    with observe(watch):
        result = function(*given)
    watch.program.outputs = [watch.output(value) for value in _flat(result)]
    return watch.program


class _Watch(Observer):
    """Lists the calls of a run."""

    def __init__(self, names: Mapping[int, str]) -> None:
        self.names = names
        self.program = Program([])
        self._known: dict[int, Operand] = {}  # by id of the array, which the value keeps alive

    def leaf(
        self, array: NDArray[Any], kind: Literal["input", "parameter", "constant"], name: str = ""
    ) -> Origin:
        leaf = Origin(array, kind, name, recording.get().scope)
        self._known[id(array)] = leaf
        return leaf

    def value(self, array: NDArray[Any], source: Node | Variable | None = None) -> Operand:
        """Return the value of an array; a new leaf if no call computed it."""
        found = self._known.get(id(array))
        if found is None and isinstance(source, Variable):
            # An op may have converted the operand to another dtype.
            found = self._known.get(id(source._array))
            if found is not None and found.array.dtype != array.dtype:
                found = None
        if found is None:
            name = self.names.get(id(array), "")
            found = self.leaf(array, "parameter" if name else "constant", name)
        return found

    def forward(self, event: ForwardEvent) -> None:
        if event.output is None:
            return
        op, arguments = event.op, dict(event.arguments)
        if op.sequence:
            name = op.parameters[0]
            arguments[name] = [self.value(array) for array in arguments[name]]
        static = set(op.static)
        for name, value in arguments.items():
            if isinstance(value, np.ndarray) and name not in static:
                arguments[name] = self.value(value)
        self._add(Instruction(event.output, op, arguments, event.scope))

    def discrete(self, ufunc: np.ufunc, inputs: tuple[Any, ...], output: Variable) -> None:
        arguments: dict[str, Any] = {
            "ab"[i]: self.value(v._array) if isinstance(v, Variable) else self.value(np.asarray(v))
            for i, v in enumerate(inputs)
        }
        self._add(Instruction(output._array, ufunc, arguments, recording.get().scope))

    def output(self, value: Any) -> Operand:
        if not isinstance(value, Variable):
            raise CaptureError(
                f"the function returns {type(value).__name__}, expected a Tensor, or a list, tuple "
                "or dict of Tensors"
            )
        return self.value(value._array)

    def _add(self, call: Instruction) -> None:
        self.program.calls.append(call)
        self._known[id(call.array)] = call


def _flat(result: Any) -> list[Any]:
    if isinstance(result, Mapping):
        result = list(result.values())
    return [result] if not isinstance(result, Sequence) else [v for r in result for v in _flat(r)]


@cache
def _traced(kind: type[Tensor]) -> type[Tensor]:
    """Return the class of Tensors whose values cannot be read."""

    def refuse(what: str) -> Callable[..., Any]:
        def refused(self: Tensor, *args: Any, **kwargs: Any) -> NoReturn:
            raise CaptureError(
                f"{what} reads a value that depends on the input, so the calls that follow may "
                "differ from input to input; compute it with ops, such as tg.where"
            )

        return refused

    readers = {
        "item": ".item()", "tolist": ".tolist()", "numpy": ".numpy()", "__bool__": "bool(x)",
        "__float__": "float(x)", "__int__": "int(x)", "__index__": "an index", "__array__": "NumPy",
        "__contains__": "in",
    }  # fmt: skip
    members: dict[str, Any] = {name: refuse(what) for name, what in readers.items()}
    members["data"] = property(refuse(".data"))
    members["detach"] = lambda self: self
    members["__slots__"] = ()
    made: type[Tensor] = type(f"Traced{kind.__name__}", (kind,), members)
    made._tensor = made
    return made
