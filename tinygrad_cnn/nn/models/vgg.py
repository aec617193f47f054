"""VGG: a small one for small images, and those of the paper (11, 13, 16 and 19 layers)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tinygrad_cnn import ops
from tinygrad_cnn.core.random import Rng, generator
from tinygrad_cnn.core.tensor import Tensor, TensorLike
from tinygrad_cnn.engine.windows import Pair, pair
from tinygrad_cnn.nn.layers import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    MaxPool2d,
    ReLU,
)
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.nn.sequential import Sequential
from tinygrad_cnn.support.arguments import choice, flag, number, whole, wholes


class VGG(Module):
    """A VGG: stages of 3×3 convolutions and a max pooling, then linear layers.

    Parameters
    ----------
    classes : int
        The number of logits.
    in_channels : int
        The channels of the images.
    image_size : int or (int, int)
        Their height and width; each stage halves them.
    widths : sequence of int
        The number of channels of each stage.
    hidden : int
        The width of the fully connected layer.
    batch_norm : bool
        Whether a `BatchNorm2d` follows each convolution, which then has no bias in a small head.
    dropout : float
        The rate of a `Dropout` before the last layer; 0 for none.
    depths : sequence of int, optional
        The number of convolutions of each stage; two by default.
    head : {"small", "large"}
        One hidden layer; or, as the paper has it, two, each with dropout, after an average pooling
        to 7×7, so that the images may have any size from ``2**stages`` on.
    rng : numpy.random.Generator, optional
        Source of the initial values (He's) and of dropout; by default the generator that
        `manual_seed` sets, and for dropout a generator seeded from it (see `Dropout`).

    Raises
    ------
    ValueError
        If an argument is out of range.
    TypeError
        If `rng` is not a generator.

    Notes
    -----
    After Simonyan and Zisserman, "Very deep convolutional networks for large-scale image
    recognition", 2015. `vgg11`, `vgg13`, `vgg16` and `vgg19` are the paper's, with torchvision's
    names of parameters, so that its weights load; `VGG` by itself is small.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> model = tg.nn.VGG()
    >>> model(np.zeros((2, 3, 32, 32), "f4")).shape
    (2, 10)
    """

    def __init__(
        self,
        classes: int = 10,
        in_channels: int = 3,
        image_size: Pair = (32, 32),
        widths: Sequence[int] = (32, 64),
        hidden: int = 256,
        batch_norm: bool = False,
        dropout: float = 0.0,
        depths: Sequence[int] | None = None,
        head: str = "small",
        *,
        rng: Rng = None,
    ) -> None:
        owner = type(self).__name__
        self.classes = whole(owner, "classes", classes)
        self.in_channels = whole(owner, "in_channels", in_channels)
        self.widths = wholes(owner, "widths", widths)
        self.image_size = pair(owner, "image_size", image_size, 2 ** len(self.widths))
        self.hidden = whole(owner, "hidden", hidden)
        self.batch_norm = flag(owner, "batch_norm", batch_norm)
        self.dropout = number(owner, "dropout", dropout, below=1.0)
        self.depths = wholes(owner, "depths", [2] * len(self.widths) if depths is None else depths)
        self.head = choice(owner, "head", head, ("small", "large"))
        if len(self.depths) != len(self.widths):
            raise ValueError(
                f"{owner}: got {len(self.depths)} depths and {len(self.widths)} widths, expected "
                "one of each per stage"
            )
        bias = head == "large" or not batch_norm
        generator(owner, rng)  # only checked: of None, Dropout makes a generator of its own
        layers: list[Module] = []
        before = in_channels
        for depth, width in zip(self.depths, self.widths, strict=True):
            for _ in range(depth):
                layers.append(Conv2d(before, width, 3, padding=1, bias=bias, rng=rng))
                layers += [BatchNorm2d(width), ReLU()] if batch_norm else [ReLU()]
                before = width
            layers.append(MaxPool2d(2))
        self.features = Sequential(*layers)
        self.avgpool = AdaptiveAvgPool2d(7) if head == "large" else None
        sides = (size >> len(self.widths) for size in self.image_size)
        height, width = (7, 7) if self.avgpool else sides
        dense: list[Module] = [Flatten()] if head == "small" else []
        before *= height * width
        for _ in range(2 if head == "large" else 1):
            dense += [Linear(before, hidden, rng=rng), ReLU()]
            dense += [Dropout(dropout, rng=rng)] if dropout or head == "large" else []
            before = hidden
        self.classifier = Sequential(*dense, Linear(before, classes, rng=rng))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one image: (C, H, W)."""
        return (self.in_channels, *self.image_size)

    def forward(self, x: TensorLike) -> Tensor:
        """Return logits, of shape (N, classes), for images `x` of shape (N, C, H, W)."""
        y: Tensor = self.features(x)
        return self.classifier(ops.flatten(self.avgpool(y), 1) if self.avgpool else y)


def _variant(name: str, depths: Sequence[int]) -> Callable[..., VGG]:
    """Return a function that makes a VGG of these depths."""

    def make(
        classes: int = 1000,
        in_channels: int = 3,
        hidden: int = 4096,
        batch_norm: bool = False,
        dropout: float = 0.5,
        *,
        rng: Rng = None,
    ) -> VGG:
        return VGG(
            classes, in_channels, 224, (64, 128, 256, 512, 512), hidden, batch_norm, dropout,
            depths, "large", rng=rng,
        )  # fmt: skip

    layers = name.removeprefix("vgg")
    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"Return a `VGG` with {layers} layers, as the paper has it for ImageNet."
    return make


vgg11, vgg13 = _variant("vgg11", (1, 1, 2, 2, 2)), _variant("vgg13", (2, 2, 2, 2, 2))
vgg16, vgg19 = _variant("vgg16", (2, 2, 3, 3, 3)), _variant("vgg19", (2, 2, 4, 4, 4))
