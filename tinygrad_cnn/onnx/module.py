"""`OnnxModule`: the network of an ONNX file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.core.observer import observed_class
from tinygrad_cnn.core.recording import recording
from tinygrad_cnn.core.tensor import Parameter, Tensor
from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.onnx.errors import OnnxError
from tinygrad_cnn.onnx.part import OnnxPart
from tinygrad_cnn.onnx.reading import InputInfo
from tinygrad_cnn.onnx.running import OnnxRun, OnnxStep, PartCall, part_calls

__all__ = ["OnnxModule"]

_FEW = 8  # elements of a constant that a listing shows


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
    input_shape : tuple of int or None
        That of one example, without the batch axis, if the file states it; for `summary`.
    largest : int
        The most elements that an array of a run may have, 2³¹ unless another number is set. A step
        that needs more is refused, by an estimate before it is computed.
    """

    inputs: tuple[InputInfo, ...]
    outputs: tuple[str, ...]
    opset: int
    largest: int = 1 << 31
    _steps: list[OnnxStep]
    _parts: list[OnnxPart]  # those around steps
    _held: list[tuple[str, OnnxPart, str]]  # parameters and buffers: the value, holder and key
    _constants: dict[str, NDArray[Any]]
    _results: tuple[str, ...]

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Compute the outputs.

        Raises
        ------
        OnnxError
            If an input is missing, or has a dtype or shape that the file does not allow; or if a
            node cannot compute with its inputs.
        """
        values: dict[str, Any] = dict(self._constants)
        for name, holder, key in self._held:
            values[name] = holder._contents[key]
        held = {id(value) for value in values.values()}
        values.update(self._bound(inputs, named))
        run = OnnxRun(self._steps, values, self._hooked_calls(), self.largest)
        outside = recording.get()
        try:
            run(0, len(self._steps))
        finally:
            recording.set(outside)
        results = tuple(_output(values[name], held) for name in self._results)
        return results if len(results) > 1 else results[0]

    def _hooked_calls(self) -> dict[int, list[PartCall]]:
        """Return the calls of parts that have hooks."""
        if all(part._hooks is None for part in self._parts):
            return {}
        hooked = [
            (name, part)
            for name, part in self.named_modules()
            if isinstance(part, OnnxPart) and part is not self and part._hooks is not None
        ]
        held = {*self._constants, *(name for name, _, _ in self._held)}
        return part_calls(self._steps, hooked, held)

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

    def astype(self, dtype: DTypeLike) -> Self:
        """Convert all floating parameters, their gradients and buffers; return the module.

        The floating types that the file states in its nodes, such as those of Cast, follow.

        Parameters
        ----------
        dtype : dtype_like
            float32 or float64.

        Raises
        ------
        TypeError
            If `dtype` is neither.
        """
        super().astype(dtype)
        for step in self._steps:
            evaluated, trained = step.operators
            step.operators = evaluated.astype(dtype), trained.astype(dtype)
        return self

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


def _output(value: Any, held: set[int]) -> Any:
    """Return a result that shares no memory with what the model holds, the ids in `held`."""
    if isinstance(value, Variable):
        if id(value) not in held:
            return value
        if isinstance(value, Parameter):  # a copy that gradients go through
            return ops.astype(value, value.dtype)
        return Tensor(value._array.copy())
    kind = observed_class(Tensor, value)
    if kind is not Tensor:  # it depends on an input of a capture
        return kind._of(value)
    if id(value) in held or value.base is not None:  # of a constant, perhaps
        value = value.copy()
    return Tensor._of(value) if value.dtype.kind == "f" else value


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"array {value.shape}"
    if isinstance(value, list):
        return f"({', '.join(map(_short, value))})"
    return f"{value:.6g}" if isinstance(value, float) else repr(value)
