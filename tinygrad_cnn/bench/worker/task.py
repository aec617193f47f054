"""A benchmark task: a network, its initial weights and a batch of examples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

LEARNING_RATE, MOMENTUM = 0.001, 0.9  # small, so that long runs stay finite
CLASSES = 10
REPEATS, OPS_PER_REPEAT = 30, 3


class Task(NamedTuple):
    """A network and its input; drawn with NumPy, so that all sides get identical bits.

    Attributes
    ----------
    layers : sequence of sequences
        As in `tinygrad_cnn.bench.workloads.Network`.
    weights : list of ndarray
        Weight and bias of each layer that has them: (O, I, K, K) or (O, I), and (O,).
    images : ndarray
        Of shape (N, C, H, W), or (N, features).
    labels : ndarray
        N class numbers.
    threads : int
    variant : str
        A variant of the framework, such as a memory layout; empty if there is only one.
    """

    layers: Sequence[Sequence[Any]]
    weights: list[NDArray[np.float32]]
    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    threads: int
    variant: str


class Calls(NamedTuple):
    """A framework's implementation of a `Task`.

    Attributes
    ----------
    step : callable
        Forward, cross-entropy, backward, SGD with momentum; returns the loss once all work is done.
    infer : callable
        Forward without recording; returns the logits.
    parameters : int
        Number of parameters.
    """

    step: Callable[[], Any]
    infer: Callable[[], Any]
    parameters: int


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
    layers: Sequence[Sequence[Any]],
    input_shape: Sequence[int],
    batch: int,
    threads: int = 1,
    variant: str = "",
) -> Task:
    """Return a task with random weights (He) and examples, the same for every side."""
    rng = np.random.default_rng(0)
    weights = []
    for layer in layers:
        shape: tuple[int, ...]
        match layer:
            case ["conv", channels_in, channels_out, kernel, _]:
                shape = (channels_out, channels_in, kernel, kernel)
            case ["linear", features_in, features_out]:
                shape = (features_out, features_in)
            case _:
                continue
        bound = math.sqrt(6 / math.prod(shape[1:]))
        weights.append(rng.uniform(-bound, bound, shape).astype("f4"))
        weights.append(rng.uniform(-0.1, 0.1, shape[0]).astype("f4"))
    images = rng.standard_normal((batch, *input_shape)).astype("f4")
    labels = rng.integers(CLASSES, size=batch)
    return Task(layers, weights, images, labels, threads, variant)


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
