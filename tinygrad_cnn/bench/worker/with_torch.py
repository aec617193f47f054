"""PyTorch on the CPU, in both of its memory layouts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
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

VARIANTS = ("NCHW", "channels-last")
KINDS = None  # every layer of `networks`


def limit_threads(threads: int) -> AbstractContextManager[Any]:
    """Compute with this many threads from now on."""
    import torch

    torch.set_num_threads(threads)
    return nullcontext()


def build(task: Task, compiled: bool = False) -> Calls:
    """Return the calls of a task.

    With `compiled`, network and loss are one compiled function, and so is the network in inference.
    Compiling the optimizer's step too changed the time of a step of LeNet-5 by 4 %.
    """
    import torch

    model = _model(task)
    images, targets = torch.from_numpy(task.images), torch.from_numpy(task.targets)
    if task.variant == "channels-last" and images.ndim == 4:
        model = model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    loss_of = _loss(task.loss)

    def forward() -> Any:
        return loss_of(model(images), targets)

    def predict() -> Any:
        return model(images)

    if compiled:
        forward, predict = torch.compile(forward), torch.compile(predict)

    def step() -> Any:
        loss = forward()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    def infer() -> Any:
        with torch.inference_mode():
            return predict()

    def renew() -> None:
        _set_weights(model, task)
        optimizer.state.clear()

    if compiled and task.training:
        forward().backward()
    elif compiled:
        infer()
    return Calls(step, infer, sum(p.numel() for p in model.parameters()), renew)


def learner(task: Task) -> Learner:
    """Return the network of a task, ready to train on any batch."""
    import torch
    from torch import nn

    layout = torch.channels_last  # a step of LeNet-5 takes 0.7 times as long as in NCHW
    model = _model(task).to(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)

    def step(images: Any, labels: Any, rate: float) -> float:
        logits = model(torch.from_numpy(images).to(memory_format=layout))
        loss = nn.functional.cross_entropy(logits, torch.from_numpy(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        return float(loss.item())

    def infer(images: Any) -> Any:
        with torch.inference_mode():
            return model(torch.from_numpy(images).to(memory_format=layout)).numpy()

    return Learner(step, infer)


def _loss(name: str) -> Any:
    """Return the function of a loss."""
    from torch.nn import functional as f

    return {
        "cross_entropy": f.cross_entropy,
        "mse": f.mse_loss,
        "binary_cross_entropy": f.binary_cross_entropy_with_logits,
    }[name]


def _model(task: Task) -> Any:
    """Return the network of a task."""
    model = _sequence(task.layers).train(task.training)
    _set_weights(model, task)
    return model


def _set_weights(model: Any, task: Task) -> None:
    """Set the parameters to the initial weights of a task."""
    import torch

    with torch.no_grad():
        for parameter, weight in zip(model.parameters(), task.weights, strict=True):
            parameter.copy_(torch.from_numpy(weight))


def _sequence(layers: Sequence[LayerData]) -> Any:
    """Return the layers as a module, with those of a join in its branches."""
    import torch
    from torch import nn

    class Join(nn.Module):  # type: ignore[misc]  # its type is not known here
        def __init__(self, kind: str, *branches: Sequence[LayerData]) -> None:
            super().__init__()
            self.branches = nn.ModuleList(map(_sequence, branches))
            self.add = kind == "add"

        def forward(self, x: Any) -> Any:
            parts = [branch(x) for branch in self.branches]
            return sum(parts[1:], parts[0]) if self.add else torch.cat(parts, 1)

    class GlobalAvgPool2d(nn.Module):  # type: ignore[misc]  # its type is not known here
        def forward(self, x: Any) -> Any:
            return x.mean((2, 3))

    class PaddedShortcut(nn.Module):  # type: ignore[misc]  # its type is not known here
        def __init__(self, new_channels: int, stride: int) -> None:
            super().__init__()
            before = new_channels // 2
            self.border = (0, 0, 0, 0, before, new_channels - before)
            self.stride = stride

        def forward(self, x: Any) -> Any:
            return nn.functional.pad(x[:, :, :: self.stride, :: self.stride], self.border)

    own = {"GlobalAvgPool2d": GlobalAvgPool2d, "PaddedShortcut": PaddedShortcut}
    made = []
    for layer in layers:
        if layer[0] in JOINS:
            made.append(Join(*layer))
        else:
            positional, keywords = arguments(layer)
            kind = own.get(layer[0]) or getattr(nn, layer[0], None)
            if kind is None:
                raise ValueError(f"no layer {layer}")
            made.append(kind(*positional, **keywords))
    return nn.Sequential(*made)


def chain() -> Chain:
    """Return the chain of small ops."""
    import torch

    x, w, b = map(torch.from_numpy, chain_values())
    w.requires_grad_()
    b.requires_grad_()
    return chain_of_leaves(torch.tanh, x, w, b, torch.ones_like(x))
