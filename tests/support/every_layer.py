"""One or several layers of each kind, with the shape of an input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_cnn import nn

Make = Callable[[np.random.Generator], nn.Module]


class Scaled(nn.Module):
    """The input times a vector of a table."""

    def __init__(self, table: nn.Embedding) -> None:
        self.table = table

    def forward(self, x: Any) -> Any:
        return x * self.table(2)


LAYERS: dict[str, tuple[Make, tuple[int, ...]]] = {
    "Linear": (lambda rng: nn.Linear(6, 4, rng=rng), (3, 6)),
    "Linear without bias": (lambda rng: nn.Linear(6, 4, False, rng=rng), (3, 6)),
    "Linear per connection": (lambda rng: nn.Linear(6, 4, "per_connection", rng=rng), (3, 6)),
    "Conv2d": (
        lambda rng: nn.Conv2d(4, 6, (3, 2), (1, 2), (1, 0), groups=2, rng=rng),
        (2, 4, 6, 6),
    ),
    "ConvTranspose2d": (
        lambda rng: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, 2, rng=rng),
        (2, 4, 5, 5),
    ),
    "Conv1d": (lambda rng: nn.Conv1d(4, 6, 3, 2, (2, 1), groups=2, rng=rng), (2, 4, 7)),
    "ConvTranspose1d": (lambda rng: nn.ConvTranspose1d(4, 6, 3, 2, 1, 1, rng=rng), (2, 4, 5)),
    "MaxPool1d": (lambda rng: nn.MaxPool1d(3, 2, 1), (2, 3, 6)),
    "AvgPool1d": (lambda rng: nn.AvgPool1d(2, ceil_mode=True), (2, 3, 5)),
    "AdaptiveAvgPool1d": (lambda rng: nn.AdaptiveAvgPool1d(2), (2, 3, 5)),
    "AdaptiveAvgPool2d": (lambda rng: nn.AdaptiveAvgPool2d((2, None)), (2, 3, 5, 4)),
    "AdaptiveMaxPool1d": (lambda rng: nn.AdaptiveMaxPool1d(2), (2, 3, 5)),
    "AdaptiveMaxPool2d": (lambda rng: nn.AdaptiveMaxPool2d(2), (2, 3, 5, 4)),
    "Upsample": (lambda rng: nn.Upsample(scale_factor=2.0, mode="bilinear"), (2, 3, 3, 2)),
    "Upsample nearest": (lambda rng: nn.Upsample((5, 4)), (2, 3, 3, 2)),
    "Conv2d reflect": (
        lambda rng: nn.Conv2d(4, 6, 3, 2, "same", padding_mode="reflect", rng=rng),
        (2, 4, 6, 5),
    ),
    "ReflectionPad2d": (lambda rng: nn.ReflectionPad2d(1), (2, 3, 3, 2)),
    "ReplicationPad2d": (lambda rng: nn.ReplicationPad2d((1, 2, 0, 1)), (2, 3, 3, 2)),
    "CircularPad2d": (lambda rng: nn.CircularPad2d((1, 2, 0, 1)), (2, 3, 3, 2)),
    "Unfold": (lambda rng: nn.Unfold(2, padding=1, stride=2), (2, 3, 3, 2)),
    "Fold": (lambda rng: nn.Fold(3, 2, stride=(1, 2)), (2, 8, 2)),
    "ZeroPad2d": (lambda rng: nn.ZeroPad2d((1, 2, 0, 1)), (2, 3, 3, 2)),
    "PixelShuffle": (lambda rng: nn.PixelShuffle(2), (2, 8, 3, 2)),
    "PixelUnshuffle": (lambda rng: nn.PixelUnshuffle(2), (2, 3, 4, 2)),
    "MaxPool2d": (lambda rng: nn.MaxPool2d(3, 2, 1), (2, 3, 6, 6)),
    "AvgPool2d": (lambda rng: nn.AvgPool2d(2, ceil_mode=True), (2, 3, 5, 5)),
    "GlobalAvgPool2d": (lambda rng: nn.GlobalAvgPool2d(), (2, 3, 5, 5)),
    "Flatten": (lambda rng: nn.Flatten(), (2, 3, 4)),
    "Identity": (lambda rng: nn.Identity(), (2, 3, 4)),
    "Dropout": (lambda rng: nn.Dropout(0.3, rng=rng), (4, 5)),
    "BatchNorm2d": (lambda rng: nn.BatchNorm2d(3), (4, 3, 2, 2)),
    "Embedding": (lambda rng: Scaled(nn.Embedding(3, 5, 0, rng=rng)), (4, 5)),
    "Dropout1d": (lambda rng: nn.Dropout1d(0.3, rng=rng), (4, 3, 5)),
    "Dropout2d": (lambda rng: nn.Dropout2d(0.3, rng=rng), (4, 3, 2, 2)),
    "BatchNorm1d": (lambda rng: nn.BatchNorm1d(3), (4, 3, 5)),
    "BatchNorm1d of rows": (lambda rng: nn.BatchNorm1d(3), (4, 3)),
    "BatchNorm2d without affine": (lambda rng: nn.BatchNorm2d(3, affine=False), (4, 3, 2, 2)),
    "InstanceNorm2d": (lambda rng: nn.InstanceNorm2d(3, affine=True), (4, 3, 2, 2)),
    "InstanceNorm2d with statistics": (
        lambda rng: nn.InstanceNorm2d(3, track_running_stats=True),
        (4, 3, 2, 2),
    ),
    "LayerNorm": (lambda rng: nn.LayerNorm((2, 5)), (4, 2, 5)),
    "LayerNorm without bias": (lambda rng: nn.LayerNorm(5, bias=False), (4, 2, 5)),
    "LocalResponseNorm": (lambda rng: nn.LocalResponseNorm(3), (4, 5, 2, 2)),
    "GroupNorm": (lambda rng: nn.GroupNorm(2, 4), (3, 4, 2, 5)),
    "GroupNorm without affine": (lambda rng: nn.GroupNorm(1, 4, affine=False), (3, 4)),
    "Sigmoid": (lambda rng: nn.Sigmoid(), (3, 4)),
    "Tanh": (lambda rng: nn.Tanh(), (3, 4)),
    "ReLU": (lambda rng: nn.ReLU(), (3, 4)),
    "LeakyReLU": (lambda rng: nn.LeakyReLU(0.2), (3, 4)),
    "GELU": (lambda rng: nn.GELU("tanh"), (3, 4)),
    "Softmax": (lambda rng: nn.Softmax(temperature=2.0), (3, 4)),
    "CELU": (lambda rng: nn.CELU(0.5), (3, 4)),
    "ELU": (lambda rng: nn.ELU(0.5), (3, 4)),
    "Hardsigmoid": (lambda rng: nn.Hardsigmoid(), (3, 4)),
    "Hardswish": (lambda rng: nn.Hardswish(), (3, 4)),
    "Hardtanh": (lambda rng: nn.Hardtanh(-0.5, 1.0), (3, 4)),
    "LogSigmoid": (lambda rng: nn.LogSigmoid(), (3, 4)),
    "LogSoftmax": (lambda rng: nn.LogSoftmax(1), (3, 4)),
    "Mish": (lambda rng: nn.Mish(), (3, 4)),
    "ReLU6": (lambda rng: nn.ReLU6(), (3, 4)),
    "SELU": (lambda rng: nn.SELU(), (3, 4)),
    "SiLU": (lambda rng: nn.SiLU(), (3, 4)),
    "Softplus": (lambda rng: nn.Softplus(2.0, 3.0), (3, 4)),
    "Softsign": (lambda rng: nn.Softsign(), (3, 4)),
    "Tanhshrink": (lambda rng: nn.Tanhshrink(), (3, 4)),
    "PReLU": (lambda rng: nn.PReLU(3), (2, 3, 4)),
}
