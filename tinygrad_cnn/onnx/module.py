"""`OnnxModule`: the network of an ONNX file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_cnn.core.observer import announce
from tinygrad_cnn.core.recording import Recording, entered, recording
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.onnx.errors import OnnxError, explained
from tinygrad_cnn.onnx.operator import IMPORTERS, Operator
from tinygrad_cnn.onnx.part import OnnxPart
from tinygrad_cnn.onnx.reading import InputInfo

__all__ = ["OnnxModule", "OnnxStep"]

_FEW = 8  # elements of a constant that a listing shows


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
    last : tuple of str
        The values that no later step reads.
    """

    operators: tuple[Operator, Operator]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    part: OnnxPart
    path: str
    last: tuple[str, ...] = ()

    def run(self, *arguments: Any) -> Any:
        """Return the results."""
        operator = self.operators[self.part.training]
        return IMPORTERS[operator.op_type](operator, *arguments)

    def announce(self, arguments: Sequence[Any], results: Sequence[Any]) -> None:
        """Report a node to the observers whose result no op has computed."""
        if not any(isinstance(value, Variable) for value in results):
            operator = self.operators[self.part.training]
            announce("onnx_node", {"operator": operator, "inputs": list(arguments)}, results)


class OnnxModule(OnnxPart):
    """The network of an ONNX file; `load` makes it.

    Called with the inputs of the file, in its order or by name, it returns the output, or a tuple
    of several: Tensors of floats, and arrays of integers, bools and text. ``print(model)`` lists
    its steps as a program.

    Parameters and buffers have the names of the file. A new parameter can be assigned, also of
    another shape, such as a head for other classes: ``model.fc.weight = Parameter(...)``.

    Attributes
    ----------
    inputs : tuple of InputInfo
        Names, dtypes and shapes.
    outputs : tuple of str
    opset : int
        The version of the standard's operators that the file states.
    """

    inputs: tuple[InputInfo, ...]
    outputs: tuple[str, ...]
    opset: int

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Compute the outputs.

        Raises
        ------
        OnnxError
            If an input is missing, or has a dtype or shape that the file does not allow; or if a
            node cannot compute with its inputs.
        """
        values: dict[str, Any] = {**self._constants, **self._bound(inputs, named)}
        for name, holder, key in self._held:
            values[name] = holder._contents[key]
        outside = recording.get()
        on, scope, observers, _, shapes = outside
        part: OnnxPart | None = None
        try:
            for step in self._steps:
                if step.part is not part:
                    part = step.part
                    inner = entered(scope, step.path)
                    recording.set(Recording(on, inner, observers, part, shapes))
                arguments = [values[name] if name else None for name in step.inputs]
                try:
                    hooks = part._hooks
                    if hooks is None or part is self:  # those are called around it all
                        result = step.run(*arguments)
                    else:
                        result = hooks.call(part, step.run, tuple(arguments), {})
                except Exception as error:
                    made = explained(error, step.operators[0])
                    if made is error:
                        raise
                    raise made from error
                results = result if isinstance(result, tuple) else (result,)
                if len(results) < step.operators[0].outputs:
                    raise OnnxError(f"{step.operators[0]}: returned {len(results)} values, "
                                    f"expected {step.operators[0].outputs}")  # fmt: skip
                results = tuple(map(_value, results))
                if observers:
                    step.announce(arguments, results)
                values.update(zip(step.outputs, results, strict=False))
                if shapes is not None and isinstance(results[0], Variable):
                    shapes[id(part)] = results[0].shape
                for name in step.last:
                    del values[name]
        finally:
            recording.set(outside)
        for name in self._constants.keys() & self._results:
            values[name] = values[name].copy()  # or a caller may change the constant
        results = tuple(_output(values[name]) for name in self._results)
        return results if len(results) > 1 else results[0]

    def _bound(self, inputs: Sequence[Any], named: dict[str, Any]) -> dict[str, Any]:
        """Return the inputs by name, checked."""
        expected = ", ".join(f"{each.name}: {each}" for each in self.inputs) or "none"
        if len(inputs) > len(self.inputs):
            raise OnnxError(f"forward: got {len(inputs)} inputs, expected {expected}")
        given = dict(zip([each.name for each in self.inputs], inputs, strict=False))
        for name, value in named.items():
            if name in given or name not in {each.name for each in self.inputs}:
                reason = "given twice" if name in given else "not one of the model's"
                raise OnnxError(f"forward: input {name!r} is {reason}, expected {expected}")
            given[name] = value
        missing = [repr(each.name) for each in self.inputs if each.name not in given]
        if missing:
            raise OnnxError(f"forward: {', '.join(missing)} missing, expected {expected}")
        sizes: dict[str, int] = {}
        return {each.name: each.value(given[each.name], sizes) for each in self.inputs}

    def extra_repr(self) -> str:
        """Return the steps, as a program."""
        return "\n".join(self._lines())

    def __repr__(self) -> str:
        body = self.extra_repr().replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  {body}\n)"

    def _lines(self) -> Iterator[str]:
        for each in self.inputs:
            yield f"{each.name}: {each}"
        shown = {
            name: str(array.tolist()) if array.size <= _FEW else f"{name} {array.shape}"
            for name, array in self._constants.items()
        }
        shown |= {name: f"{name} {part._contents[key].shape}" for name, part, key in self._held}
        for step in self._steps:
            operator = step.operators[0]
            inputs = [shown.get(name, name or "None") for name in step.inputs]
            options = [f"{key}={_short(value)}" for key, value in operator.attributes.items()]
            outputs = ", ".join(name or "_" for name in step.outputs)
            yield f"{outputs} = {operator.op_type}({', '.join([*inputs, *options])})"
        yield f"return {', '.join(shown.get(name, name) for name in self._results)}"


def _value(value: Any) -> Any:
    """Return a result as a Tensor or an array; NumPy computes numbers of arrays without axes."""
    return value if isinstance(value, Variable | np.ndarray) else np.asarray(value)


def _output(value: Any) -> Any:
    is_floating = not isinstance(value, Variable) and value.dtype.kind == "f"
    return Tensor._of(value) if is_floating else value


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"array {value.shape}"
    if isinstance(value, list):
        return f"({', '.join(map(_short, value))})"
    return f"{value:.6g}" if isinstance(value, float) else repr(value)
