"""The forward pass of a picture through a network, layer by layer, read from a trace."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tinygrad_cnn as tg
from tinygrad_cnn.drawing import Trace
from tinygrad_cnn.drawing.steps import Leaf, Step
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.windows import Windows, pair, windows
from tinygrad_cnn.train import TrainedModel

__all__ = ["ExplainError", "Forward", "LayerCall", "forward", "image_of", "softmax_of", "watch"]


class ExplainError(ValueError):
    """The computation cannot be explained; the message states the given and the expected."""


@dataclass(frozen=True, eq=False)
class LayerCall:
    """One call of a module, with its input and output, for one picture.

    Attributes
    ----------
    name : str
        Name of the module, such as "conv1" or "features.0".
    op : Op
        The op that defines its computation.
    given, output : ndarray
        Without the batch axis.
    source : LayerCall or None
        The layer that computed `given`; None for the network's input.
    arrays : dict of str to ndarray
        The op's other arrays, by parameter name: ``w``, ``bias``; for batch norm also ``mean``,
        ``variance`` and ``epsilon``.
    options : dict of str to object
        The op's other arguments, including defaults.
    windows : Windows or None
        Positions of the windows of a convolution or pooling on `given`.
    step : Step or None
        The traced call that computed `output`.
    composed_of : tuple of str
        The ops that it calls, if no single op computes `output` from `given`; else empty.
    picture : tuple of int, or None
        The shape of the network's input, if `output` depends on more than `source` and its sources;
        its receptive field is then the whole input.
    sources : tuple of str
        The names of all layers that it reads; "input" for the network's input.
    """

    name: str
    op: tg.Op[..., Any]
    given: Array
    output: Array
    source: LayerCall | None
    arrays: Mapping[str, Array] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    windows: Windows | None = None
    step: Step | None = None
    composed_of: tuple[str, ...] = ()
    picture: tuple[int, ...] | None = None
    sources: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The layer's kind, such as "convolution" or "relu"; "composite" for several ops."""
        return "composite" if self.composed_of else self.op.kind

    @property
    def takes_each(self) -> bool:
        """Whether each entry of `output` depends on the same entry of `given` alone."""
        if self.composed_of or self.given.shape != self.output.shape:
            return False
        return self.op.elementwise or self.kind == "batch-norm"

    @property
    def groups(self) -> int:
        """The number of groups of channels or units, each computed from one group of the input.

        Both `given` and `output` have this many groups of equal size, in order.
        """
        if self.kind == "convolution":
            return int(self.options["groups"])
        if self.takes_each or self.windows is not None:
            return len(self.output)
        return len(self.given) if self.kind == "flatten" and self.output.ndim == 1 else 1

    @property
    def flattened(self) -> Array | None:
        """The picture, of shape (C, H, W), flattened for a dense layer; None for other layers."""
        before = self.source
        if self.kind != "dense" or before is None or before.kind != "flatten":
            return None
        return before.given if before.given.ndim == 3 else None


@dataclass(frozen=True, eq=False)
class Forward:
    """The forward pass of a picture through a network.

    Attributes
    ----------
    image : Tensor
        The normalized input, of shape (1, C, H, W): a leaf.
    logits : Tensor
        The output, of shape (1, classes).
    layers : list of LayerCall
        The module calls in order. Calls that compute nothing (such as dropout in eval mode) or
        return no batch axis are left out.
    """

    image: tg.Tensor
    logits: tg.Tensor
    layers: list[LayerCall]


def forward(run: TrainedModel, picture: NDArray[np.uint8]) -> Forward:
    """Run a picture through the network of a run, and return the outputs of all layers.

    Raises
    ------
    ExplainError
        If the picture does not fit the network, or an intermediate number is not finite.
    """
    with tg.trace() as trace:
        return watch(run, picture, trace)


def watch(
    run: TrainedModel, picture: NDArray[np.uint8], trace: Trace, requires_grad: bool = True
) -> Forward:
    """Run `forward` inside ``with tg.trace() as trace:``, which may then record backward too.

    `requires_grad` requests the picture's gradient as well.
    """
    if any(module.training for module in run.model.modules()):
        raise ExplainError("the network is in training mode, expected evaluation mode")
    image = image_of(run, picture).requires_grad_(requires_grad)
    with np.errstate(all="ignore"):  # values that are not finite are rejected below
        logits = run.model(image)
    layers = _layers(trace, image)
    for layer in layers:
        if not np.isfinite(layer.output).all():
            raise ExplainError(f"the output of {layer.name} has NaN or infinite numbers")
    return Forward(image, logits, layers)


def image_of(run: TrainedModel, picture: NDArray[np.uint8]) -> tg.Tensor:
    """Return a picture as network input: normalized, of shape (1, C, H, W)."""
    data = run.settings.data
    shape = picture.shape if picture.ndim == 3 else (1, *picture.shape)
    if picture.dtype != np.uint8 or shape != data.input_shape:
        raise ExplainError(
            f"the picture is {picture.dtype} of shape {shape}, but the network takes "
            f"uint8 of shape {data.input_shape}"
        )
    dtype = next(run.model.parameters()).dtype
    scaled = np.divide(picture.reshape(1, *shape), 255, dtype=dtype)
    normalized = data.normalize()(scaled, np.random.default_rng(0))
    return tg.Tensor(normalized, name="image")


def softmax_of(seen: Forward, temperature: float) -> LayerCall:
    """Return the softmax layer after the last one, which turns logits into probabilities."""
    (logits,) = seen.logits.numpy()
    op = tg.softmax
    taken = any(layer.name == op.name for layer in seen.layers)
    output = op.forward(logits.astype(np.float64), -1, temperature)
    options = {"axis": -1, "temperature": temperature}
    name = "probabilities" if taken else op.name
    last = seen.layers[-1]
    return LayerCall(name, op, logits, output, last, {}, options, sources=(last.name,))


def _layers(trace: Trace, image: tg.Tensor) -> list[LayerCall]:
    """Return the calls of a trace, grouped by module call."""
    made: dict[int, LayerCall] = {}  # by id of the step that computed the output
    seeing: set[int] = set()  # ids of the steps that depend on the image
    names: Counter[str] = Counter()
    for _, group in groupby(trace.steps, lambda step: step.scope):
        steps = list(group)
        outside: dict[int, Leaf | Step] = {}
        for step in steps:
            found = [source for source in _sources(step) if _is_seen(source, image, seeing)]
            if found:
                seeing.add(id(step))
            inside = {id(step) for step in steps}
            outside |= {id(source): source for source in found if id(source) not in inside}
        arrays = [source.array for source in [*outside.values(), steps[-1]]]
        if outside and id(steps[-1]) in seeing and all(_has_batch_of_1(a) for a in arrays):
            layer = _layer(trace, steps, list(outside.values()), made, image, seeing)
            names[layer.name] += 1
            if names[layer.name] > 1:
                layer = replace(layer, name=f"{layer.name} ({names[layer.name]})")
            made[id(steps[-1])] = layer
    return list(made.values())


def _has_batch_of_1(array: Array | None) -> bool:
    return array is not None and array.shape[:1] == (1,)


def _sources(step: Step) -> list[Leaf | Step]:
    return [argument.source for argument in step.arguments]


def _is_seen(source: Leaf | Step, image: tg.Tensor, seeing: set[int]) -> bool:
    """Return whether a source is the image, or depends on it."""
    return source.origin is image if isinstance(source, Leaf) else id(source) in seeing


def _layer(
    trace: Trace,
    steps: list[Step],
    outside: list[Leaf | Step],
    made: Mapping[int, LayerCall],
    image: tg.Tensor,
    seeing: set[int],
) -> LayerCall:
    """Return the layer of a module call; `outside` is its input that depends on the image."""
    last, given = steps[-1], outside[0]
    source = made.get(id(given))
    module = trace.modules.get(last.scope)
    assert last.op is not None
    assert last.array is not None
    assert given.array is not None
    name = last.scope or last.op.name
    op, x, arrays = last.op, given.array[0], {}
    is_whole = len(outside) == 1 and (source is not None or isinstance(given, Leaf))
    picture = None if is_whole else image.shape[1:]
    read = [made.get(id(source), source) for source in outside]
    sources = tuple(
        "input" if isinstance(layer, Leaf) else layer.name
        for layer in read
        if isinstance(layer, Leaf | LayerCall)
    )
    seen = [a for a in last.arguments if _is_seen(a.source, image, seeing)]
    is_single = len(seen) == 1 and seen[0].source is given and seen[0].name == op.parameters[0]
    is_batch_norm = isinstance(module, tg.nn.BatchNorm1d | tg.nn.BatchNorm2d)
    statistics = _statistics(module) if is_batch_norm else None
    if len(outside) > 1 or not (is_single or statistics):
        ops = tuple(step.op.name for step in steps if step.op is not None)
        return LayerCall(
            name, op, x, last.array[0], source,
            step=last, composed_of=ops, picture=picture, sources=sources,
        )  # fmt: skip
    options = {
        name: parameter.default
        for name, parameter in op.signature.parameters.items()
        if parameter.default is not inspect.Parameter.empty
    } | last.options
    if statistics:
        op, options, arrays = tg.batch_norm, {}, statistics
    else:
        for argument in last.arguments:
            if argument.source is not given and argument.source.array is not None:
                arrays[argument.name] = argument.source.array
    on = _windows(op, x.shape, arrays, options)
    return LayerCall(
        name, op, x, last.array[0], source, arrays, options, on, last, (), picture, sources
    )


def _statistics(module: Any) -> dict[str, Array] | None:
    """Return the statistics that a batch norm uses in eval mode; None if they are the batch's."""
    state = module.state_dict()
    if "running_mean" not in state:
        return None
    mean = state["running_mean"]
    return {
        "w": state.get("weight", np.ones_like(mean)),
        "bias": state.get("bias", np.zeros_like(mean)),
        "mean": mean,
        "variance": state["running_var"],
        "epsilon": np.asarray(module.eps),
    }


def _windows(
    op: tg.Op[..., Any],
    shape: tuple[int, ...],
    arrays: Mapping[str, Array],
    options: Mapping[str, Any],
) -> Windows | None:
    """Return the window positions of a call; None if it has no windows."""
    if op.kind == "convolution":
        kernel = arrays["w"].shape[2:]
    elif op.role == "pooling":
        kernel = pair(op.name, "kernel_size", options["kernel_size"], 1)
    else:
        return None
    stride, padding, dilation = (
        tuple(value) if isinstance(value, list) else value
        for value in (options["stride"], options["padding"], options.get("dilation", 1))
    )
    height, width = shape[-2:]
    return windows(
        op.name,
        (height, width),
        (kernel[0], kernel[1]),
        kernel if stride is None else stride,
        padding,
        dilation,
        options.get("ceil_mode", False),
    )
