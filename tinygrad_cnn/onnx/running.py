"""One call of a loaded model: its steps in order, with the hooks of parts around theirs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tinygrad_cnn.core.observer import announce
from tinygrad_cnn.core.recording import Recording, entered, recording
from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.onnx.errors import OnnxError, explained
from tinygrad_cnn.onnx.operator import IMPORTERS, Operator
from tinygrad_cnn.onnx.part import OnnxPart
from tinygrad_cnn.onnx.sizes import check_size

__all__ = ["OnnxRun", "OnnxStep", "PartCall", "part_calls"]


@dataclass(slots=True)
class OnnxStep:
    """A call of an operator in a part of the model.

    Attributes
    ----------
    operators : (Operator, Operator)
        In eval mode and in train mode.
    inputs, outputs : tuple of str
        Names of values; "" for one left out.
    part : OnnxPart
    path : str
        The name of the part, the scope of what is recorded.
    within : tuple of OnnxPart
        The parts around it, from the outermost to its own; none for one of the model itself.
    last : tuple of str
        The values that no later step reads.
    """

    operators: tuple[Operator, Operator]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    part: OnnxPart
    path: str
    within: tuple[OnnxPart, ...] = ()
    last: tuple[str, ...] = ()

    def run(self, arguments: Sequence[Any], largest: int) -> tuple[Any, ...]:
        """Return the results: Tensors and arrays."""
        operator = self.operators[self.part.training]
        if len(arguments) > 1 or operator.attributes:  # or they are no larger than the input
            check_size(operator, arguments, largest)
        try:
            result = IMPORTERS[operator.op_type](operator, *arguments)
        except Exception as error:
            made = explained(error, operator)
            if made is error:
                raise
            raise made from error
        results = result if isinstance(result, tuple) else (result,)
        if len(results) < operator.outputs:
            raise OnnxError(f"{operator}: returned {len(results)} values, expected "
                            f"{operator.outputs}")  # fmt: skip
        return tuple(map(_value, results))

    def announce(self, arguments: Sequence[Any], results: Sequence[Any]) -> None:
        """Report a node to the observers whose result no op has computed."""
        if not any(isinstance(value, Variable) for value in results):
            operator = self.operators[self.part.training]
            announce("onnx_node", {"operator": operator, "inputs": list(arguments)}, results)


@dataclass(slots=True)
class PartCall:
    """Steps of a part that follow each other: one call of the part.

    Attributes
    ----------
    part : OnnxPart
    path : str
        Its name.
    start, stop : int
        The first step, and the one after the last.
    inputs : tuple of str
        What they read of other steps and of the model's inputs.
    outputs : tuple of str
        What others read of them.
    """

    part: OnnxPart
    path: str
    start: int
    stop: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def part_calls(
    steps: Sequence[OnnxStep], parts: Iterable[tuple[str, OnnxPart]], held: Collection[str]
) -> dict[int, list[PartCall]]:
    """Return the calls of parts by their first step, the outer ones first.

    Parameters
    ----------
    steps : sequence of OnnxStep
    parts : iterable of (str, OnnxPart)
        Containers before their contents.
    held : collection of str
        The values that are not inputs of a part: parameters, buffers and constants.
    """
    found: dict[int, list[PartCall]] = {}
    for path, part in parts:
        for start, stop in _ranges(steps, part):
            inside = [step for step in steps[start:stop] if part in step.within]
            made = {name for step in steps[start:stop] for name in step.outputs}
            gone = {name for step in steps[start:stop] for name in step.last}
            read = dict.fromkeys(name for step in inside for name in step.inputs)
            left = dict.fromkeys(name for step in inside for name in step.outputs)
            inputs = tuple(name for name in read if name and name not in made and name not in held)
            outputs = tuple(name for name in left if name and name not in gone)
            found.setdefault(start, []).append(PartCall(part, path, start, stop, inputs, outputs))
    for of_start in found.values():
        of_start.sort(key=lambda call: -call.stop)  # stable: containers stay first
    return found


def _ranges(steps: Sequence[OnnxStep], part: OnnxPart) -> Iterator[tuple[int, int]]:
    """Yield where steps of a part begin and end; those of the model itself do not divide them."""
    places = [number for number, step in enumerate(steps) if part in step.within]
    ends = [a for a, b in pairwise(places) if any(step.within for step in steps[a + 1 : b])]
    begins = [b for a, b in pairwise(places) if any(step.within for step in steps[a + 1 : b])]
    if places:
        yield from zip([places[0], *begins], [end + 1 for end in [*ends, places[-1]]], strict=True)


class OnnxRun:
    """One call of a model.

    Parameters
    ----------
    steps : sequence of OnnxStep
    values : dict of str to (Tensor or ndarray)
        The inputs, parameters, buffers and constants; the results are added.
    calls : dict of int to list of PartCall
        The calls of parts with hooks, by their first step.
    largest : int
        The most elements of an array.
    """

    def __init__(
        self,
        steps: Sequence[OnnxStep],
        values: dict[str, Any],
        calls: dict[int, list[PartCall]],
        largest: int,
    ) -> None:
        self._steps, self._values, self._calls, self._largest = steps, values, calls, largest
        self._outside = recording.get()
        self._part: OnnxPart | None = None

    def __call__(self, start: int, stop: int, depth: int = 0) -> None:
        """Compute the steps from `start` to `stop`; the first is inside of `depth` calls."""
        number = start
        while number < stop:
            calls = self._calls.get(number, ())
            if len(calls) > depth:
                self._call(calls[depth], depth + 1)
                number = calls[depth].stop
            else:
                self._compute(self._steps[number])
                number += 1
            depth = 0

    def _enter(self, part: OnnxPart, path: str) -> None:
        """Record what follows in the scope of a part."""
        if self._part is not part:
            on, scope, observers, _, shapes = self._outside
            recording.set(Recording(on, entered(scope, path), observers, part, shapes))
            self._part = part

    def _compute(self, step: OnnxStep) -> None:
        values = self._values
        self._enter(step.part, step.path)
        arguments = [values[name] if name else None for name in step.inputs]
        results = step.run(arguments, self._largest)
        if self._outside.observers:
            step.announce(arguments, results)
        values.update(zip(step.outputs, results, strict=False))
        shapes = self._outside.shapes
        if shapes is not None and isinstance(results[0], Variable):
            shapes[id(step.part)] = results[0].shape
        for name in step.last:
            del values[name]

    def _call(self, call: PartCall, depth: int) -> None:
        """Compute the steps of a part, with its hooks around them."""
        values = self._values
        given = [values[name] for name in call.inputs]

        def forward(*arguments: Any) -> Any:
            values.update(_named(call, "inputs", arguments))
            self(call.start, call.stop, depth)
            self._enter(call.part, call.path)
            results = tuple(values[name] for name in call.outputs)
            return results if len(results) != 1 else results[0]

        self._enter(call.part, call.path)
        hooks = call.part._hooks
        assert hooks is not None
        result = hooks.call(call.part, forward, tuple(given), {})
        values.update(_named(call, "outputs", result if len(call.outputs) != 1 else (result,)))
        for name, value in zip(call.inputs, given, strict=True):
            if name in values:  # others read it without the changes of a hook
                values[name] = value


def _named(call: PartCall, kind: str, changed: Any) -> dict[str, Any]:
    """Return the values of a part by name, after its hooks."""
    names: tuple[str, ...] = getattr(call, kind)
    if not isinstance(changed, tuple) or len(changed) != len(names):
        came = f"{len(changed)} {kind}" if isinstance(changed, tuple) else type(changed).__name__
        raise OnnxError(f"{call.path}: a hook returned {came}, expected {len(names)} {kind}: "
                        f"{', '.join(names)}")  # fmt: skip
    return dict(zip(names, map(_value, changed), strict=True))


def _value(value: Any) -> Any:
    """Return a result as a Tensor or an array; NumPy computes numbers of arrays without axes."""
    if isinstance(value, Variable):  # of integers only during a capture
        return value if value.dtype.kind in "fc" else value._array
    return value if isinstance(value, np.ndarray) else np.asarray(value)
