"""MobileNetV2: inverted residuals of depthwise convolutions."""

from __future__ import annotations

from tinygrad_cnn import ops
from tinygrad_cnn.core.random import Rng, generator
from tinygrad_cnn.core.tensor import Tensor, TensorLike
from tinygrad_cnn.nn.layers import BatchNorm2d, Conv2d, Dropout, Linear, ReLU6
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.nn.sequential import Sequential
from tinygrad_cnn.support.arguments import choice, number, positive, whole

STAGES = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1),
)  # fmt: skip
"""Of each stage: the expansion, the channels, the number of blocks, the stride of the first."""


def _unit(
    in_channels: int, out_channels: int, kernel_size: int, stride: int, groups: int, rng: Rng
) -> Sequential:
    """Return a convolution, batch normalization and ReLU6."""
    return Sequential(
        Conv2d(
            in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups,
            bias=False, rng=rng,
        ),
        BatchNorm2d(out_channels),
        ReLU6(),
    )  # fmt: skip


class InvertedResidual(Module):
    """Expand by a 1×1 convolution, filter each channel by a 3×3 one, project by a 1×1 one."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, expansion: int, rng: Rng = None
    ) -> None:
        inner = in_channels * expansion
        self.has_shortcut = stride == 1 and in_channels == out_channels
        expand = [_unit(in_channels, inner, 1, 1, 1, rng)] if expansion > 1 else []
        self.conv = Sequential(
            *expand,
            _unit(inner, inner, 3, stride, inner, rng),
            Conv2d(inner, out_channels, 1, bias=False, rng=rng),
            BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's result."""
        y: Tensor = self.conv(x)
        return x + y if self.has_shortcut else y


class MobileNetV2(Module):
    """MobileNetV2: few parameters and multiply-adds, by depthwise convolutions.

    Parameters
    ----------
    classes : int
        The number of logits.
    in_channels : int
        The channels of the images.
    width : float
        Multiplies all channels, which are rounded to multiples of 8.
    dropout : float
        The rate of the `Dropout` before the last layer, in [0, 1).
    stem : {"large", "small"}
        With "small", for images as those of CIFAR, the first two strides are 1 instead of 2.
    rng : numpy.random.Generator, optional
        Source of the initial values (He's) and of dropout; by default the generator that
        `manual_seed` sets.

    Raises
    ------
    ValueError
        If an argument is out of range.
    TypeError
        If `rng` is not a generator.

    Notes
    -----
    Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", 2018. The names of
    parameters are torchvision's, so that its weights load.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> model = tg.nn.models.MobileNetV2(10, width=0.25, stem="small")
    >>> model(np.zeros((2, 3, 32, 32), "f4")).shape
    (2, 10)
    """

    def __init__(
        self,
        classes: int = 1000,
        in_channels: int = 3,
        width: float = 1.0,
        dropout: float = 0.2,
        stem: str = "large",
        *,
        rng: Rng = None,
    ) -> None:
        owner = type(self).__name__
        self.classes = whole(owner, "classes", classes)
        self.in_channels = whole(owner, "in_channels", in_channels)
        self.width = positive(owner, "width", width)
        self.dropout = number(owner, "dropout", dropout, below=1.0)
        self.stem = choice(owner, "stem", stem, ("large", "small"))
        generator(owner, rng)  # only checked: of None, Dropout makes a generator of its own
        unused = 2 if stem == "small" else 0  # strides of 2 that become 1
        channels = _rounded(32 * width)
        layers: list[Module] = [_unit(in_channels, channels, 3, 1 if unused else 2, 1, rng)]
        for expansion, out_channels, count, stride in STAGES:
            if stride == 2 and unused > 1:
                stride, unused = 1, 1
            for i in range(count):
                wide = _rounded(out_channels * width)
                layers.append(
                    InvertedResidual(channels, wide, stride if i == 0 else 1, expansion, rng)
                )
                channels = wide
        last = _rounded(1280 * max(1.0, width))
        self.features = Sequential(*layers, _unit(channels, last, 1, 1, 1, rng))
        self.classifier = Sequential(Dropout(dropout, rng=rng), Linear(last, classes, rng=rng))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one image: (C, H, W)."""
        return (self.in_channels, *((32, 32) if self.stem == "small" else (224, 224)))

    def forward(self, x: TensorLike) -> Tensor:
        """Return logits, of shape (N, classes), for images `x` of shape (N, C, H, W)."""
        return self.classifier(ops.global_avgpool(self.features(x)))


def _rounded(channels: float) -> int:
    """Return the multiple of 8 nearest to `channels`, but no less than nine tenths of it."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest
