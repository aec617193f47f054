"""Residual networks: for CIFAR (20, 32, 56 layers) and for ImageNet (18 to 152; ResNeXt)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from tinygrad_cnn import ops
from tinygrad_cnn.core.random import Rng, generator
from tinygrad_cnn.core.tensor import Tensor, TensorLike
from tinygrad_cnn.nn.layers import BatchNorm2d, Conv2d, Linear, MaxPool2d
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.nn.sequential import Sequential
from tinygrad_cnn.support.arguments import choice, whole, wholes


class BasicBlock(Module):
    """Two 3×3 convolutions and a shortcut: y = relu(x + F(x))."""

    expansion = 1

    def __init__(
        self, in_channels: int, width: int, stride: int, shortcut: str, rng: Rng = None
    ) -> None:
        self.conv1 = Conv2d(in_channels, width, 3, stride, padding=1, bias=False, rng=rng)
        self.bn1 = BatchNorm2d(width)
        self.conv2 = Conv2d(width, width, 3, padding=1, bias=False, rng=rng)
        self.bn2 = BatchNorm2d(width)
        self.downsample = _shortcut(in_channels, width, stride, shortcut, rng)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's result."""
        y = ops.relu(self.bn1(self.conv1(x)))
        return ops.relu(self.bn2(self.conv2(y)) + (self.downsample(x) if self.downsample else x))


class Bottleneck(Module):
    """A 1×1, a 3×3 and a 1×1 convolution and a shortcut; the stride is in the 3×3 one."""

    expansion = 4

    def __init__(
        self, in_channels: int, width: int, stride: int, shortcut: str, rng: Rng = None,
        groups: int = 1, width_per_group: int = 64,
    ) -> None:  # fmt: skip
        out_channels = width * self.expansion
        inner = width * width_per_group // 64 * groups
        self.conv1 = Conv2d(in_channels, inner, 1, bias=False, rng=rng)
        self.bn1 = BatchNorm2d(inner)
        self.conv2 = Conv2d(inner, inner, 3, stride, padding=1, groups=groups, bias=False, rng=rng)
        self.bn2 = BatchNorm2d(inner)
        self.conv3 = Conv2d(inner, out_channels, 1, bias=False, rng=rng)
        self.bn3 = BatchNorm2d(out_channels)
        self.downsample = _shortcut(in_channels, out_channels, stride, shortcut, rng)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's result."""
        y = ops.relu(self.bn1(self.conv1(x)))
        y = ops.relu(self.bn2(self.conv2(y)))
        return ops.relu(self.bn3(self.conv3(y)) + (self.downsample(x) if self.downsample else x))


class PaddedShortcut(Module):
    """The shortcut without parameters: every second pixel, and zeros for the new channels."""

    def __init__(self, new_channels: int, stride: int) -> None:
        self.new_channels = new_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` with fewer pixels and more channels."""
        x = x[:, :, :: self.stride, :: self.stride]
        before = self.new_channels // 2
        return ops.pad(x, ((0, 0), (before, self.new_channels - before), (0, 0), (0, 0)))


def _shortcut(
    in_channels: int, out_channels: int, stride: int, shortcut: str, rng: Rng
) -> Module | None:
    if stride == 1 and in_channels == out_channels:
        return None
    if shortcut == "padded":
        return PaddedShortcut(out_channels - in_channels, stride)
    return Sequential(
        Conv2d(in_channels, out_channels, 1, stride, bias=False, rng=rng),
        BatchNorm2d(out_channels),
    )


BLOCKS: dict[str, type[BasicBlock] | type[Bottleneck]] = {
    "basic": BasicBlock,
    "bottleneck": Bottleneck,
}


class ResNet(Module):
    """A residual network: a stem, stages of blocks with shortcuts, global average pooling.

    Parameters
    ----------
    classes : int
        The number of logits.
    in_channels : int
        The channels of the images.
    depths : sequence of int
        The number of blocks of each stage. Each stage but the first halves height and width.
    widths : sequence of int
        The channels of each stage; of "bottleneck" blocks, a quarter of them.
    block : {"basic", "bottleneck"}
    stem : {"small", "large"}
        For small images, a 3×3 convolution; for large ones, a 7×7 convolution and a max pooling,
        each of stride 2.
    shortcut : {"padded", "projected"}
        Where the shape changes: without parameters, or a 1×1 convolution and batch normalization.
    groups : int
        The groups of the 3×3 convolution of "bottleneck" blocks: more than one make a ResNeXt.
    width_per_group : int
        Their channels per group where `widths` is 64, and in proportion elsewhere.
    rng : numpy.random.Generator, optional
        Source of the initial values (He's); by default the generator that `manual_seed` sets.

    Raises
    ------
    ValueError
        If an argument is out of range.
    TypeError
        If `rng` is not a generator.

    Notes
    -----
    He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2016: sections 4.2
    (`resnet20`, `resnet32`, `resnet56`) and 3.3 (`resnet18` to `resnet152`). With groups: Xie et
    al., "Aggregated residual transformations for deep neural networks", 2017; wide: Zagoruyko and
    Komodakis, "Wide residual networks", 2016. The names of parameters are torchvision's, so that
    its weights load.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> model = tg.nn.models.resnet20()
    >>> model(np.zeros((2, 3, 32, 32), "f4")).shape, model.summary().parameters
    ((2, 10), 269722)
    """

    def __init__(
        self,
        classes: int = 10,
        in_channels: int = 3,
        depths: Sequence[int] = (3, 3, 3),
        widths: Sequence[int] = (16, 32, 64),
        block: str = "basic",
        stem: str = "small",
        shortcut: str = "padded",
        groups: int = 1,
        width_per_group: int = 64,
        *,
        rng: Rng = None,
    ) -> None:
        owner = type(self).__name__
        self.classes = whole(owner, "classes", classes)
        self.in_channels = whole(owner, "in_channels", in_channels)
        self.depths = wholes(owner, "depths", depths)
        self.widths = wholes(owner, "widths", widths)
        self.block = choice(owner, "block", block, BLOCKS)
        self.stem = choice(owner, "stem", stem, ("small", "large"))
        self.shortcut = choice(owner, "shortcut", shortcut, ("padded", "projected"))
        self.groups = whole(owner, "groups", groups)
        self.width_per_group = whole(owner, "width_per_group", width_per_group)
        if block == "basic" and (groups, width_per_group) != (1, 64):
            raise ValueError(
                f'{owner}: groups is {groups} and width_per_group {width_per_group}, but "basic" '
                'blocks have 1 and 64; expected block="bottleneck"'
            )
        if len(self.depths) != len(self.widths):
            raise ValueError(
                f"{owner}: got {len(self.depths)} depths and {len(self.widths)} widths, expected "
                "one of each per stage"
            )
        rng = generator(owner, rng)
        make, channels = BLOCKS[block], self.widths[0]
        grouped = {} if block == "basic" else {"groups": groups, "width_per_group": width_per_group}
        kernel, stride = (7, 2) if stem == "large" else (3, 1)
        self.conv1 = Conv2d(
            in_channels, channels, kernel, stride, padding=kernel // 2, bias=False, rng=rng
        )
        self.bn1 = BatchNorm2d(channels)
        self.maxpool = MaxPool2d(3, 2, padding=1) if stem == "large" else None
        for stage, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True), 1):
            blocks: list[Module] = []
            for i in range(depth):
                stride = 2 if i == 0 and stage > 1 else 1
                blocks.append(make(channels, width, stride, shortcut, rng, **grouped))
                channels = width * make.expansion
            setattr(self, f"layer{stage}", Sequential(*blocks))
        self.fc = Linear(channels, classes, rng=rng)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one image: (C, H, W)."""
        return (self.in_channels, *((32, 32) if self.stem == "small" else (224, 224)))

    def forward(self, x: TensorLike) -> Tensor:
        """Return logits, of shape (N, classes), for images `x` of shape (N, C, H, W)."""
        y = ops.relu(self.bn1(self.conv1(x)))
        if self.maxpool:
            y = self.maxpool(y)
        for stage in range(1, len(self.depths) + 1):
            y = getattr(self, f"layer{stage}")(y)
        return self.fc(ops.global_avgpool(y))


def _variant(
    name: str, depths: Sequence[int], block: str = "basic", cifar: bool = False, **grouped: int
) -> Callable[..., ResNet]:
    """Return a function that makes a ResNet of these depths."""
    options: dict[str, Any] = {"depths": depths, "block": block, **grouped}
    if not cifar:
        options |= {"widths": (64, 128, 256, 512), "stem": "large", "shortcut": "projected"}

    def make(
        classes: int = 10 if cifar else 1000,
        in_channels: int = 3,
        stem: str = "small" if cifar else "large",
        *,
        rng: Rng = None,
    ) -> ResNet:
        return ResNet(classes, in_channels, **{**options, "stem": stem}, rng=rng)

    layers = re.findall(r"\d+", name)[0]
    images = "CIFAR" if cifar else "ImageNet"
    details = "".join(f", {option}={value}" for option, value in grouped.items())
    make.__name__ = make.__qualname__ = name
    make.__doc__ = (
        f"Return a `ResNet` with {layers} layers{details}, as the paper has it for {images}."
    )
    return make


_cifar, _deep = partial(_variant, cifar=True), partial(_variant, block="bottleneck")
resnet20, resnet32 = _cifar("resnet20", (3, 3, 3)), _cifar("resnet32", (5, 5, 5))
resnet56 = _cifar("resnet56", (9, 9, 9))
resnet18, resnet34 = _variant("resnet18", (2, 2, 2, 2)), _variant("resnet34", (3, 4, 6, 3))
resnet50, resnet101 = _deep("resnet50", (3, 4, 6, 3)), _deep("resnet101", (3, 4, 23, 3))
resnet152 = _deep("resnet152", (3, 8, 36, 3))
wide_resnet50_2 = _deep("wide_resnet50_2", (3, 4, 6, 3), width_per_group=128)
wide_resnet101_2 = _deep("wide_resnet101_2", (3, 4, 23, 3), width_per_group=128)
resnext50_32x4d = _deep("resnext50_32x4d", (3, 4, 6, 3), groups=32, width_per_group=4)
resnext101_32x8d = _deep("resnext101_32x8d", (3, 4, 23, 3), groups=32, width_per_group=8)
resnext101_64x4d = _deep("resnext101_64x4d", (3, 4, 23, 3), groups=64, width_per_group=4)
