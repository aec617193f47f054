"""`OnnxModule`: the network of an ONNX file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.recording import Recording, entered, recording
from tinygrad_cnn.core.tensor import Parameter, Tensor
from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.onnx.calls import NodeCall
from tinygrad_cnn.onnx.errors import OnnxError, explained
from tinygrad_cnn.onnx.operator import IMPORTERS, Operator
from tinygrad_cnn.onnx.part import OnnxPart, kind_of, path_of
from tinygrad_cnn.onnx.reading import InputInfo

__all__ = ["OnnxModule"]


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
                    if hooks is None:
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
                values.update(zip(step.outputs, results, strict=False))
                if shapes is not None and isinstance(results[0], Variable):
                    shapes[id(part)] = results[0].shape
                for name in step.last:
                    del values[name]
        finally:
            recording.set(outside)
        results = tuple(_output(values[name]) for name in self.outputs)
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
        shown = {name: f"{name} {array.shape}" if array.ndim else repr(array.item())
                 for name, array in self._constants.items()}  # fmt: skip
        shown |= {name: f"{name} {part._contents[key].shape}" for name, part, key in self._held}
        for step in self._steps:
            operator = step.operators[0]
            inputs = [shown.get(name, name or "None") for name in step.inputs]
            options = [f"{key}={_short(value)}" for key, value in operator.attributes.items()]
            outputs = ", ".join(name or "_" for name in step.outputs)
            yield f"{outputs} = {operator.op_type}({', '.join([*inputs, *options])})"
        yield f"return {', '.join(self.outputs)}"


def module_of(
    calls: Sequence[NodeCall],
    constants: dict[str, NDArray[Any]],
    parameters: Sequence[str],
    buffers: Sequence[str],
    inputs: Sequence[InputInfo],
    outputs: Sequence[str],
    opset: int,
) -> OnnxModule:
    """Return the module of folded calls."""
    module = OnnxModule()
    names = {*parameters, *buffers}
    held = []
    for name in [*parameters, *buffers]:
        kind = Parameter if name in parameters else Tensor
        tensor = kind(constants[name], name=name)
        held.append((name, *module._put(name, tensor, names)))
    used = {name for call in calls for name in call.inputs} | set(outputs)
    module._constants = {n: a for n, a in constants.items() if n in used and n not in names}
    module._held = [each for each in held if each[0] in used]
    module._steps = _steps(module, calls, names, set(outputs))
    module.inputs, module.outputs, module.opset = tuple(inputs), tuple(outputs), opset
    if len(inputs) == 1 and inputs[0].shape and not isinstance(inputs[0].shape[0], int):
        sizes = inputs[0].shape[1:]
        if all(isinstance(size, int) for size in sizes):
            module.input_shape = sizes
    return module


def _steps(
    module: OnnxModule, calls: Sequence[NodeCall], names: set[str], outputs: set[str]
) -> list[OnnxStep]:
    steps, parts = [], {id(module)}
    later = set(outputs)
    final: list[tuple[str, ...]] = []
    for call in reversed(calls):
        mine = {*filter(None, (*call.inputs, *call.outputs))}
        final.append(tuple(mine - later))
        later |= mine
    for number, (call, last) in enumerate(zip(calls, reversed(final), strict=True)):
        operator = call.operator
        path = _path(call, names, number)
        part = module._at(path, names)
        if id(part) not in parts:
            parts.add(id(part))
            if not any(isinstance(value, OnnxPart) for value in part._contents.values()):
                part.__class__ = kind_of(operator.op_type.rpartition("::")[2])
        both = operator, replace(operator, training=True)
        steps.append(OnnxStep(both, call.inputs, call.outputs, part, path, last))
    return steps


def _path(call: NodeCall, names: set[str], number: int) -> str:
    """Return the name of the part for a call: that of its parameters, or in its own name."""
    owners = {name.rpartition(".")[0] for name in call.inputs if name in names}
    if len(owners) == 1 and (owner := owners.pop()):
        return owner
    name = call.operator.name
    return path_of(name) if name not in call.outputs else f"{call.operator.op_type}_{number}"


def _output(value: Any) -> Any:
    if isinstance(value, Variable):
        return value
    array = np.asarray(value)
    return Tensor._of(array) if array.dtype.kind == "f" else array


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"array {value.shape}"
    return repr(tuple(value) if isinstance(value, list) else value)
