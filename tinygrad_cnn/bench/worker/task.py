"""A benchmark task: a network, its initial weights and a batch of examples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

LEARNING_RATE, MOMENTUM = 0.001, 0.9  # small, so that long runs stay finite
REPEATS, OPS_PER_REPEAT = 30, 3
JOINS = ("add", "concatenate")
PLAIN = ("Conv2d", "Linear", "MaxPool2d", "Flatten", "ReLU")  # with stride 1 and a bias

LayerData = Sequence[Any]
"""A layer as data; see `tinygrad_cnn.bench.networks.Network`."""


class Task(NamedTuple):
    """A network and its input; drawn with NumPy, so that all sides get identical bits.

    Attributes
    ----------
    layers : sequence of sequences
        As in `tinygrad_cnn.bench.networks.Network`.
    weights : list of ndarray
        Weight and bias of each layer that has them, in the order of `parametrized`.
    images : ndarray
        Of shape (N, C, H, W), or (N, features).
    targets : ndarray
        Class numbers of shape (N,) or (N, H, W), or the numbers that the loss compares with.
    variant : str
        A variant of the framework, such as a memory layout; empty if there is only one.
    loss : {"cross_entropy", "mse", "binary_cross_entropy"}
    training : bool
        Whether the network is in train mode or in eval mode.
    """

    layers: Sequence[LayerData]
    weights: list[NDArray[np.float32]]
    images: NDArray[np.float32]
    targets: NDArray[Any]
    variant: str
    loss: str = "cross_entropy"
    training: bool = True


class Calls(NamedTuple):
    """A framework's implementation of a `Task`.

    Attributes
    ----------
    step : callable
        Forward, loss, backward, SGD with momentum; returns the loss once all work is done.
    infer : callable
        Forward without recording; returns the logits.
    parameters : int
        Number of parameters.
    renew : callable or None
        Sets weights and velocities to their first values, where that is faster than another build.
    """

    step: Callable[[], Any]
    infer: Callable[[], Any]
    parameters: int
    renew: Callable[[], None] | None = None


class Chain(NamedTuple):
    """A repeated chain of small ops: x ← tanh(x·w + b), `REPEATS` times.

    Attributes
    ----------
    forward : callable
        Returns the last x, with its graph.
    backward : callable
        Takes the result of `forward`, and computes the gradients of w and b.
    """

    forward: Callable[[], Any]
    backward: Callable[[Any], Any]


def make_task(
    layers: Sequence[LayerData],
    input_shape: Sequence[int],
    batch: int,
    loss: str = "cross_entropy",
    classes: int = 10,
    target_shape: Sequence[int] = (),
    variant: str = "",
    training: bool = True,
) -> Task:
    """Return a task with random weights (He) and examples, the same for every side."""
    rng = np.random.default_rng(0)
    weights = []
    for layer in parametrized(layers):
        shape, others = weight_shapes(layer)
        if len(shape) == 1:  # a normalization's scale
            weights.append(rng.uniform(0.5, 1.5, shape).astype("f4"))
        else:
            bound = math.sqrt(6 / math.prod(shape[1:]))
            weights.append(rng.uniform(-bound, bound, shape).astype("f4"))
        weights += [rng.uniform(-0.1, 0.1, other).astype("f4") for other in others]
    images = rng.standard_normal((batch, *input_shape)).astype("f4")
    targets: NDArray[Any]
    if loss == "cross_entropy":
        targets = rng.integers(classes, size=(batch, *target_shape))
    elif loss == "mse":
        targets = rng.standard_normal((batch, *target_shape)).astype("f4")
    else:
        targets = rng.integers(2, size=(batch, *target_shape)).astype("f4")
    return Task(layers, weights, images, targets, variant, loss, training)


def parametrized(layers: Sequence[LayerData]) -> Iterator[LayerData]:
    """Yield the layers with parameters, each branch of a join from its first layer to its last."""
    for layer in layers:
        if layer[0] in JOINS:
            for branch in layer[1:]:
                yield from parametrized(branch)
        elif layer[0] in SHAPES:
            yield layer


def arguments(layer: LayerData) -> tuple[list[Any], dict[str, Any]]:
    """Return the positional arguments and the keywords of a layer that is not a join.

    Examples
    --------
    >>> arguments(("Conv2d", 3, 8, 5, {"padding": 2}))
    ([3, 8, 5], {'padding': 2})
    """
    _, *positional = layer
    keywords = positional.pop() if positional and isinstance(positional[-1], dict) else {}
    return positional, keywords


def weight_shapes(layer: LayerData) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Return the shape of a layer's weight, and those of its further parameters: the bias, if any.

    Examples
    --------
    >>> weight_shapes(("Conv2d", 32, 64, 3, {"groups": 4, "bias": False}))
    ((64, 8, 3, 3), [])
    """
    positional, keywords = arguments(layer)
    shape, features_out = SHAPES[layer[0]](*positional, groups=keywords.get("groups", 1))
    return shape, [(features_out,)] if keywords.get("bias", True) else []


WeightShape = tuple[tuple[int, ...], int]


def _convolution(channels_in: int, channels_out: int, kernel: int, groups: int) -> WeightShape:
    return (channels_out, channels_in // groups, kernel, kernel), channels_out


def _transposed(channels_in: int, channels_out: int, kernel: int, groups: int) -> WeightShape:
    return (channels_in, channels_out // groups, kernel, kernel), channels_out


def _linear(features_in: int, features_out: int, groups: int) -> WeightShape:
    return (features_out, features_in), features_out


def _normalization(channels: int, groups: int) -> WeightShape:
    return (channels,), channels


SHAPES: dict[str, Callable[..., WeightShape]] = {
    "Conv2d": _convolution,
    "ConvTranspose2d": _transposed,
    "Linear": _linear,
    "BatchNorm2d": _normalization,
}
"""Layers with parameters: from their arguments, the weight's shape and the bias's size."""


def chain_values() -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return x, w and b of a `Chain`: eight numbers each, so that call overhead dominates."""
    x, w, b = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 8)).astype("f4")
    return x, w, b


def repeated(tanh: Callable[[Any], Any], x: Any, w: Any, b: Any) -> Any:
    """Return the last x of a `Chain`; all ops but `tanh` are operators."""
    for _ in range(REPEATS):
        x = tanh(x * w + b)
    return x


def chain_of_leaves(tanh: Callable[[Any], Any], x: Any, w: Any, b: Any, gradient: Any) -> Chain:
    """Return the chain with leaves w and b, whose ``.grad`` accumulates in backward."""

    def backward(y: Any) -> Any:
        w.grad = b.grad = None
        y.backward(gradient)
        return w.grad, b.grad

    return Chain(lambda: repeated(tanh, x, w, b), backward)
