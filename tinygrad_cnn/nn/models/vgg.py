"""A small VGG."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygrad_cnn.core.random import generator
from tinygrad_cnn.core.tensor import Tensor, TensorLike
from tinygrad_cnn.engine.windows import Pair, pair
from tinygrad_cnn.nn.layers import BatchNorm2d, Conv2d, Dropout, Flatten, Linear, MaxPool2d, ReLU
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.nn.sequential import Sequential
from tinygrad_cnn.support.arguments import flag, number, whole, wholes


class VGG(Module):
    """A small VGG: stages of two 3×3 convolutions and a max pooling, then two linear layers.

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
        Whether a `BatchNorm2d` follows each convolution, which then has no bias.
    dropout : float
        The rate of a `Dropout` before the last layer; 0 for none.
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
    recognition", 2015.

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
        *,
        rng: np.random.Generator | None = None,
    ) -> None:
        owner = type(self).__name__
        self.classes = whole(owner, "classes", classes)
        self.in_channels = whole(owner, "in_channels", in_channels)
        self.widths = wholes(owner, "widths", widths)
        self.image_size = pair(owner, "image_size", image_size, 2 ** len(self.widths))
        self.hidden = whole(owner, "hidden", hidden)
        self.batch_norm = flag(owner, "batch_norm", batch_norm)
        self.dropout = number(owner, "dropout", dropout, below=1.0)
        generator(owner, rng)  # only checked: of None, Dropout makes a generator of its own
        layers: list[Module] = []
        before = in_channels
        for width in self.widths:
            for _ in range(2):
                layers.append(Conv2d(before, width, 3, padding=1, bias=not batch_norm, rng=rng))
                layers += [BatchNorm2d(width), ReLU()] if batch_norm else [ReLU()]
                before = width
            layers.append(MaxPool2d(2))
        self.features = Sequential(*layers)
        height, width = (size >> len(self.widths) for size in self.image_size)
        self.classifier = Sequential(
            Flatten(),
            Linear(before * height * width, hidden, rng=rng),
            ReLU(),
            *([Dropout(dropout, rng=rng)] if dropout else []),
            Linear(hidden, classes, rng=rng),
        )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one image: (C, H, W)."""
        return (self.in_channels, *self.image_size)

    def forward(self, x: TensorLike) -> Tensor:
        """Return logits, of shape (N, classes), for images `x` of shape (N, C, H, W)."""
        return self.classifier(self.features(x))
