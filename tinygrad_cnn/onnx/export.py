"""`export`: a model as an ONNX file."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.capture import CaptureError, Program, SizeError, captured, compared, folded
from tinygrad_cnn.core.recording import changed_recording, no_grad
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.nn import Module
from tinygrad_cnn.onnx.borrowing import unchanged
from tinygrad_cnn.onnx.errors import OnnxError
from tinygrad_cnn.onnx.file_check import check_file
from tinygrad_cnn.onnx.graph import EXPORTERS, OPSET
from tinygrad_cnn.onnx.lengths import Trials
from tinygrad_cnn.onnx.module import OnnxModule
from tinygrad_cnn.onnx.writer import GraphWriter
from tinygrad_cnn.support.files import atomic_write
from tinygrad_cnn.support.modules import needs_extra
from tinygrad_cnn.support.nested import parts

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["export"]

Dynamic = Mapping[str, Mapping[int, str]]

MOVING = ("reshape", "transpose")  # ops that give a parameter another shape

FIXED = (int, float, str, type(None))  # arguments of the model that are not inputs of the file


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
    calls of ops that it makes become the nodes. Afterwards its mode, attributes and buffers are as
    before; until then no other thread should use it, but for another export, which waits.

    Parameters
    ----------
    model : Module, a method of one, or a function
        Its parameters and buffers keep the names of `Module.state_dict`, its modules become the
        names of the nodes, such as "/features/0/conv2d".
    example : array_like, Tensor, or a tuple or dict of them
        The arguments of the model; a dict passes them by name. Numbers, texts and None among them
        are options of the model, the same for all inputs of the file.
    path : str or path-like, optional
        The file to write; without, the model is only returned.
    dynamic : mapping of str to mapping of int to str, optional
        The axes whose length may vary, with a name: for each input, such as
        ``{"x": {0: "batch", 2: "height", 3: "width"}}``. By default the first axis of every input,
        named "batch"; of a loaded file, those that it leaves open.
    input_names, output_names : sequence of str, optional
        By default the parameters of ``forward``, or the inputs of a loaded file; the keys if the
        model returns a dict, else "output", or "output_0", "output_1", ...
    opset : int
        The version of ONNX's operators, 20 to 22.
    metadata : mapping of str to str, optional
        Stored in the file.
    check : bool
        Whether to load the file, run it on one more input and compare with the model. A file with
        operators that `load` lacks, written by your own exporters, cannot be checked: this is a
        warning.

    Returns
    -------
    onnx.ModelProto

    Raises
    ------
    OnnxError
        If an op has no exporter; if a value, a constant or the calls depend on the input in a way
        that the file cannot state; or if an op is for training only. The message names the ops
        and the modules.
    TypeError, ValueError
        If an argument is not as above.
    ModuleNotFoundError
        If the package `onnx` is not installed.

    See Also
    --------
    load : The other direction.
    exporter : Export your own op.

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
    if not isinstance(opset, int) or not OPSET <= opset <= 22:
        raise ValueError(f"export: opset is {opset!r}, expected {OPSET} to 22")
    if not callable(model) or isinstance(model, type):
        raise TypeError(f"export: model is {model!r}, expected a Module or a function")
    _check_texts("input_names", input_names)
    _check_texts("output_names", output_names)
    if metadata is not None and not isinstance(metadata, Mapping):
        raise TypeError(f"export: metadata is {metadata!r}, expected texts by name")
    _check_texts("metadata", [text for pair in (metadata or {}).items() for text in pair])
    call, inputs = _inputs(model, example, input_names)
    if dynamic is None and isinstance(model, OnnxModule):
        dynamic = _open_axes(model, inputs)
    axes = _axes(inputs, dynamic)
    trials = Trials(inputs, axes)
    owner = _owner(model)
    with unchanged(owner):
        if isinstance(owner, Module) and any(module._unsized for module in owner.modules()):
            with no_grad():
                call(*inputs.values())  # determines the shapes of the parameters
        try:
            program = _program(owner, call, inputs, axes, trials)
            written = GraphWriter(program, axes, opset).written(output_names, metadata)
        except CaptureError as error:
            hint = "; leave that axis out of dynamic" if isinstance(error, SizeError) else ""
            raise OnnxError(f"export: {error}{hint}") from error
        if check:

            def computed(lengths: dict[str, int]) -> tuple[dict[str, int], Any]:
                with np.errstate(all="ignore"), no_grad():  # no capture, which could hide a fault
                    return lengths, call(*_drawn(inputs, axes, lengths, 3).values())

            lengths, expected = trials.checked(computed)
            check_file(written, expected, _drawn(inputs, axes, lengths, 3))
    if path is not None:
        with atomic_write(path) as file:
            file.write(written.SerializeToString())
    return written


# --- the inputs ----------------------------------------------------------------------------------


def _check_texts(argument: str, texts: Sequence[str] | None) -> None:
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts or ()):
        raise TypeError(f"export: {argument} has {texts!r}, expected texts")


def _inputs(
    model: Callable[..., Any], example: Any, names: Sequence[str] | None
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return a function of the inputs by position, and the inputs by name."""
    owner = _owner(model)
    if isinstance(example, Mapping):
        arguments = dict(example)
    else:
        given = list(example) if isinstance(example, tuple) else [example]
        arguments = dict(zip(_parameters(model, len(given)), given, strict=True))
    values = [v for v in arguments.values() if not isinstance(v, FIXED)]

    def call(*tensors: Any) -> Any:
        left = iter(tensors)
        passed = {k: v if isinstance(v, FIXED) else next(left) for k, v in arguments.items()}
        with changed_recording(module=None if owner is model else owner):
            return model(**passed) if isinstance(example, Mapping) else model(*passed.values())

    if not values:
        raise ValueError(f"export: the example is {example!r}, expected at least one array")
    defaults = [name for name, v in arguments.items() if not isinstance(v, FIXED)]
    chosen = list(names) if names is not None else defaults
    if len(chosen) != len(values) or len({*chosen}) < len(chosen) or "" in chosen:
        raise ValueError(
            f"export: input_names is {chosen}, expected {len(values)} distinct names, one for each "
            "input of the example"
        )
    kind = _kind(owner)
    inputs = {}
    for name, value in zip(chosen, values, strict=True):
        if isinstance(value, list | tuple) and [*parts(value, Variable), *parts(value, np.ndarray)]:
            raise TypeError(
                f"export: the example of {name} is a {type(value).__name__}, expected a Tensor or "
                "an array: pass several as arguments of their own, in a tuple or dict"
            )
        if not isinstance(value, Variable):
            try:
                value = kind._of(value) if isinstance(value, np.ndarray) else kind(value)
            except TypeError:
                came = type(value).__name__
                raise TypeError(
                    f"export: the example of {name} is a {came}, expected a Tensor or an array"
                ) from None
        if value.dtype.kind not in "iub" and value.dtype.char not in "fd":
            raise TypeError(
                f"export: the example of {name} holds {value.dtype}, expected float32, float64, "
                "integers or bools"
            )
        inputs[name] = value
    return call, inputs


def _owner(model: Any) -> Any:
    """Return the module whose method `model` is; a module itself."""
    bound = getattr(model, "__self__", None)
    return bound if isinstance(bound, Module) else model


def _parameters(model: Callable[..., Any], count: int) -> list[str]:
    """Return the names of the first parameters, and numbered ones for the rest."""
    if isinstance(model, OnnxModule):
        return [each.name for each in model.inputs[:count]]
    parameters = inspect.signature(getattr(model, "forward", model)).parameters.values()
    plain = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return plain[:count] + [f"input_{i}" for i in range(min(len(plain), count), count)]


def _kind(model: Any) -> type[Tensor]:
    """Return the class of Tensors that the model computes with: that of its parameters."""
    if isinstance(model, Module):
        for _, tensor in model._named_tensors():
            if tensor._tensor is not Tensor:
                return tensor._tensor
        if any(base.__module__.startswith("tinygrad_cnn.compat") for base in type(model).__mro__):
            kind: type[Tensor] = import_module("tinygrad_cnn.compat.torch.tensor").Tensor
            return kind
    return Tensor


def _open_axes(model: OnnxModule, inputs: Mapping[str, Any]) -> dict[str, dict[int, str]]:
    """Return the axes that a loaded file leaves open, by input: named ones, and any first one."""
    declared = {each.name: each.shape for each in model.inputs}
    in_order = [each.shape for each in model.inputs]
    found = {}
    for number, (name, value) in enumerate(inputs.items()):
        shape = declared[name] if name in declared else in_order[number]
        sizes = (None,) * value._array.ndim if shape is None else shape
        named = {axis: size for axis, size in enumerate(sizes) if isinstance(size, str)}
        found[name] = {0: "batch"} | named if sizes and sizes[0] is None else named
    return found


def _axes(inputs: Mapping[str, Any], dynamic: Dynamic | None) -> dict[str, dict[int, str]]:
    """Return the name of each axis whose length may vary, by input."""
    if dynamic is None:
        dynamic = {name: {0: "batch"} for name, value in inputs.items() if value._array.ndim}
    if not isinstance(dynamic, Mapping) or not all(
        isinstance(axes, Mapping) and all(isinstance(s, str) and s for s in axes.values())
        for axes in dynamic.values()
    ):
        raise TypeError(
            f"export: dynamic is {dynamic!r}, expected names of axes by input and axis, such as "
            "{'x': {0: 'batch'}}"
        )
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
            if not -len(shape) <= axis < len(shape) or axis % len(shape) in found[name]:
                raise ValueError(
                    f"export: dynamic has axis {axis} of {name}, of shape {shape}, expected each "
                    "of its axes once at most"
                )
            found[name][axis % len(shape)] = symbol
            if lengths.setdefault(symbol, shape[axis]) != shape[axis]:
                raise ValueError(
                    f"export: the axes named {symbol!r} have lengths {lengths[symbol]} and "
                    f"{shape[axis]} in the example; give dynamic, with another name for each"
                )
    return found


# --- the program ---------------------------------------------------------------------------------


def _program(
    model: Any,
    call: Callable[..., Any],
    inputs: dict[str, Any],
    axes: dict[str, dict[int, str]],
    trials: Trials,
) -> Program:
    """Return the calls of the model, with what varies with the sizes."""

    def run(given: dict[str, Any]) -> Program:
        with np.errstate(all="ignore"):
            return captured(call, given, _names(model), EXPORTERS)

    programs = [run(inputs), run(_drawn(inputs, axes, {}, 1))]
    _refuse(programs[0])
    programs += trials.results(lambda lengths: run(_drawn(inputs, axes, lengths, 2)))
    for program in programs[1:]:
        _refuse(program)
    return folded(compared(programs), MOVING)


def _names(model: Any) -> dict[int, str]:
    if not isinstance(model, Module):
        return {}
    return {id(tensor._array): name for name, tensor in model._named_tensors()}


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
    """Return a random array within the range of `array`.

    If all floats are one number, they are between 0 and it, or between it and its double if it is
    beyond 1 or −1, or between 0 and 1 if it is 0: so probabilities stay probabilities.
    """
    if not array.size:
        return np.zeros(shape, array.dtype)
    if array.dtype.kind in "iu":
        return rng.integers(array.min(), array.max(), shape, array.dtype, endpoint=True)
    if array.dtype.kind == "b":
        return rng.random(shape) < 0.5
    finite = array[np.isfinite(array)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    part = rng.random(shape)
    if low == high:
        return np.asarray(low * (part + (abs(low) > 1)) if low else part, array.dtype)
    one, other = (rng.choice(finite, size=shape) for _ in range(2))
    return np.asarray(one * part + other * (1 - part), array.dtype)


def _refuse(program: Program) -> None:
    """Raise OnnxError if ops are called that no file can contain, such as those of training."""
    from tinygrad_cnn.onnx.exporters import REFUSED

    found = dict.fromkeys(f"{call.place}: {REFUSED[call.name]}" for call in program.calls
                          if call.name in REFUSED)  # fmt: skip
    if found:
        raise OnnxError(f"export: {'; '.join(found)}")
