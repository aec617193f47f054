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

from tinygrad_cnn.capture import CaptureError, Program, captured, compared, folded
from tinygrad_cnn.core.recording import changed_recording, no_grad
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.core.variable import Variable, array_of
from tinygrad_cnn.nn import Module
from tinygrad_cnn.onnx.errors import OnnxError
from tinygrad_cnn.onnx.graph import EXPORTERS, OPSET
from tinygrad_cnn.onnx.load import load
from tinygrad_cnn.onnx.writer import GraphWriter
from tinygrad_cnn.support.files import atomic_write
from tinygrad_cnn.support.modules import needs_extra

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["export"]

Dynamic = Mapping[str, Mapping[int, str]]

CHECKED = 1_000_000  # values that the slow evaluator of the package onnx computes in a second
FIXED = (int, float, str, type(None))  # arguments of the model that are no inputs of the file


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
    if not isinstance(opset, int) or not OPSET <= opset <= 22:
        raise ValueError(f"export: opset is {opset!r}, expected {OPSET} to 22")
    call, inputs = _inputs(model, example, input_names)
    axes = _axes(inputs, dynamic)
    owner = _owner(model)
    with _evaluated(owner):
        if isinstance(owner, Module) and any(module._unsized for module in owner.modules()):
            with no_grad():
                call(*inputs.values())  # determines the shapes of the parameters
        try:
            program = _program(owner, call, inputs, axes)
            written = GraphWriter(program, axes, opset).written(output_names, metadata)
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

    defaults = [name for name, v in arguments.items() if not isinstance(v, FIXED)]
    chosen = list(names) if names is not None else defaults
    if len(chosen) != len(values) or len({*chosen}) < len(chosen) or not values:
        raise ValueError(
            f"export: input_names is {chosen}, expected {len(values)} distinct names, one for each "
            "input of the example"
        )
    kind = _kind(owner)
    inputs = {}
    for name, value in zip(chosen, values, strict=True):
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
        _refuse(program)
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
            added = (1 + number, 2 + number, 1 + number)
        else:  # a multiple, which halving layers accept
            added = (length, 0, 2 * length) if number % 2 else (0, length, length)
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


def _refuse(program: Program) -> None:
    """Raise OnnxError if ops are called that no file can contain, such as those of training."""
    from tinygrad_cnn.onnx.exporters import REFUSED

    found = dict.fromkeys(f"{call.place}: {REFUSED[call.name]}" for call in program.calls
                          if call.name in REFUSED)  # fmt: skip
    if found:
        raise OnnxError(f"export: {'; '.join(found)}")


# --- the check -----------------------------------------------------------------------------------


def _check(
    written: ModelProto,
    call: Callable[..., Any],
    inputs: dict[str, Any],
    axes: dict[str, dict[int, str]],
) -> None:
    """Raise OnnxError unless the file computes what the model does, at other sizes."""
    given = _drawn(inputs, axes, _sizes(inputs, axes)[2], 3)
    with np.errstate(all="ignore"):
        program = captured(call, given)
        found = _run(written, {name: v._array for name, v in given.items()}, program)
    expected = [value.array for value in program.outputs]
    for output, theirs, ours in zip(written.graph.output, found, expected, strict=False):
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


def _run(written: ModelProto, given: dict[str, NDArray[Any]], program: Program) -> list[Any]:
    """Return the outputs of a file; none if it takes operators that `load` lacks, and long."""
    try:
        with no_grad():
            results = load(written)(*given.values())
    except OnnxError:
        if sum(call.array.size for call in program.calls) > CHECKED:
            return []
        from onnx.reference import ReferenceEvaluator

        results = tuple(ReferenceEvaluator(written).run(None, given))
    return [
        np.asarray(array_of(v)) for v in (results if isinstance(results, tuple) else (results,))
    ]
