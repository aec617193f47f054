"""Making a module of folded calls: parts, parameters and steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from tinygrad_cnn.core.tensor import Parameter, Tensor
from tinygrad_cnn.onnx.calls import NodeCall
from tinygrad_cnn.onnx.module import OnnxModule
from tinygrad_cnn.onnx.part import OnnxPart, kind_of, place_of
from tinygrad_cnn.onnx.reading import InputInfo
from tinygrad_cnn.onnx.running import OnnxStep

__all__ = ["Parts", "without_identities"]

_WHOLE = {"ArgMax", "ArgMin", "NonZero", "Shape", "Size"}
_NOT_WHOLE = {"Cast", "CastLike", "ConstantOfShape", "DequantizeLinear", "Range", "Reciprocal"}


@dataclass(slots=True)
class Parts:
    """What a module is made of.

    Attributes
    ----------
    calls : list of NodeCall
    constants, parameters, buffers : dict of str to ndarray
    inputs : list of InputInfo
    outputs : sequence of (str, str)
        The names of the outputs, each with the name of its value; two may have one name.
    opset : int
    """

    calls: Sequence[NodeCall]
    constants: Mapping[str, NDArray[Any]]
    parameters: Mapping[str, NDArray[Any]]
    buffers: Mapping[str, NDArray[Any]]
    inputs: Sequence[InputInfo]
    outputs: Sequence[tuple[str, str]]
    opset: int

    def module(self) -> OnnxModule:
        """Return the module."""
        module = OnnxModule()
        names = {*self.parameters, *self.buffers}
        steps = self._steps(module, names)
        held: list[tuple[str, OnnxPart, str]] = []
        for kind, arrays in ((Parameter, self.parameters), (Tensor, self.buffers)):
            for name, array in arrays.items():
                tensor = kind(array, name=name.rpartition(".")[2])
                held.append((name, *module._put(name, tensor, names)))
        for step in steps:
            if not any(isinstance(value, OnnxPart) for value in step.part._contents.values()):
                operator = step.operators[0].op_type.rpartition("::")[2]
                if type(step.part) is OnnxPart:
                    step.part.__class__ = kind_of(operator)
        results = tuple(name for _, name in self.outputs)
        used = {name for call in self.calls for name in call.inputs} | set(results)
        constants = {name: a for name, a in self.constants.items() if name in used}
        own = vars(module)  # a parameter may have one of these names
        own.update(inputs=tuple(self.inputs), outputs=tuple(name for name, _ in self.outputs))
        own.update(opset=self.opset, _steps=steps, _held=held, _constants=constants)
        own["_parts"] = list(dict.fromkeys(part for step in steps for part in step.within))
        own["_results"] = results
        shapes = [each.shape for each in self.inputs if each.shape and each.dtype.kind == "f"]
        if len(self.inputs) == 1 and shapes and not isinstance(shapes[0][0], int):
            sizes = shapes[0][1:]
            if all(isinstance(size, int) for size in sizes):
                own["input_shape"] = sizes
        return module

    def _steps(self, module: OnnxModule, names: set[str]) -> list[OnnxStep]:
        steps: list[OnnxStep] = []
        final: list[tuple[str, ...]] = []
        later = {name for _, name in self.outputs}
        for call in reversed(self.calls):
            mine = {*filter(None, (*call.inputs, *call.outputs))}
            final.append(tuple(mine - later))
            later |= mine
        whole = {name for name, array in self.constants.items() if array.dtype.kind in "iub"}
        whole |= {each.name for each in self.inputs if each.dtype.kind in "iub"}
        for number, (call, last) in enumerate(zip(self.calls, reversed(final), strict=True)):
            if _is_whole(call, whole):  # only NumPy computes there
                whole.update(call.outputs)
                path = ""
            else:
                path = _path(call, names, number)
            within, path = module._at(path, names)
            part = within[-1] if within else module
            both = call.operator, replace(call.operator, training=True)
            steps.append(OnnxStep(both, call.inputs, call.outputs, part, path, within, last))
        return steps


def _is_whole(call: NodeCall, whole: set[str]) -> bool:
    """Return whether the results are surely integers or bools."""
    op_type = call.operator.op_type
    return op_type in _WHOLE or (
        op_type not in _NOT_WHOLE and whole.issuperset(filter(None, call.inputs))
    )


def _path(call: NodeCall, names: set[str], number: int) -> str:
    """Return the name of the part for a call: that of its parameters, or in its own name."""
    owners = {name.rpartition(".")[0] for name in call.inputs if name in names} - {""}
    return owners.pop() if len(owners) == 1 else place_of(call, number)


def without_identities(
    calls: Sequence[NodeCall], outputs: Mapping[str, str]
) -> tuple[list[NodeCall], dict[str, str]]:
    """Return the calls without those that return their input, and the values of the outputs."""
    names: dict[str, str] = {}
    kept = []
    for call in calls:
        if not names.keys().isdisjoint(call.reads()):
            call = call.renamed(names)
        if call.operator.op_type == "Identity" and len(call.inputs) == len(call.outputs) == 1:
            names[call.outputs[0]] = call.inputs[0]
        else:
            kept.append(call)
    return kept, {output: names.get(name, name) for output, name in outputs.items()}
