"""LeNet-5."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.random import generator
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.engine.windows import Pair, pair
from tinygrad_cnn.nn.layers import AvgPool2d, Conv2d, Flatten, Linear, MaxPool2d
from tinygrad_cnn.nn.models.activations import ACTIVATIONS
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.support.arguments import choice, whole

POOLINGS: dict[str, type[MaxPool2d | AvgPool2d]] = {"max": MaxPool2d, "average": AvgPool2d}
"""Pooling layers by name."""


class LeNet5(Module):
    """LeNet-5: two convolutions, each followed by pooling, and three fully connected layers.

    Parameters
    ----------
    classes : int
        The number of logits.
    activation : str
        A key of `tinygrad_cnn.nn.ACTIVATIONS`.
    pooling : {"max", "average"}
    in_channels : int
        The channels of the images.
    image_size : int or (int, int)
        Their height and width, at least 12.
    rng : numpy.random.Generator, optional
        Source of the initial values (He's or Glorot's: see `ACTIVATIONS`); by default the generator
        that `manual_seed` sets.

    Raises
    ------
    ValueError
        If an argument is out of range.
    TypeError
        If `rng` is not a generator.

    Notes
    -----
    LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition",
    1998. As in most later versions, C3 is connected to all of S2, pooling has no weights, and the
    output layer is linear.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> model = tg.nn.LeNet5()
    >>> model(np.zeros((32, 1, 28, 28), "f4")).shape
    (32, 10)
    >>> model.summary().parameters
    61706
    """

    def __init__(
        self,
        classes: int = 10,
        activation: str = "relu",
        pooling: str = "max",
        in_channels: int = 1,
        image_size: Pair = (28, 28),
        *,
        rng: np.random.Generator | None = None,
    ) -> None:
        owner = type(self).__name__
        self.classes = whole(owner, "classes", classes)
        self.activation = choice(owner, "activation", activation, ACTIVATIONS)
        self.pooling = choice(owner, "pooling", pooling, POOLINGS)
        self.in_channels = whole(owner, "in_channels", in_channels)
        self.image_size = pair(owner, "image_size", image_size, 12)
        function = ACTIVATIONS[activation].make
        pool = POOLINGS[pooling]
        options: dict[str, Any] = {
            "rng": generator(owner, rng),
            "init": ACTIVATIONS[activation].init,
        }
        height, width = ((size // 2 - 4) // 2 for size in self.image_size)
        self.conv1 = Conv2d(in_channels, 6, 5, padding=2, **options)
        self.activation1 = function()
        self.pool1 = pool(2)
        self.conv2 = Conv2d(6, 16, 5, **options)
        self.activation2 = function()
        self.pool2 = pool(2)
        self.flatten = Flatten()
        self.fc1 = Linear(16 * height * width, 120, **options)
        self.activation3 = function()
        self.fc2 = Linear(120, 84, **options)
        self.activation4 = function()
        self.fc3 = Linear(84, classes, **options)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one image: (C, H, W)."""
        return (self.in_channels, *self.image_size)

    def forward(self, x: Tensor | NDArray[Any]) -> Tensor:
        """Return logits, of shape (N, classes), for images `x` of shape (N, C, H, W)."""
        x = self.pool1(self.activation1(self.conv1(x)))
        x = self.pool2(self.activation2(self.conv2(x)))
        x = self.activation3(self.fc1(self.flatten(x)))
        x = self.activation4(self.fc2(x))
        return self.fc3(x)
