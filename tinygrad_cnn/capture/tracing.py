"""`captured`: runs a function and lists its calls of ops."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Container, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, Literal, NoReturn
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
    parts,
)
from tinygrad_cnn.core.numpy_dispatch import WITHOUT_GRADIENT
from tinygrad_cnn.core.observer import ForwardEvent, Observer, observe
from tinygrad_cnn.core.op import OPTIONAL
from tinygrad_cnn.core.recording import no_grad, recording
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.core.variable import Variable, array_of
from tinygrad_cnn.ops.arithmetic import astype

__all__ = ["captured"]

OF_SHAPES = {
    np.shape, np.ndim, np.size, np.zeros_like, np.ones_like, np.empty_like, np.full_like,
    np.result_type, np.can_cast, np.iscomplexobj, np.isrealobj,
}  # fmt: skip
"""Functions of NumPy that read no values."""
PACKAGE = f"{Path(__file__).parents[1]}{os.sep}"


def captured(
    function: Callable[..., Any],
    inputs: Mapping[str, Tensor | NDArray[Any]],
    names: Mapping[int, str] | None = None,
    unsplit: Container[str] = (),
) -> Program:
    """Run ``function(*inputs)`` under `no_grad` and return its calls.

    A function that reads the value of a Tensor (``item``, ``bool``, ``data``, ``numpy``) is
    refused, as the list of calls would not contain what it did with it. Whether constants are the
    same for other inputs, a single run cannot say: see `compared`. The program has the values of
    its inputs, constants and outputs; of what else an input influences, only shape and dtype.

    Parameters
    ----------
    function : callable
        Returns a Tensor, or a list, tuple or dict of Tensors.
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
        kind = _traced(value._tensor if isinstance(value, Variable) else Tensor)  # type: ignore[arg-type]
        array = np.array(array_of(value))
        watch.program.inputs.append(watch.leaf(array, "input", name))
        given.append(kind._of(array))
    with no_grad(), observe(watch):
        result = function(*given)
    for name, value in _flat(result):
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
        self._latest: Operand | None = None

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

    def result_class(self, kind: type[Tensor]) -> type[Tensor]:
        return _traced(kind) if self._latest in self._varying else kind  # type: ignore[arg-type]

    def composed(self, name: str, arguments: dict[str, Any], result: Any) -> None:
        if name not in self.unsplit:
            return
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
        self._latest, call.line = call, _line()
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


def _flat(result: Any, keys: tuple[Any, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield the Tensors of a result with the keys that lead to them; "" without one of a dict."""
    if isinstance(result, Mapping):
        for key, value in result.items():
            yield from _flat(value, (*keys, str(key)))
    elif isinstance(result, list | tuple):
        for i, value in enumerate(result):
            yield from _flat(value, (*keys, i))
    else:
        yield ".".join(map(str, keys)) if any(isinstance(k, str) for k in keys) else "", result


# --- Tensors whose values cannot be read ---------------------------------------------------------


@cache
def _traced(kind: type[Tensor]) -> type[Tensor]:
    """Return the class of Tensors whose values cannot be read."""
    if kind.__name__.startswith("Traced"):
        return kind

    def refuse(what: str) -> Callable[..., Any]:
        def refused(self: Tensor, *args: Any, **kwargs: Any) -> NoReturn:
            scope = recording.get().scope
            where = [f"in module {scope}"] * bool(scope) + [_line()]
            raise CaptureError(
                f"{what} reads a value that depends on the input, so the calls that follow may "
                "differ from input to input; compute it with ops, such as tg.where "
                f"({', '.join(filter(None, where))})"
            )

        return refused

    readers = {
        "item": ".item()", "tolist": ".tolist()", "numpy": ".numpy()", "__bool__": "bool()",
        "__float__": "float()", "__int__": "int()", "__index__": "its use as an index",
        "__array__": "a function of NumPy", "__contains__": "in", "__format__": "a format",
    }  # fmt: skip
    members: dict[str, Any] = {name: refuse(what) for name, what in readers.items()}
    returns_tensor = kind is not Tensor  # in `compat.torch`
    members["data"] = property(lambda self: self) if returns_tensor else property(refuse(".data"))
    members["detach"] = lambda self: self
    members["is_leaf"] = property(lambda self: False)  # in-place operators return a new Tensor
    members["__slots__"] = ()

    def array_function(self: Any, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function in WITHOUT_GRADIENT and function not in OF_SHAPES:
            refuse(f"np.{function.__name__}")(self)
        return kind.__array_function__(self, function, types, args, kwargs)

    members["__array_function__"] = array_function
    made: type[Tensor] = type(f"Traced{kind.__name__}", (kind,), members)
    made._tensor = made
    return made


def _line() -> str:
    """Return the file and line of the function that are running, "" within this package."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code is not captured.__code__:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return f"{frame.f_code.co_filename}, line {frame.f_lineno}"
        frame = frame.f_back
    return ""
