"""Every kind of ready model, as small as it can be, and steps of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import tinygrad_cnn as tg
from support.both_ways import Trained
from tinygrad_cnn import nn, optim
from tinygrad_cnn.nn import models

Builder = Callable[[], nn.Module]

SMALL: dict[str, tuple[Builder, tuple[int, ...]]] = {
    "perceptron": (partial(models.MLP, (12, 7, 3)), (12,)),
    "bias per connection": (
        partial(models.MLP, (6, 5, 3), "sigmoid", "softmax", "per_connection"),
        (6,),
    ),
    "LeNet-5": (partial(models.LeNet5, 3), (1, 28, 28)),
    "LeNet-5, average": (partial(models.LeNet5, 3, "tanh", "average"), (1, 28, 28)),
    "VGG": (partial(models.VGG, 3, 3, (8, 8), (4, 6), 8), (3, 8, 8)),
    "VGG with dropout": (
        partial(models.VGG, 3, 3, (8, 8), (4, 6), 8, batch_norm=True, dropout=0.25),
        (3, 8, 8),
    ),
    "basic blocks": (partial(models.ResNet, 3, 3, (1, 2), (4, 8)), (3, 8, 8)),
    "bottlenecks": (
        partial(models.ResNet, 3, 3, (1, 1), (4, 8), "bottleneck", shortcut="projected"),
        (3, 8, 8),
    ),
    "MobileNetV2": (partial(models.MobileNetV2, 3, 3, 0.25, stem="small"), (3, 8, 8)),
    "DenseNet": (partial(models.DenseNet, 3, 3, (2, 2), 4, 8), (3, 8, 8)),
    "U-Net": (partial(models.UNet, 3, 2, 4, 2), (2, 8, 8)),
    "bilinear U-Net": (partial(models.UNet, 3, 2, 4, 2, "bilinear", False), (2, 8, 8)),
    "autoencoder": (partial(models.ConvAutoencoder, 2, (4, 6)), (2, 8, 8)),
}
"""The models, and the shape of an example."""


def drawn(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("f4")


def trained(build: Builder) -> Trained:
    """Return a training step of a model, of the squares of its results."""
    model = build()
    optimizer = optim.SGD(model.parameters(), 1e-5, momentum=0.9)

    def step(x: Any) -> tg.Tensor:
        y = model(x)
        loss = (y * y).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return Trained(step, [model], [optimizer])


def evaluated(build: Builder) -> Trained:
    """Return the inference of a model."""
    model = build().eval()

    @tg.no_grad()
    def step(x: Any) -> tg.Tensor:
        y: tg.Tensor = model(x)
        return y

    return Trained(step, [model])
