"""The benchmark's networks as data, which every framework builds by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tinygrad_cnn.bench.worker.task import JOINS

__all__ = ["DENSENET", "DISCRIMINATOR", "GENERATOR", "LENET5", "MLP", "MOBILENET", "RESNET18",
           "RESNET20", "RESNEXT", "UNET", "VGG", "VGG11", "Network"]  # fmt: skip

Layers: TypeAlias = tuple[tuple[Any, ...], ...]


@dataclass(frozen=True, slots=True)
class Network:
    """A network as data, which every framework builds by itself.

    Attributes
    ----------
    name : str
    input_shape : tuple of int
        Of one example: (C, H, W), or (features,).
    layers : tuple of tuples
        The name of a layer of `torch.nn` and `tinygrad_cnn.nn`, and its arguments, those by keyword
        in a last dict: ``("Conv2d", 3, 16, 3, {"padding": 1, "bias": False})``. Also
        ``("GlobalAvgPool2d",)``; ``("PaddedShortcut", new_channels, stride)``, as in
        `tinygrad_cnn.nn.models.resnet`; and ``("add", branch, ...)`` or ``("concatenate", branch,
        ...)``, which give each branch the same input and join the results, by channels. A branch is
        a tuple of layers; an empty one returns its input.
    loss : {"cross_entropy", "mse", "binary_cross_entropy"}
        "binary_cross_entropy" takes logits.
    classes : int
        The classes of the targets of a cross-entropy.
    target_shape : tuple of int
        Of one example's target: () for a class, (H, W) for a class per pixel.
    """

    name: str
    input_shape: tuple[int, ...]
    layers: Layers
    loss: str = "cross_entropy"
    classes: int = 10
    target_shape: tuple[int, ...] = ()

    @property
    def kinds(self) -> set[str]:
        """The names of its layers."""
        return set(_kinds(self.layers))


def _kinds(layers: Layers) -> Iterator[str]:
    for kind, *rest in layers:
        yield kind
        if kind in JOINS:
            for branch in rest:
                yield from _kinds(branch)


RELU = ("ReLU",)


def _conv(
    channels_in: int, channels_out: int, kernel: int, padding: int, **options: Any
) -> tuple[Any, ...]:
    return ("Conv2d", channels_in, channels_out, kernel, {"padding": padding, **options})


def _normalized(
    channels_in: int,
    channels_out: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    then: Layers = (RELU,),
) -> Layers:
    """Return a convolution that keeps the size, batch normalization and an activation."""
    options = {"stride": stride, "groups": groups, "bias": False}
    convolution = _conv(channels_in, channels_out, kernel, kernel // 2, **options)
    return (convolution, ("BatchNorm2d", channels_out), *then)


LENET5 = Network(
    "LeNet-5",
    (1, 28, 28),
    (
        *(_conv(1, 6, 5, 2), RELU, ("MaxPool2d", 2)),
        *(_conv(6, 16, 5, 0), RELU, ("MaxPool2d", 2)),
        *(("Flatten",), ("Linear", 400, 120), RELU),
        *(("Linear", 120, 84), RELU, ("Linear", 84, 10)),
    ),
)
"""Same as `tinygrad_cnn.nn.LeNet5`."""

VGG = Network(
    "VGG-like",
    (3, 32, 32),
    (
        *(_conv(3, 32, 3, 1), RELU, _conv(32, 32, 3, 1), RELU, ("MaxPool2d", 2)),
        *(_conv(32, 64, 3, 1), RELU, _conv(64, 64, 3, 1), RELU, ("MaxPool2d", 2)),
        *(("Flatten",), ("Linear", 4096, 256), RELU, ("Linear", 256, 10)),
    ),
)
"""Same as `tinygrad_cnn.nn.VGG`."""

MLP = Network("MLP 64-32-10", (64,), (("Linear", 64, 32), RELU, ("Linear", 32, 10)))


def _basic_block(channels_in: int, channels: int, stride: int, projected: bool) -> Layers:
    """Return a residual block of two 3×3 convolutions."""
    main = (
        *_normalized(channels_in, channels, 3, stride),
        *_normalized(channels, channels, 3, then=()),
    )
    shortcut: Layers = ()
    if stride > 1 or channels_in != channels:
        padded = ("PaddedShortcut", channels - channels_in, stride)
        shortcut = (
            _normalized(channels_in, channels, 1, stride, then=()) if projected else (padded,)
        )
    return (("add", main, shortcut), RELU)


def _residual(stem: Layers, widths: Sequence[int], depth: int, classes: int) -> Layers:
    """Return a residual network with `depth` blocks of each width."""
    layers, before = list(stem), widths[0]
    for stage, width in enumerate(widths):
        for k in range(depth):
            stride = 2 if stage > 0 and k == 0 else 1
            layers += _basic_block(before, width, stride, projected=len(widths) > 3)
            before = width
    return (*layers, ("GlobalAvgPool2d",), ("Linear", before, classes))


RESNET20 = Network("ResNet-20", (3, 32, 32), _residual(_normalized(3, 16, 3), (16, 32, 64), 3, 10))
"""Same as `tinygrad_cnn.nn.models.resnet20`."""

RESNET18 = Network(
    "ResNet-18, 224²",
    (3, 224, 224),
    _residual((*_normalized(3, 64, 7, 2), ("MaxPool2d", 3, 2, 1)), (64, 128, 256, 512), 2, 1000),
    classes=1000,
)
"""Same as `tinygrad_cnn.nn.models.resnet18`."""


def _vgg11() -> Layers:
    layers: list[tuple[Any, ...]] = []
    before = 3
    for width, pooled in (
        *((64, True), (128, True), (256, False), (256, True)),
        *((512, False), (512, True), (512, False), (512, True)),
    ):
        layers += [_conv(before, width, 3, 1), RELU]
        layers += [("MaxPool2d", 2)] if pooled else []
        before = width
    return (*layers, ("GlobalAvgPool2d",), ("Linear", 512, 1000))


VGG11 = Network("VGG-11, 224²", (3, 224, 224), _vgg11(), classes=1000)
"""Its eight convolutions, with global average pooling instead of the large linear layers."""


def _mobile() -> Layers:
    clipped = (("ReLU6",),)
    layers, before = list(_normalized(3, 32, 3, then=clipped)), 32
    for expansion, width, count, stride in (
        *((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2)),
        *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
    ):
        for k in range(count):
            inner, step = expansion * before, stride if k == 0 else 1
            main = (
                *(_normalized(before, inner, 1, then=clipped) if expansion > 1 else ()),
                *_normalized(inner, inner, 3, step, groups=inner, then=clipped),
                *_normalized(inner, width, 1, then=()),
            )
            layers += (("add", (), main),) if (step, before) == (1, width) else main
            before = width
    last = _normalized(before, 1280, 1, then=clipped)
    return (*layers, *last, ("GlobalAvgPool2d",), ("Linear", 1280, 10))


MOBILENET = Network("MobileNetV2", (3, 32, 32), _mobile())
"""Same as `tinygrad_cnn.nn.models.MobileNetV2(10, stem="small", dropout=0.0)`."""


def _unet(channels_in: int, width: int, depth: int) -> Layers:
    """Return the levels of a U-Net from this one on, which keep height and width."""

    def two(before: int) -> Layers:
        return (_conv(before, width, 3, 1), RELU, _conv(width, width, 3, 1), RELU)

    if depth == 0:
        return two(channels_in)
    below = (
        ("MaxPool2d", 2),
        *_unet(width, 2 * width, depth - 1),
        ("ConvTranspose2d", 2 * width, width, 2, {"stride": 2}),
    )
    return (*two(channels_in), ("concatenate", (), below), *two(2 * width))


UNET = Network(
    "U-Net, 64×64",
    (1, 64, 64),
    (*_unet(1, 16, 2), _conv(16, 2, 1, 0)),
    classes=2,
    target_shape=(64, 64),
)
"""Same as `tinygrad_cnn.nn.models.UNet(2, in_channels=1, width=16, depth=2, batch_norm=False)`."""


def _rising(channels_in: int, channels_out: int, stride: int) -> tuple[Any, ...]:
    options = {"stride": stride, "padding": int(stride > 1), "bias": False}
    return ("ConvTranspose2d", channels_in, channels_out, 4, options)


GENERATOR = Network(
    "DCGAN generator",
    (64, 1, 1),
    (
        *(_rising(64, 128, 1), ("BatchNorm2d", 128), RELU),
        *(_rising(128, 64, 2), ("BatchNorm2d", 64), RELU),
        *(_rising(64, 32, 2), ("BatchNorm2d", 32), RELU),
        *(_rising(32, 3, 2), ("Tanh",)),
    ),
    loss="mse",
    target_shape=(3, 32, 32),
)
"""Same as `tinygrad_cnn.nn.models.DCGANGenerator(64, width=32, image_size=32)`."""

LEAKY = ("LeakyReLU", 0.2)

DISCRIMINATOR = Network(
    "DCGAN discriminator",
    (3, 32, 32),
    (
        *(_conv(3, 32, 4, 1, stride=2, bias=False), LEAKY),
        *(_conv(32, 64, 4, 1, stride=2, bias=False), ("BatchNorm2d", 64), LEAKY),
        *(_conv(64, 128, 4, 1, stride=2, bias=False), ("BatchNorm2d", 128), LEAKY),
        _conv(128, 1, 4, 0, bias=False),
    ),
    loss="binary_cross_entropy",
    target_shape=(1, 1, 1),
)
"""Same as `tinygrad_cnn.nn.models.DCGANDiscriminator(width=32, image_size=32)`."""


def _dense(growth: int, depths: Sequence[int]) -> Layers:
    layers: list[tuple[Any, ...]] = [_conv(3, 2 * growth, 3, 1, bias=False)]
    channels = 2 * growth
    for k, depth in enumerate(depths):
        if k > 0:
            layers += [("BatchNorm2d", channels), RELU, _conv(channels, channels // 2, 1, 0,
                       bias=False), ("AvgPool2d", 2)]  # fmt: skip
            channels //= 2
        for _ in range(depth):
            first = (("BatchNorm2d", channels), RELU, *_normalized(channels, 4 * growth, 1))
            second = _conv(4 * growth, growth, 3, 1, bias=False)
            layers.append(("concatenate", (), (*first, second)))
            channels += growth
    return (
        *layers,
        ("BatchNorm2d", channels),
        RELU,
        ("GlobalAvgPool2d",),
        ("Linear", channels, 10),
    )


DENSENET = Network("DenseNet-BC", (3, 32, 32), _dense(12, (6, 6, 6)))
"""Same as `tinygrad_cnn.nn.models.DenseNet(depths=(6, 6, 6))`."""


def _grouped_block(channels_in: int, inner: int, channels: int, stride: int) -> Layers:
    main = (
        *_normalized(channels_in, inner, 1),
        *_normalized(inner, inner, 3, stride, groups=32),
        *_normalized(inner, channels, 1, then=()),
    )
    changes = stride > 1 or channels_in != channels
    shortcut = _normalized(channels_in, channels, 1, stride, then=()) if changes else ()
    return (("add", main, shortcut), RELU)


RESNEXT = Network(
    "ResNeXt blocks",
    (3, 32, 32),
    (
        *_normalized(3, 64, 3),
        *_grouped_block(64, 128, 256, 1),
        *_grouped_block(256, 128, 256, 1),
        *_grouped_block(256, 256, 512, 2),
        *_grouped_block(512, 256, 512, 1),
        *(("GlobalAvgPool2d",), ("Linear", 512, 10)),
    ),
)
"""Four blocks of "Aggregated residual transformations for deep neural networks", 32 groups each."""
