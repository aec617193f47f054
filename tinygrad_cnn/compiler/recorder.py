"""The recorder: an observer that writes down one run of a step as a program."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.compiler import refusals
from tinygrad_cnn.compiler.program import (
    Effect,
    ForwardCall,
    FunctionCall,
    NumberValue,
    StepValue,
)
from tinygrad_cnn.compiler.recorded_values import KnownArrays, RecordedValues, arrays_in
from tinygrad_cnn.compiler.sweeps import Sweep
from tinygrad_cnn.core.composition import COMPOSITIONS
from tinygrad_cnn.core.graph import Node
from tinygrad_cnn.core.hidden import HiddenArray, HiddenNumber, hide, plain
from tinygrad_cnn.core.numpy_dispatch import discrete_values
from tinygrad_cnn.core.observer import BackwardEvent, ForwardEvent
from tinygrad_cnn.core.random import manual_seed
from tinygrad_cnn.core.recording import recording
from tinygrad_cnn.core.step_observer import StepObserver
from tinygrad_cnn.core.variable import Variable, array_of, clear_gradient
from tinygrad_cnn.ops.arithmetic import astype
from tinygrad_cnn.support.frames import running_line
from tinygrad_cnn.support.nested import mapped

CLEAR: Any = clear_gradient.__wrapped__  # type: ignore[attr-defined]  # as `wraps` sets it
SEED: Any = manual_seed.__wrapped__  # type: ignore[attr-defined]

copied = np.ndarray.copy
"""A copy in C order, as those that ops make of arrays that their owner may change."""


class StepRecorder(RecordedValues, StepObserver):
    """Writes down the calls, sweeps and effects of one run.

    The parameters are those of `RecordedValues`.

    Attributes
    ----------
    template : object
        What the function returned, for the classes of Tensors in it.
    calls : mapping of Node to ForwardCall
    """

    def __init__(self, function: Callable[..., Any], with_digests: bool = False) -> None:
        super().__init__(function, with_digests)
        self.template: Any = None
        self.calls: WeakKeyDictionary[Node, ForwardCall] = WeakKeyDictionary()
        self._numbers: dict[int, StepValue] = {}
        self._kept_numbers: list[HiddenNumber] = []
        self.inner: dict[int, tuple[Variable, StepValue]] = {}  # leaves made here, gradients
        self.flags = refusals.EffectFlags()
        self._sweep: Sweep | None = None

    # --- calls -----------------------------------------------------------------------------------

    def forward(self, event: ForwardEvent) -> None:
        """Take one call of an op."""
        if event.output is None:
            return
        self.holders.look_around()
        op, y, raw = event.op, event.output, event.raw
        arguments = {
            name: self.argument(event.given[name], value) for name, value in event.arguments.items()
        }
        array = np.asarray(raw)
        call = ForwardCall(op, arguments, self.made("y", array))
        call.is_number = not isinstance(raw, np.ndarray)
        call.is_view = _is_view(array, event.arguments.values())
        for name, part in event.shared.items():
            call.shared[name] = self._registered("s", part)
        self.add(call)
        result = call.result
        if array.dtype != y.dtype:
            result = self.made("y", y)
            self.add(ForwardCall(astype, {"x": call.result, "dtype": y.dtype}, result))
        elif raw is not y and not call.is_number:
            result = self.made("y", y)
            self.add(FunctionCall(copied, {"x": call.result}, [result]))
        self.known.add(y, result)
        if event.node is None and isinstance(event.output, np.ndarray):
            self._hidden_result(event, result)
        if event.node is not None:
            self.calls[event.node] = call

    def _hidden_result(self, event: ForwardEvent, result: StepValue) -> None:
        """Know views of the result of a call on arrays, which is hidden."""
        given = event.given.values()
        if event.output is not None and not any(
            isinstance(v, Variable) for g in given for v in (g if type(g) is list else [g])
        ):
            self.known.add_hidden(event.output, result)

    def discrete(self, ufunc: np.ufunc, inputs: tuple[Any, ...], output: Variable) -> None:
        """Take one comparison or logical operation."""
        arguments = {"ufunc": ufunc}
        for name, given in zip("ab", inputs, strict=False):
            arguments[name] = self.argument(given, array_of(plain(given)))
        result = self._registered("y", output._array)
        self.add(FunctionCall(discrete_values, arguments, [result]))

    def composed(self, name: str, arguments: dict[str, Any], result: Any) -> Any:
        """Take a function made of ops whose result is an array that no op computed."""
        results = result if isinstance(result, list | tuple) else [result]
        are_arrays = all(isinstance(each, np.ndarray | np.generic) for each in results)
        if name not in COMPOSITIONS or not results or not are_arrays:
            return None
        given = list(arrays_in(list(arguments.values())))
        if all(type(each) is HiddenArray for each in results) or not given:
            return None
        if not all(isinstance(v, Variable) or self._can_read(v) for v in given):
            return None  # an array inside of another such function, or refused where it is used
        function: Any = COMPOSITIONS[name].function
        found = {key: mapped(value, self._operand) for key, value in arguments.items()}
        call = FunctionCall(function.__wrapped__, found, [])
        if isinstance(result, list):
            return list(self._results(call, tuple(result)))
        return self._results(call, result)

    def effect(self, function: Callable[..., Any], arguments: dict[str, Any], result: Any) -> Any:
        """Take one call of an effect."""
        if function is CLEAR:
            (tensor,) = arguments.values()
            if id(tensor) in self._given:
                self.reads(tensor, "assignment to .grad")
            if self.inner.pop(id(tensor), None) is not None:
                return result
        self.flags.seen(arguments, running_line())
        found = {key: mapped(value, self._passed) for key, value in arguments.items()}
        self.holders.explain_changes()
        if any(result is value for value in (None, *arguments.values())):
            self.add(Effect(function, found, []))
            return result
        return self._results(Effect(function, found, []), result)

    def before_effect(self, function: Callable[..., Any]) -> None:
        """Note what was changed until now."""
        if function is SEED:
            self.refuse(
                "manual_seed() in a step lets each call draw the same numbers; call it before, or "
                "give layers a generator (rng=np.random.default_rng(0))"
            )
        self.holders.note_changes()

    def _results(self, call: Effect, result: Any) -> Any:
        """Add a call; return its results, hidden."""
        call.is_tuple = isinstance(result, tuple)
        shown = [self._shown(call, part) for part in (result if call.is_tuple else (result,))]
        self.add(call)
        return tuple(shown) if call.is_tuple else shown[0]

    def _shown(self, call: Effect, result: Any) -> Any:
        if isinstance(result, Variable):
            call.parts.append(self._registered("e", result._array))
            return result
        if isinstance(result, np.ndarray | np.generic):
            array = hide(np.asarray(result))
            call.parts.append(self.made("e", array))
            self.known.add_hidden(array, call.parts[-1])
            self._made.append(array)
            return array
        if type(result) is float:
            number = HiddenNumber(result)
            name = self.names.numbered("e")
            call.parts.append(NumberValue(name, (), np.dtype(np.float64), ()))
            self._numbers[id(number)] = call.parts[-1]
            self._kept_numbers.append(number)
            return number
        self.refuse(
            f"{_name(call.function)} returned {type(result).__name__}, and a replay may return "
            "another value; an effect returns None, a float, an array or a tuple of them"
        )
        return None

    def _passed(self, value: Any) -> Any:
        """Return a part of an argument of a function, as a value if the step computed it."""
        if isinstance(value, HiddenNumber):
            return self._numbers[id(value)]
        if isinstance(value, Variable | np.ndarray):
            found = self.known.get(array_of(value))
            if found is None and isinstance(value, Variable):
                self._check_source(value._array)
            return value if found is None else found
        return value

    def entered(self, module: Any) -> None:
        """Note a module that runs."""
        self.holders.add_module(module, recording.get().scope)

    def _operand(self, value: Any) -> Any:
        """Return a part of an argument of a function that only computes; refuse unknown arrays."""
        if isinstance(value, Variable | np.ndarray) and value.dtype != object:
            return self.of_tensor(value) if isinstance(value, Variable) else self.of_array(value)
        return self._passed(value)

    def computed(
        self, function: Callable[..., Any], args: Any, kwargs: dict[str, Any], result: Any
    ) -> Any:
        """Take a call of a method of an array of the step, such as an index."""
        self.holders.look_around()
        found = {str(i): mapped(value, self._operand) for i, value in enumerate(args)}
        found |= {name: mapped(value, self._operand) for name, value in kwargs.items()}
        call = FunctionCall(function, found, [])
        call.is_view = _is_view(result, [*args, *kwargs.values()])
        return self._results(call, result)

    def fixed(self, array: NDArray[Any]) -> None:
        """Take an array that the package itself computed from shapes and options only."""
        self.known.add(array, self.constant(array))

    def gradient_of(self, leaf: Variable) -> NDArray[Any] | None:
        """Return the gradient of a leaf that the step made; refuse that of others."""
        value = self.inner.get(id(leaf))
        if value is None:
            self.reads(leaf, ".grad")
            return None
        array = hide(np.asarray(array_of(leaf._grad)))
        made = self.made("g", array)
        self.add(FunctionCall(np.array, {"0": value[1]}, [made]))
        self.known.add_hidden(array, made)
        self._made.append(array)
        return array

    def reads(self, value: Any, what: str) -> None:
        """Refuse to read values, which may differ from run to run."""
        if self.holders.sized and what.startswith("assignment"):
            return
        self.refuse(refusals.why_not(value, what))

    # --- sweeps ----------------------------------------------------------------------------------

    def seeded(self, y: Variable, given: Any, seed: Any, create_graph: bool) -> None:
        """Take the start of a sweep."""
        if create_graph:
            self.refuse(
                "create_graph=True records the sweep itself, which a captured step cannot repeat; "
                "call the function without compile"
            )
        self._sweep = Sweep(self, y, given, seed)

    def backward(self, event: BackwardEvent) -> None:
        """Take one step of a sweep."""
        assert self._sweep is not None
        self._sweep.visit(event)

    def swept(self, gradients: Mapping[Variable, Any], accumulates: bool) -> None:
        """Take the end of a sweep."""
        assert self._sweep is not None
        if accumulates:
            self._sweep.store()

    def differentiated(self, keys: Sequence[Node | Variable], results: list[Any]) -> list[Any]:
        """Take the gradients that `grad` returns."""
        assert self._sweep is not None
        shown = []
        for key, array in zip(keys, results, strict=True):
            value = self._sweep.gradient(key, array)
            hidden = hide(array)
            self.known.add_hidden(hidden, value)
            self._made.append(hidden)
            shown.append(hidden)
        return shown

    # --- the program -----------------------------------------------------------------------------

    def result(self, value: Any) -> Any:
        """Return a part of the result: a value for what the step computes, or a constant."""
        if isinstance(value, HiddenNumber):
            return self._numbers[id(value)]
        if isinstance(value, Variable | np.ndarray):
            return self.of_tensor(value) if isinstance(value, Variable) else self.of_array(value)
        if isinstance(value, PLAIN):
            return value
        self.refuse(
            f"the function returns {type(value).__name__}, expected Tensors, arrays or numbers, or "
            "lists, tuples and dicts of them"
        )
        return None

    def forget(self) -> None:
        """Let the arrays of the run go."""
        self._made.clear()
        self._sources.clear()
        self._kept_numbers.clear()
        self.inner.clear()
        self.known = KnownArrays()
        self.flags = refusals.EffectFlags()
        self.objects = []
        self._sweep = None


PLAIN = (bool, int, float, complex, str, bytes, types.NoneType, np.generic, np.dtype)


def _is_view(result: Any, arguments: Iterable[Any]) -> bool:
    """Return whether a result shares memory with an array in the arguments."""
    given = [plain(array_of(x)) for x in arrays_in(list(arguments))]
    y = plain(result)
    return isinstance(y, np.ndarray) and any(np.may_share_memory(y, x) for x in given)


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", type(function).__name__)
