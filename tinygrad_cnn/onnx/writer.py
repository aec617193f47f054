"""A program as an ONNX graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.capture import CaptureError, Instruction, Operand, Origin, Program, Size
from tinygrad_cnn.onnx.errors import OnnxError
from tinygrad_cnn.onnx.graph import EXPORTERS, Graph, Reference
from tinygrad_cnn.support.version import __version__

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["GraphWriter"]

IR_VERSIONS = {20: 9, 21: 10, 22: 10}  # by opset; onnxruntime 1.17 reads 9
LIMIT = 2**31 - 1  # bytes in a protobuf message


class GraphWriter:
    """Writes a program as a graph."""

    def __init__(self, program: Program, axes: dict[str, dict[int, str]], opset: int) -> None:
        self.program, self.axes, self.graph = program, axes, Graph(opset)

    def written(
        self, output_names: Sequence[str] | None, metadata: Mapping[str, str] | None
    ) -> ModelProto:
        """Return the file."""
        from onnx import helper, numpy_helper

        graph, program = self.graph, self.program
        self.check_exporters()
        results = self.output_names(output_names)
        graph.reserve([*results, *(leaf.name for leaf in program.inputs)])
        for leaf in program.inputs:
            self.bind(leaf, leaf.name)
        for call in program.calls:
            self.call(call)
        self.outputs(results)
        used = self.used()
        if sum(array.nbytes for _, array in used) > LIMIT:
            raise OnnxError("export: the parameters take more than 2 GiB, which no ONNX file holds")
        tensors = [numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
                   for name, array in used]  # fmt: skip
        made = helper.make_graph(
            graph.nodes,
            "model",
            [self.info(leaf, leaf.name) for leaf in program.inputs],
            [self.info(value, name) for value, name in zip(program.outputs, results, strict=True)],
            tensors,
        )
        written = helper.make_model(
            made,
            producer_name="tinygrad_cnn",
            producer_version=__version__,
            ir_version=IR_VERSIONS[graph.opset],
            opset_imports=[helper.make_opsetid("", graph.opset)],
        )
        if metadata:
            helper.set_model_props(written, dict(metadata))
        _check(written)
        return written

    def check_exporters(self) -> None:
        """Raise OnnxError with all ops that have no exporter."""
        lacking = [call for call in self.program.calls if call.name not in EXPORTERS]
        if lacking:
            places = "; ".join(dict.fromkeys(call.place for call in lacking))
            raise OnnxError(
                f"export: no exporter for {places}; declare one with @tg.onnx.exporter(op)"
            )

    def call(self, call: Instruction) -> None:
        """Add the nodes of one call."""
        graph = self.graph
        graph.begin(call.scope, call.name)
        arguments = {name: self.argument(value) for name, value in call.arguments.items()}
        try:
            result = EXPORTERS[call.name](graph, **arguments)
        except (CaptureError, OnnxError) as error:
            hint = "; leave that axis out of dynamic" if isinstance(error, CaptureError) else ""
            raise OnnxError(f"export: {call.place}: {error}{hint}{call.at_line}") from error
        values: list[Any] = [*call.results] or [call]
        if isinstance(result, Reference):
            result = result.name
        names = [graph.end(result)] if isinstance(result, str) else list(result or ())
        if len(names) < len(values):
            raise TypeError(
                f"the exporter of {call.name} returned {result!r}, expected the name of its result"
            )
        for value, name in zip(values, names, strict=False):
            self.bind(value, name.name if isinstance(name, Reference) else name)

    def argument(self, value: Any) -> Any:
        """Return an argument with references in place of values."""
        if isinstance(value, Operand):
            if isinstance(value, Origin) and value.kind != "input":
                return self.constant(value)
            return self.graph.reference(value)
        if isinstance(value, list | tuple):
            return type(value)(self.argument(part) for part in value)
        return value

    def constant(self, leaf: Origin) -> Reference:
        """Return a reference to an array, whose initializer is written if a node uses it."""
        if leaf not in self.graph:
            name = leaf.name or ("/".join(["", *leaf.scope.split(".")]) if leaf.scope else "")
            name = name if leaf.name else f"{name}/constant"
            self.bind(leaf, self.graph.initializer(name, leaf.array), True)
        return self.graph.reference(leaf)

    def bind(self, value: Operand, name: str, is_constant: bool = False) -> None:
        """Set the name of a value in the graph."""
        shape = value.shape if value.sizes is None else value.sizes
        self.graph.bind(value, Reference(name, value.array, shape, is_constant))

    def used(self) -> list[tuple[str, NDArray[Any]]]:
        """Return the initializers that a node or an output needs."""
        needed = {name for node in self.graph.nodes for name in node.input}
        return [(name, a) for name, a in self.graph.initializers.items() if name in needed]

    def output_names(self, names: Sequence[str] | None) -> list[str]:
        """Return the names of the outputs, after a check of those that were given."""
        count = len(self.program.outputs)
        keys = self.program.names
        taken = {leaf.name for leaf in self.program.inputs}
        if names is None:
            default = ["output"] if count == 1 else [f"output_{i}" for i in range(count)]
            names = [key or plain for key, plain in zip(keys, default, strict=True)]
            names = [f"{name}_output" if name in taken else name for name in names]
        if len(names) != count or len({*names} - taken) < count or "" in names:
            raise ValueError(
                f"export: output_names is {list(names)}, expected {count} distinct names, one for "
                "each Tensor that the model returns, and none that is an input's"
            )
        return list(names)

    def outputs(self, names: Sequence[str]) -> None:
        """Give the outputs their names: rename what a node computes, else copy it."""
        graph = self.graph
        computed = {name for node in graph.nodes for name in node.output}
        for value, name in zip(self.program.outputs, names, strict=True):
            found = self.argument(value).name
            if found in computed:
                graph.rename_output(found, name)
                computed.discard(found)
            else:
                graph.begin("", "output")
                graph.rename(graph.node("Identity", found), name)
            self.bind(value, name)

    def info(self, value: Operand, name: str) -> Any:
        """Return the declaration of an input or output: its dtype and axes."""
        from onnx import helper

        axes = self.axes.get(name, {}) if isinstance(value, Origin) else {}
        shape = [
            axes.get(axis, self.symbol(n)) if isinstance(n, Size) else n
            for axis, n in enumerate(value.sizes or value.shape)
        ]
        return helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(value.dtype), shape
        )

    def symbol(self, size: Size) -> str | None:
        """Return the name of an axis of an output that is as long as an axis of an input."""
        for leaf in self.program.inputs:
            for axis, symbol in self.axes.get(leaf.name, {}).items():
                length = (leaf.sizes or ())[axis]
                if isinstance(length, Size) and length.values == size.values:
                    return symbol
        return None


def _check(written: ModelProto) -> None:
    """Raise OnnxError if the file violates the standard."""
    from onnx import checker, shape_inference

    try:
        checker.check_model(written, full_check=True)
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        text = " ".join(str(error).split())
        raise OnnxError(f"export: an exporter violates the standard: {text}") from error
