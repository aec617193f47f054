"""DenseNet: each layer reads the results of all layers before it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import ClassVar

from tinygrad_cnn import ops
from tinygrad_cnn.core.random import Rng, generator
from tinygrad_cnn.core.tensor import Tensor, TensorLike
from tinygrad_cnn.nn.layers import AvgPool2d, BatchNorm2d, Conv2d, Linear, MaxPool2d, ReLU
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.nn.sequential import Sequential
from tinygrad_cnn.support.arguments import choice, whole, wholes


class DenseLayer(Module):
    """A bottleneck of 1×1 and 3×3 convolutions, whose result is appended to its input."""

    def __init__(self, in_channels: int, growth: int, bottleneck: int, rng: Rng = None) -> None:
        self.norm1 = BatchNorm2d(in_channels)
        self.conv1 = Conv2d(in_channels, bottleneck * growth, 1, bias=False, rng=rng)
        self.norm2 = BatchNorm2d(bottleneck * growth)
        self.conv2 = Conv2d(bottleneck * growth, growth, 3, padding=1, bias=False, rng=rng)

    def forward(self, x: Tensor) -> Tensor:
        """Return the channels of `x` and the new ones."""
        y = self.conv1(ops.relu(self.norm1(x)))
        y = self.conv2(ops.relu(self.norm2(y)))
        return ops.concatenate([x, y], 1)


class DenseNet(Module):
    """A densely connected network: dense blocks, with transitions that halve between them.

    Parameters
    ----------
    classes : int
        The number of logits.
    in_channels : int
        The channels of the images.
    depths : sequence of int
        The number of layers of each dense block.
    growth : int
        The channels that each layer adds.
    width : int
        The channels of the stem.
    bottleneck : int
        The channels between the two convolutions of a layer, in multiples of `growth`.
    stem : {"small", "large"}
        For small images, a 3×3 convolution; for large ones, a 7×7 convolution and a max pooling,
        each of stride 2.
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
    Huang et al., "Densely connected convolutional networks", 2017: DenseNet-BC with compression
    ½. The default is the paper's for CIFAR with 100 layers; `densenet121` to `densenet201` are
    those for ImageNet, with torchvision's names of parameters, so that its weights load.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> model = tg.nn.models.DenseNet(depths=(2, 2, 2))
    >>> model(np.zeros((2, 3, 32, 32), "f4")).shape
    (2, 10)
    """

    # The files of weights that torchvision offers for download still have names from before 2019.
    _earlier_names: ClassVar[tuple[tuple[str, str], ...]] = (
        (r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2"),
    )

    def __init__(
        self,
        classes: int = 10,
        in_channels: int = 3,
        depths: Sequence[int] = (16, 16, 16),
        growth: int = 12,
        width: int = 24,
        bottleneck: int = 4,
        stem: str = "small",
        *,
        rng: Rng = None,
    ) -> None:
        owner = type(self).__name__
        self.classes = whole(owner, "classes", classes)
        self.in_channels = whole(owner, "in_channels", in_channels)
        self.depths = wholes(owner, "depths", depths)
        self.growth = whole(owner, "growth", growth)
        self.width = whole(owner, "width", width)
        self.bottleneck = whole(owner, "bottleneck", bottleneck)
        self.stem = choice(owner, "stem", stem, ("small", "large"))
        rng = generator(owner, rng)
        layers: OrderedDict[str, Module] = OrderedDict()
        if stem == "large":
            layers["conv0"] = Conv2d(in_channels, width, 7, 2, 3, bias=False, rng=rng)
            layers |= {"norm0": BatchNorm2d(width), "relu0": ReLU(), "pool0": MaxPool2d(3, 2, 1)}
        else:
            layers["conv0"] = Conv2d(in_channels, width, 3, padding=1, bias=False, rng=rng)
        channels = width
        for k, depth in enumerate(self.depths, 1):
            block = OrderedDict(
                (f"denselayer{i + 1}", DenseLayer(channels + i * growth, growth, bottleneck, rng))
                for i in range(depth)
            )
            layers[f"denseblock{k}"] = Sequential(block)
            channels += depth * growth
            if k < len(self.depths):
                layers[f"transition{k}"] = Sequential(
                    OrderedDict(
                        norm=BatchNorm2d(channels),
                        relu=ReLU(),
                        conv=Conv2d(channels, channels // 2, 1, bias=False, rng=rng),
                        pool=AvgPool2d(2),
                    )
                )
                channels //= 2
        layers[f"norm{len(self.depths) + 1}"] = BatchNorm2d(channels)
        self.features = Sequential(layers)
        self.classifier = Linear(channels, classes, rng=rng)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one image: (C, H, W)."""
        return (self.in_channels, *((32, 32) if self.stem == "small" else (224, 224)))

    def forward(self, x: TensorLike) -> Tensor:
        """Return logits, of shape (N, classes), for images `x` of shape (N, C, H, W)."""
        return self.classifier(ops.global_avgpool(ops.relu(self.features(x))))


def _variant(
    name: str, depths: Sequence[int], growth: int = 32, width: int = 64
) -> Callable[..., DenseNet]:
    """Return a function that makes a DenseNet of these depths."""

    def make(
        classes: int = 1000, in_channels: int = 3, stem: str = "large", *, rng: Rng = None
    ) -> DenseNet:
        return DenseNet(classes, in_channels, depths, growth, width, stem=stem, rng=rng)

    layers = name.removeprefix("densenet")
    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"Return a `DenseNet` with {layers} layers, as the paper has it for ImageNet."
    return make


densenet121 = _variant("densenet121", (6, 12, 24, 16))
densenet161 = _variant("densenet161", (6, 12, 36, 24), 48, 96)
densenet169 = _variant("densenet169", (6, 12, 32, 32))
densenet201 = _variant("densenet201", (6, 12, 48, 32))
