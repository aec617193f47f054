"""tinygrad_cnn through its public API: modules, `cross_entropy`, `backward`, `optim.SGD`.

Its variants are eager or compiled (`tg.compile`), with NumPy only or with the extra `fast`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from .course import Learner
from .task import (
    JOINS,
    LEARNING_RATE,
    MOMENTUM,
    Calls,
    Chain,
    LayerData,
    Task,
    arguments,
    chain_of_leaves,
    chain_values,
)

VARIANTS = ("eager", "eager-fast", "compiled", "fast")
KINDS = None  # every layer of `networks`


def limit_threads(threads: int) -> AbstractContextManager[Any]:
    """Return a context in which computations use this many threads."""
    import tinygrad_cnn as tg

    return tg.num_threads(threads)


def options(variant: str) -> AbstractContextManager[Any]:
    """Return a context in which a variant computes: with compiled kernels or with NumPy only."""
    import tinygrad_cnn as tg

    return tg.engine.options(fast=variant.endswith("fast"))


def build(task: Task) -> Calls:
    """Return the calls of a task."""
    import tinygrad_cnn as tg

    model = _model(task)
    optimizer = _optimizer(model)
    given = tg.Tensor(task.images)
    loss_of = _loss(task.loss)

    def train(images: Any, targets: Any) -> Any:
        loss = loss_of(model(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    def predict(images: Any) -> Any:
        with tg.no_grad():
            return model(images)

    train, predict = _compiled(task, train), _compiled(task, predict)
    return Calls(
        lambda: train(given, task.targets).item(),
        lambda: predict(given),
        sum(p.size for p in model.parameters()),
    )


def _compiled(task: Task, function: Any) -> Any:
    """Return a function as the variant of a task calls it: compiled or as it is."""
    import tinygrad_cnn as tg

    return tg.compile(function) if task.variant in ("compiled", "fast") else function


def learner(task: Task) -> Learner:
    """Return the network of a task, ready to train on any batch."""
    import tinygrad_cnn as tg

    model = _model(task)
    optimizer = tg.optim.SGD(model.parameters(), lr=1.0)

    def train(images: Any, labels: Any) -> Any:
        loss = tg.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    def predict(images: Any) -> Any:
        with tg.no_grad():
            return model(images)

    train, predict = _compiled(task, train), _compiled(task, predict)

    def step(images: Any, labels: Any, rate: float) -> float:
        optimizer.lr = rate
        return float(train(images, labels).item())

    return Learner(step, lambda images: predict(images).numpy())


def _loss(name: str) -> Any:
    """Return the function of a loss."""
    import tinygrad_cnn as tg

    return {
        "cross_entropy": tg.cross_entropy,
        "mse": tg.mse,
        "binary_cross_entropy": tg.binary_cross_entropy_with_logits,
    }[name]


def _model(task: Task) -> Any:
    """Return the network of a task."""
    model = _sequence(task.layers).train(task.training)
    for parameter, weight in zip(model.parameters(), task.weights, strict=True):
        parameter.data = weight
    return model


def _sequence(layers: Sequence[LayerData]) -> Any:
    """Return the layers as a module, with those of a join in its branches."""
    import tinygrad_cnn as tg
    from tinygrad_cnn import nn
    from tinygrad_cnn.nn.models.resnet import PaddedShortcut

    class Join(nn.Module):
        def __init__(self, kind: str, *branches: Sequence[LayerData]) -> None:
            self.branches = nn.ModuleList(map(_sequence, branches))
            self.add = kind == "add"

        def forward(self, x: Any) -> Any:
            parts = [branch(x) for branch in self.branches]
            return sum(parts[1:], parts[0]) if self.add else tg.concatenate(parts, 1)

    made: list[nn.Module] = []
    for layer in layers:
        if layer[0] in JOINS:
            made.append(Join(*layer))
        else:
            positional, keywords = arguments(layer)
            kind = PaddedShortcut if layer[0] == "PaddedShortcut" else getattr(nn, layer[0], None)
            if kind is None:
                raise ValueError(f"no layer {layer}")
            made.append(kind(*positional, **keywords))
    return nn.Sequential(*made)


def _optimizer(model: Any) -> Any:
    """Return the optimizer shared by all sides."""
    import tinygrad_cnn as tg

    return tg.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)


def profile(task: Task, steps: int) -> list[dict[str, Any]]:
    """Return the work and time of each op of a step, then of the update, then of the whole step."""
    from dataclasses import asdict
    from statistics import median
    from time import perf_counter

    import tinygrad_cnn as tg
    from tinygrad_cnn.bench.profile import OpCall, OpProfile, medians

    model = _model(task)
    optimizer = _optimizer(model)
    images = tg.Tensor(task.images)
    loss_of = _loss(task.loss)
    parameters = sum(p.size for p in model.parameters())
    moved = 4 * 5 * parameters  # float32: read and write parameter and velocity, read gradient
    observed, rests = [], []
    for _ in range(steps + 1):
        started = perf_counter()
        with tg.observe(seen := OpProfile()):
            loss = loss_of(model(images), task.targets)
            optimizer.zero_grad()
            loss.backward()
        begun = perf_counter()
        optimizer.step()
        ended = perf_counter()
        update = OpCall("SGD", "", "update", 2 * parameters, moved, ended - begun)
        observed.append([*seen.calls, update])
        in_ops = sum(call.seconds for call in observed[-1])
        rests.append(ended - started - in_ops - seen.seconds)
    calls = medians(observed[1:])  # the first step warms up
    rest = max(median(rests[1:]), 0.0)
    return [asdict(call) for call in [*calls, OpCall("graph", "", "rest", 0, 0, rest)]]


def chain() -> Chain:
    """Return the chain of small ops."""
    import numpy as np

    import tinygrad_cnn as tg

    x0, w0, b0 = chain_values()
    x, ones = tg.Tensor(x0), np.ones_like(x0)
    w, b = tg.Tensor(w0, requires_grad=True), tg.Tensor(b0, requires_grad=True)
    return chain_of_leaves(tg.tanh, x, w, b, ones)
