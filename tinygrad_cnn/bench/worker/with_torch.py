"""PyTorch on the CPU, in both of its memory layouts."""

from __future__ import annotations

from typing import Any

from .course import Learner
from .task import LEARNING_RATE, MOMENTUM, Calls, Chain, Task, chain_of_leaves, chain_values

VARIANTS = ("NCHW", "channels-last")


def build(task: Task) -> Calls:
    """Return the calls of a task."""
    import torch
    from torch import nn

    model = _model(task)
    images, labels = torch.from_numpy(task.images), torch.from_numpy(task.labels)
    if task.variant == "channels-last" and images.ndim == 4:
        model = model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)

    def step() -> Any:
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    def infer() -> Any:
        with torch.inference_mode():
            return model(images)

    return Calls(step, infer, sum(p.numel() for p in model.parameters()))


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


def _model(task: Task) -> Any:
    """Return the network of a task."""
    import torch
    from torch import nn

    torch.set_num_threads(task.threads)
    made: list[Any] = []
    for layer in task.layers:
        match layer:
            case ["conv", channels_in, channels_out, kernel, padding]:
                made.append(nn.Conv2d(channels_in, channels_out, kernel, padding=padding))
            case ["linear", features_in, features_out]:
                made.append(nn.Linear(features_in, features_out))
            case ["maxpool", size]:
                made.append(nn.MaxPool2d(size))
            case ["avgpool", size]:
                made.append(nn.AvgPool2d(size))
            case ["flatten"]:
                made.append(nn.Flatten())
            case ["relu"]:
                made.append(nn.ReLU())
            case ["tanh"]:
                made.append(nn.Tanh())
            case _:
                raise ValueError(f"no layer {layer}")
    model = nn.Sequential(*made)
    with torch.no_grad():
        for parameter, weight in zip(model.parameters(), task.weights, strict=True):
            parameter.copy_(torch.from_numpy(weight))
    return model


def chain() -> Chain:
    """Return the chain of small ops."""
    import torch

    x, w, b = map(torch.from_numpy, chain_values())
    w.requires_grad_()
    b.requires_grad_()
    return chain_of_leaves(torch.tanh, x, w, b, torch.ones_like(x))
