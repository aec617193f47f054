"""`export`: a model as an ONNX file."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.capture import (
    CaptureError,
    Instruction,
    Operand,
    Origin,
    Program,
    Size,
    captured,
    compared,
    folded,
)
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.nn import Module
from tinygrad_cnn.onnx.errors import OnnxError
from tinygrad_cnn.onnx.graph import EXPORTERS, OPSET, Graph, Reference
from tinygrad_cnn.support.files import atomic_write
from tinygrad_cnn.support.modules import needs_extra
from tinygrad_cnn.support.version import __version__

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["export"]

Dynamic = Mapping[str, Mapping[int, str]]

IR_VERSION = 9  # the newest that onnxruntime 1.17 reads
CHECKED = 2_000_000  # values that are computed slowly in a moment
POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD
LIMIT = 2**31 - 1  # bytes in a protobuf message
TRAINING_ONLY = {
    "batch_norm": "normalizes by the statistics of the batch",
    "dropout": "drops random values",
    "rank_average": "averages over the ranks of a training",
}


def export(
    model: Callable[..., Any],
    example: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    dynamic: Dynamic | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    opset: int = OPSET,
    metadata: Mapping[str, str] | None = None,
    check: bool = True,
) -> ModelProto:
    """Write a model as an ONNX file, which other programs run without this package.

    The model runs in eval mode on the example and on random inputs of other values and sizes; the
    calls of ops that it makes become the nodes. The model is not changed.

    Parameters
    ----------
    model : Module or callable
        Its parameters and buffers keep the names of `Module.state_dict`, its modules become the
        names of the nodes, such as "/features/0/conv2d".
    example : array_like, Tensor, or a tuple or dict of them
        The arguments of the model; a dict passes them by name.
    path : str or path-like, optional
        The file to write; without, the model is only returned.
    dynamic : mapping of str to mapping of int to str, optional
        The axes whose length may vary, with a name: for each input, such as
        ``{"x": {0: "batch", 2: "height", 3: "width"}}``. By default the first axis of every input,
        named "batch".
    input_names, output_names : sequence of str, optional
        By default the parameters of ``forward``; the keys if the model returns a dict, else
        "output", or "output_0", "output_1", ...
    opset : int
        The version of ONNX's operators, 20 to 22.
    metadata : mapping of str to str, optional
        Stored in the file.
    check : bool
        Whether to run the file on one more input, and compare with the model.

    Returns
    -------
    onnx.ModelProto

    Raises
    ------
    OnnxError
        If an op has no exporter; if a value, a constant or the calls depend on the input in a way
        that the file cannot state; or if an op is for training only. The message names the ops
        and the modules.
    ModuleNotFoundError
        If the package `onnx` is not installed.

    See Also
    --------
    load : The other direction.
    exporter : Export one's own op.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> model = tg.nn.Sequential(tg.nn.Linear(4, 3), tg.nn.ReLU())
    >>> file = tg.onnx.export(model, np.zeros((1, 4), np.float32))
    >>> [(node.name, node.op_type) for node in file.graph.node]
    [('/0/linear', 'Gemm'), ('/1/relu', 'Relu')]
    >>> [initializer.name for initializer in file.graph.initializer]
    ['0.weight', '0.bias']
    """
    with needs_extra("onnx", "onnx.export"):
        import_module("onnx")
    import_module("tinygrad_cnn.onnx.exporters")
    import_module("tinygrad_cnn.onnx.exporters.inference")
    if not isinstance(opset, int) or not OPSET <= opset <= 22:
        raise ValueError(f"export: opset is {opset!r}, expected {OPSET} to 22")
    call, inputs = _inputs(model, example, input_names)
    axes = _axes(inputs, dynamic)
    with _evaluated(model):
        try:
            program = _program(model, call, inputs, axes)
            written = _Writer(program, axes, opset).model(output_names, metadata)
        except CaptureError as error:
            raise OnnxError(f"export: {error}") from error
        if check:
            _check(written, call, inputs, axes)
    if path is not None:
        with atomic_write(path) as file:
            file.write(written.SerializeToString())
    return written


# --- the inputs ----------------------------------------------------------------------------------


def _inputs(
    model: Callable[..., Any], example: Any, names: Sequence[str] | None
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return a function of the inputs by position, and the inputs by name."""
    if isinstance(example, Mapping):
        keys = list(example)
        values = list(example.values())
        call: Callable[..., Any] = lambda *given: model(**dict(zip(keys, given, strict=True)))  # noqa: E731
        defaults = keys
    else:
        values = list(example) if isinstance(example, tuple) else [example]
        call = model
        function = getattr(model, "forward", model)
        parameters = inspect.signature(function).parameters.values()
        plain = [
            p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        defaults = plain[: len(values)]
        defaults += [f"input_{i}" for i in range(len(defaults), len(values))]
    chosen = list(names) if names is not None else defaults
    if len(chosen) != len(values) or len({*chosen}) < len(chosen) or not values:
        raise ValueError(
            f"export: input_names is {chosen}, expected {len(values)} distinct names, one for each "
            "input of the example"
        )
    kind = _kind(model)
    inputs = {}
    for name, value in zip(chosen, values, strict=True):
        if not isinstance(value, Variable):
            value = kind._of(np.asarray(value))
        if value.dtype.kind not in "fiub":
            raise TypeError(f"export: the example of {name} holds {value.dtype}, expected numbers")
        inputs[name] = value
    return call, inputs


def _kind(model: Any) -> type[Tensor]:
    """Return the class of Tensors that the model computes with: that of its parameters."""
    if isinstance(model, Module):
        for _, tensor in model._named_tensors():
            if tensor._tensor is not Tensor:
                return tensor._tensor
        if type(model).__module__.startswith("tinygrad_cnn.compat") or any(
            base.__module__.startswith("tinygrad_cnn.compat") for base in type(model).__mro__
        ):
            from tinygrad_cnn.compat.torch.tensor import Tensor as Compatible

            return Compatible
    return Tensor


def _axes(inputs: Mapping[str, Any], dynamic: Dynamic | None) -> dict[str, dict[int, str]]:
    """Return the name of each axis whose length may vary, by input."""
    if dynamic is None:
        dynamic = {name: {0: "batch"} for name, value in inputs.items() if value._array.ndim}
    lengths: dict[str, int] = {}
    found: dict[str, dict[int, str]] = {}
    for name, axes in dynamic.items():
        if name not in inputs:
            raise ValueError(
                f"export: dynamic has {name!r}, expected the name of an input: {', '.join(inputs)}"
            )
        shape = inputs[name]._array.shape
        found[name] = {}
        for axis, symbol in axes.items():
            if not -len(shape) <= axis < len(shape):
                raise ValueError(f"export: dynamic has axis {axis} of {name}, of shape {shape}")
            found[name][axis % len(shape)] = symbol
            if lengths.setdefault(symbol, shape[axis]) != shape[axis]:
                raise ValueError(
                    f"export: the axes named {symbol!r} have lengths {lengths[symbol]} and "
                    f"{shape[axis]} in the example; give dynamic, with another name for each"
                )
    return found


@contextmanager
def _evaluated(model: Any) -> Iterator[None]:
    """Set eval mode, and then each module's own mode again."""
    modes = [(m, m.training) for m in model.modules()] if isinstance(model, Module) else []
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, mode in modes:
            module.training = mode


# --- the program ---------------------------------------------------------------------------------


def _program(
    model: Any, call: Callable[..., Any], inputs: dict[str, Any], axes: dict[str, dict[int, str]]
) -> Program:
    """Return the calls of the model, with what varies with the sizes."""
    runs = [{}, {}] if not any(axes.values()) else [{}, {}, *_sizes(inputs, axes)[:2]]
    programs = []
    for number, sizes in enumerate(runs):
        given = inputs if not number else _drawn(inputs, axes, sizes, number)
        names = _names(model)
        try:
            with np.errstate(all="ignore"):
                program = captured(call, given, names, EXPORTERS)
        except CaptureError:
            raise
        except Exception as error:
            if not sizes:
                raise
            shown = ", ".join(f"{name} = {n}" for name, n in sizes.items())
            raise OnnxError(
                f"export: the model refuses an input with {shown}: {error}; leave that axis out of "
                "dynamic"
            ) from error
        _refuse_training(program)
        programs.append(program)
    return folded(compared(programs))


def _names(model: Any) -> dict[int, str]:
    if not isinstance(model, Module):
        return {}
    return {id(tensor._array): name for name, tensor in model._named_tensors()}


def _sizes(inputs: dict[str, Any], axes: dict[str, dict[int, str]]) -> list[dict[str, int]]:
    """Return lengths for the named axes: in two runs, and in the check."""
    lengths, first = {}, set()
    for name, of_input in axes.items():
        for axis, symbol in of_input.items():
            lengths[symbol] = inputs[name].shape[axis]
            if axis == 0:
                first.add(symbol)
    runs: list[dict[str, int]] = [{}, {}, {}]
    for number, (symbol, length) in enumerate(lengths.items()):
        if symbol in first:
            added = (1 + number, 2 + number, 4)
        else:  # a multiple, which halving layers accept
            added = (length, 0, length) if number % 2 else (0, length, 2 * length)
        for sizes, more in zip(runs, added, strict=True):
            sizes[symbol] = length + more
    return runs


def _drawn(
    inputs: dict[str, Any], axes: dict[str, dict[int, str]], sizes: dict[str, int], seed: int
) -> dict[str, Any]:
    """Return random inputs of these sizes, with values like those of the example."""
    rng = np.random.default_rng(seed)
    drawn = {}
    for name, value in inputs.items():
        shape = list(value._array.shape)
        for axis, symbol in axes.get(name, {}).items():
            shape[axis] = sizes.get(symbol, shape[axis])
        drawn[name] = value._tensor._of(_like(value._array, tuple(shape), rng))
    return drawn


def _like(array: NDArray[Any], shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[Any]:
    """Return a random array within the range of `array`; floats above it if all are equal."""
    if not array.size:
        return np.zeros(shape, array.dtype)
    low, high = array.min(), array.max()
    if array.dtype.kind in "iu":
        return rng.integers(low, high, shape, array.dtype, endpoint=True)
    if array.dtype.kind == "b":
        return rng.random(shape) < 0.5
    if low == high or not np.isfinite(high - low):
        return np.asarray(np.nan_to_num(array.flat[0]) + rng.uniform(0, 1, shape), array.dtype)
    one, other = (rng.choice(array.reshape(-1), size=shape) for _ in range(2))
    return np.asarray(one + rng.random(shape) * (other - one), array.dtype)


def _refuse_training(program: Program) -> None:
    found = [call for call in program.calls if call.name in TRAINING_ONLY]
    found = [call for call in found if call.name != "dropout" or call.arguments["p"] > 0]
    if found:
        shown = "; ".join(dict.fromkeys(f"{c.place} {TRAINING_ONLY[c.name]}" for c in found))
        raise OnnxError(
            f"export: ops for training only: {shown}. A file is for predictions: call them only in "
            "train mode (self.training)"
        )


# --- the file ------------------------------------------------------------------------------------


class _Writer:
    """Writes a program as a graph."""

    def __init__(self, program: Program, axes: dict[str, dict[int, str]], opset: int) -> None:
        self.program, self.axes, self.graph = program, axes, Graph(opset)

    def model(
        self, output_names: Sequence[str] | None, metadata: Mapping[str, str] | None
    ) -> ModelProto:
        from onnx import checker, helper, numpy_helper

        graph, program = self.graph, self.program
        self.check_exporters()
        results = self.output_names(output_names)
        graph.reserve([*results, *(leaf.name for leaf in program.inputs)])
        for leaf in program.inputs:
            self.bind(leaf, leaf.name)
        for call in program.calls:
            self.call(call)
        names = self.outputs(results)
        tensors = [numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
                   for name, array in self.used()]  # fmt: skip
        if sum(array.nbytes for array in graph.initializers.values()) > LIMIT:
            raise OnnxError("export: the parameters take more than 2 GiB, which no ONNX file holds")
        made = helper.make_graph(
            graph.nodes,
            "model",
            [self.info(leaf, leaf.name) for leaf in program.inputs],
            [self.info(value, name) for value, name in zip(program.outputs, names, strict=True)],
            tensors,
        )
        written = helper.make_model(
            made,
            producer_name="tinygrad_cnn",
            producer_version=__version__,
            ir_version=IR_VERSION if graph.opset <= 20 else 10,
            opset_imports=[helper.make_opsetid("", graph.opset)],
        )
        if metadata:
            helper.set_model_props(written, dict(metadata))
        checker.check_model(written, full_check=True)
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
            raise OnnxError(f"export: {call.place}: {error}{hint}") from error
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
        shape = value.shape if value.sizes is None else value.sizes
        self.graph.bind(value, Reference(name, value.array, shape, is_constant))

    def used(self) -> list[tuple[str, NDArray[Any]]]:
        """Return the initializers that a node or an output needs."""
        needed = {name for node in self.graph.nodes for name in node.input}
        return [(name, a) for name, a in self.graph.initializers.items() if name in needed]

    def output_names(self, names: Sequence[str] | None) -> list[str]:
        count = len(self.program.outputs)
        keys = self.program.names
        if names is None:
            default = ["output"] if count == 1 else [f"output_{i}" for i in range(count)]
            names = [key or plain for key, plain in zip(keys, default, strict=True)]
        taken = {leaf.name for leaf in self.program.inputs}
        names = [f"{name}_output" if name in taken else name for name in names]
        if len(names) != count or len({*names}) < count:
            raise ValueError(
                f"export: output_names is {list(names)}, expected {count} distinct names, one for "
                "each Tensor that the model returns"
            )
        return names

    def outputs(self, names: Sequence[str]) -> list[str]:
        """Give the outputs their names: rename what a node computes, else copy it."""
        graph = self.graph
        computed = {name for node in graph.nodes for name in node.output}
        for value, name in zip(self.program.outputs, names, strict=True):
            found = self.argument(value).name
            if found in computed:
                graph.rename_output(found, name)
                computed.discard(found)
                computed.discard(name)
            else:
                graph.begin("", "output")
                graph.rename(graph.node("Identity", found), name)
            self.bind(value, name)
        return list(names)

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


# --- the check -----------------------------------------------------------------------------------


def _check(
    written: ModelProto,
    call: Callable[..., Any],
    inputs: dict[str, Any],
    axes: dict[str, dict[int, str]],
) -> None:
    """Raise OnnxError unless the file computes what the model does, at other sizes."""
    from onnx.reference import ReferenceEvaluator

    given = _drawn(inputs, axes, _sizes(inputs, axes)[2], 3)
    program = captured(call, given)
    expected = [value.array for value in program.outputs]
    if sum(call.array.size for call in program.calls) > CHECKED:
        return
    found = ReferenceEvaluator(written).run(None, {k: v._array for k, v in given.items()})
    for output, theirs, ours in zip(written.graph.output, found, expected, strict=True):
        scale = max(1.0, float(np.abs(ours).max(initial=0.0)))
        same = theirs.shape == ours.shape and theirs.dtype == ours.dtype
        tolerance = (1e-4 if ours.dtype == np.float32 else 1e-7) * scale
        if not same or not np.allclose(theirs, ours, 0.0, tolerance, equal_nan=True):
            difference = f"differs by {np.abs(theirs - ours).max():.2g}" if same else (
                f"is {theirs.dtype} of shape {theirs.shape}, expected {ours.dtype} of {ours.shape}"
            )  # fmt: skip
            shapes = ", ".join(f"{name} of shape {v.shape}" for name, v in given.items())
            raise OnnxError(
                f"export: the file does not compute what the model does: for {shapes}, "
                f"{output.name} {difference}"
            )
