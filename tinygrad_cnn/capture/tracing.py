"""`captured`: runs a function and lists its calls of ops."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any, Literal
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.capture.program import (
    CaptureError,
    Instruction,
    Operand,
    Origin,
    Output,
    Program,
)
from tinygrad_cnn.capture.reading_refused import traced
from tinygrad_cnn.core.observer import ForwardEvent, Observer, observe
from tinygrad_cnn.core.op import OPTIONAL
from tinygrad_cnn.core.recording import no_grad, recording
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.core.variable import Variable, array_of
from tinygrad_cnn.ops.arithmetic import astype
from tinygrad_cnn.support.frames import call_user_code, running_line
from tinygrad_cnn.support.nested import parts

__all__ = ["captured", "flat"]


def captured(
    function: Callable[..., Any],
    inputs: Mapping[str, Tensor | NDArray[Any]],
    names: Mapping[int, str] | None = None,
    unsplit: Container[str] = (),
) -> Program:
    """Run ``function(*inputs.values())`` under `no_grad` and return its calls.

    A function that reads the value of a Tensor (``item``, ``bool``, ``data``, ``numpy``) is
    refused, as the list of calls would not contain what it did with it. So that this holds for
    indices and masks as well, functions such as `argmax` return Tensors during the run. Whether
    constants are the same for other inputs, a single run cannot say: see `compared`. The program
    has the values of its inputs, constants and outputs; of what else an input influences, only
    shape and dtype.

    Parameters
    ----------
    function : callable
        Returns a Tensor, or a list, tuple or dict of Tensors. None among them is left out.
    inputs : mapping of str to Tensor or ndarray
    names : mapping of int to str, optional
        The names of the arrays that are parameters or buffers, by ``id`` of the array.
    unsplit : container of str
        The functions made of ops whose calls are listed instead of those of their ops.

    Raises
    ------
    CaptureError
        If the function reads a value, or returns no Tensor, or something that is none.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> program = captured(lambda x: tg.relu(x * 2.0), {"x": tg.Tensor([1.0, -1.0])})
    >>> [call.name for call in program.calls]
    ['mul', 'relu']
    """
    watch = _Watch(names or {}, unsplit)
    given = []
    for name, value in inputs.items():
        kind = traced(value._tensor if isinstance(value, Variable) else Tensor)  # type: ignore[arg-type]
        array = np.array(array_of(value))
        watch.program.inputs.append(watch.leaf(array, "input", name))
        given.append(kind._of(array))
    with no_grad(), observe(watch):
        result = call_user_code(function, given, {})
    for name, value in flat(result):
        watch.program.outputs.append(watch.output(value))
        watch.program.names.append(name)
    if not watch.program.outputs:
        raise CaptureError(f"the function returns {result!r}, expected at least one Tensor")
    return watch.program.without_dead_calls()


class _Watch(Observer):
    """Lists the calls of a run."""

    functional = True

    def __init__(self, names: Mapping[int, str], unsplit: Container[str]) -> None:
        self.names, self.unsplit = names, unsplit
        self.program = Program([])
        self._known: dict[int, Operand] = {}  # by id of the array, while that lives
        self._constants: list[NDArray[Any]] = []  # kept alive
        self._varying: set[Operand] = set()  # the values that depend on an input

    def leaf(
        self, array: NDArray[Any], kind: Literal["input", "parameter", "constant"], name: str = ""
    ) -> Origin:
        leaf = Origin(array, kind, name, recording.get().scope)
        self._known[id(array)] = leaf
        if kind == "input":
            self._varying.add(leaf)
        return leaf

    def value(self, array: NDArray[Any], given: Any = None) -> Operand:
        """Return the value of an array; a new leaf if no call computed it.

        An array that the caller gave to the op, instead of a Tensor, is copied, as the caller may
        change it in place; a later call then has a leaf of its own.
        """
        found = self._known.get(id(array))
        is_plain = given is array and isinstance(found, Origin) and found.kind == "constant"
        if found is None or (is_plain and array.tobytes() != found.array.tobytes()):
            name = self.names.get(id(array), "")
            found = self.leaf(array, "parameter" if name else "constant", name)
            self._constants.append(array)
            if given is array and not name:
                found.array = array.copy()
        return found

    def converted(self, given: Any, array: NDArray[Any]) -> Operand:
        """Return the value of an operand that the op may have converted to another dtype."""
        source = array_of(given)
        if source is array or not self._is_value(source):
            return self.value(array, given)
        value = self.value(source)
        if value.dtype == array.dtype:
            return value
        arguments = {"x": value, "dtype": array.dtype}
        return self._add(Instruction(array, astype, arguments, recording.get().scope))

    def forward(self, event: ForwardEvent) -> None:
        if event.output is None:
            return
        op, arguments = event.op, dict(event.arguments)
        for name, value in arguments.items():
            given = event.given[name]
            if op.sequence and name == op.parameters[0]:
                pairs = zip(given, value, strict=True)
                arguments[name] = [self.converted(*pair) for pair in pairs]
            elif name in op.static:
                optional = op.signature.parameters[name].annotation == OPTIONAL
                arguments[name] = self.option(given, value, optional)
            elif isinstance(value, np.ndarray):
                arguments[name] = self.converted(given, value)
            elif isinstance(value, tuple):  # an index of several parts
                arguments[name] = self.option(given, value)
        for part in parts(arguments.get("index"), Operand):
            if part.dtype.kind == "b" and part in self._varying:
                raise CaptureError(
                    f"{op.name}: the index is a mask that depends on the input, and so does the "
                    "shape of the result; compute with all values and tg.where"
                )
        y = event.output
        given = [v for value in event.arguments.values() for v in parts(value, np.ndarray)]
        widest = max((v.dtype for v in given if v.dtype.kind == "f"), default=y.dtype)
        if y.dtype.kind != "f" or y.dtype >= widest or "dtype" in op.parameters:
            self._add(Instruction(y, op, arguments, event.scope))
            return
        wide = self._add(Instruction(y.astype(widest), op, arguments, event.scope))
        self._add(Instruction(y, astype, {"x": wide, "dtype": y.dtype}, event.scope))

    def option(self, given: Any, value: Any, is_array: bool = False) -> Any:
        """Return an option with the values in it; `value` is the private copy of `given`."""
        if isinstance(given, Variable | np.ndarray):
            array = array_of(given)
            return self.value(array, given) if is_array or self._is_value(array) else value
        if isinstance(given, list | tuple) and type(given) is type(value):
            found = [self.option(*pair) for pair in zip(given, value, strict=True)]
            return type(given)(found) if any(isinstance(p, Operand) for p in found) else value
        return value

    def discrete(self, ufunc: np.ufunc, inputs: tuple[Any, ...], output: Variable) -> None:
        arrays = [array_of(value) for value in inputs]
        dtype = np.result_type(*arrays)
        converted = [np.asarray(array).astype(dtype, copy=False) for array in arrays]
        arguments = {
            "ab"[i]: self.converted(*pair)
            for i, pair in enumerate(zip(arrays, converted, strict=True))
        }
        self._add(Instruction(output._array, ufunc, arguments, recording.get().scope))

    def copied(self, source: NDArray[Any], array: NDArray[Any]) -> None:
        if id(source) in self._known:
            value = self._known[id(source)]
            arguments = {"x": value, "dtype": array.dtype}
            self._add(Instruction(array, astype, arguments, recording.get().scope))

    def result_class(self, kind: type[Tensor], array: NDArray[Any]) -> type[Tensor]:
        return traced(kind) if self._known.get(id(array)) in self._varying else kind  # type: ignore[arg-type]

    def composed(self, name: str, arguments: dict[str, Any], result: Any) -> Any:
        several = isinstance(result, list | tuple)
        values = list(result) if several else [result]
        of_tensors = next(parts([*arguments.values()], Variable), None) is not None
        known = all(self._is_value(array_of(value)) for value in values)
        if name in self.unsplit or (of_tensors and not known):
            self._whole(name, arguments, result)
        if not of_tensors:
            return None
        made = [self._shown(value, arguments) for value in values]
        return type(result)(made) if several else made[0]

    def _shown(self, value: Any, arguments: dict[str, Any]) -> Any:
        """Return a result that depends on an input as a Tensor whose values cannot be read."""
        array = array_of(value)
        if self._known.get(id(array)) not in self._varying:
            return value
        kind = Tensor
        for tensor in (value, *arguments.values()):
            if isinstance(tensor, Variable) and issubclass(tensor._tensor, kind):
                kind = tensor._tensor
        made = traced(kind)
        return value if isinstance(value, made) else made._of(array)

    def _whole(self, name: str, arguments: dict[str, Any], result: Any) -> None:
        """Add one call for a function made of ops, in place of the calls of these ops."""
        dtypes = [v.dtype for v in arguments.values() if isinstance(v, Variable)]
        dtype = next((dtype for dtype in dtypes if dtype.kind == "f"), None)
        found = {key: self._passed(value, dtype) for key, value in arguments.items()}
        scope = recording.get().scope
        if isinstance(result, Variable | np.ndarray):
            self._add(Instruction(array_of(result), name, found, scope))
            return
        if not isinstance(result, list | tuple) or not result:
            return
        arrays = [array_of(value) for value in result]
        call = Instruction(arrays[0], name, found, scope)
        call.results = [Output(array, call, i) for i, array in enumerate(arrays)]
        self._add(call)

    def _passed(self, value: Any, dtype: np.dtype[Any] | None) -> Any:
        """Return an argument of a function: arrays become values, of the Tensors' dtype."""
        array = array_of(value)
        if isinstance(array, np.ndarray):
            if array.dtype.kind == "f" and dtype is not None:
                return self.converted(array, array.astype(dtype, copy=False))
            return self.value(array)
        if isinstance(value, list) and any(isinstance(v, Variable) for v in value):
            return [self._passed(v, dtype) for v in value]
        return self.option(value, value)

    def output(self, value: Any) -> Operand:
        if not isinstance(value, Variable | np.ndarray):
            raise CaptureError(
                f"the function returns {type(value).__name__}, expected a Tensor, or a list, tuple "
                "or dict of Tensors"
            )
        array = array_of(value)
        found = self.value(array, value)
        if found in self._varying:
            found.array = array
        return found

    def _is_value(self, array: Any) -> bool:
        return id(array) in self._known or id(array) in self.names

    def _add(self, call: Instruction) -> Instruction:
        self.program.calls.append(call)
        call.line = running_line()
        varies = not self._varying.isdisjoint(call.operands())
        for value in (call, *call.results):
            self._known[id(value.array)] = value
            if varies:
                self._varying.add(value)
        if varies:
            self._forget([call, *call.results])
        return call

    def _forget(self, values: list[Operand]) -> None:
        """Keep only shape and dtype: an array lives no longer than the function needs it."""
        for value in values:
            finalize(value.array, self._known.pop, id(value.array), None).atexit = False
        for value in values:
            value.array = np.broadcast_to(np.zeros((), value.dtype), value.shape)


def flat(result: Any, keys: tuple[Any, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield the Tensors of a result with the keys that lead to them; "" without one of a dict.

    None is left out.
    """
    if isinstance(result, Mapping):
        for key, value in result.items():
            yield from flat(value, (*keys, str(key)))
    elif isinstance(result, list | tuple):
        for i, value in enumerate(result):
            yield from flat(value, (*keys, i))
    elif result is not None:
        yield ".".join(map(str, keys)) if any(isinstance(k, str) for k in keys) else "", result
