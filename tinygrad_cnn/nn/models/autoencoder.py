"""A convolutional autoencoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygrad_cnn.core.random import Rng, generator
from tinygrad_cnn.core.tensor import Tensor, TensorLike
from tinygrad_cnn.core.variable import array_of
from tinygrad_cnn.nn.layers import Conv2d, ConvTranspose2d, ReLU, Sigmoid
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.nn.sequential import Sequential
from tinygrad_cnn.support.arguments import whole, wholes


class ConvAutoencoder(Module):
    """An encoder of strided convolutions, and a decoder of transposed ones that mirrors it.

    Parameters
    ----------
    in_channels : int
        The channels of the images, whose values are in [0, 1].
    widths : sequence of int
        The channels of each level of the encoder, which halves height and width. The last is the
        code.
    rng : numpy.random.Generator, optional
        Source of the initial values (He's); by default the generator that `manual_seed` sets.

    Attributes
    ----------
    encoder, decoder : Sequential

    Raises
    ------
    ValueError
        If an argument is out of range. On a call, if height and width of the images are not
        multiples of 2 ** len(widths).
    TypeError
        If `rng` is not a generator.

    Notes
    -----
    Masci et al., "Stacked convolutional auto-encoders for hierarchical feature extraction", 2011,
    with strides in the place of poolings.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> model = tg.nn.models.ConvAutoencoder(widths=(4, 2))
    >>> images = np.zeros((2, 1, 28, 28), "f4")
    >>> model.encoder(images).shape, model(images).shape
    ((2, 2, 7, 7), (2, 1, 28, 28))
    """

    def __init__(
        self, in_channels: int = 1, widths: Sequence[int] = (16, 8), *, rng: Rng = None
    ) -> None:
        owner = type(self).__name__
        self.in_channels = whole(owner, "in_channels", in_channels)
        self.widths = wholes(owner, "widths", widths)
        rng = generator(owner, rng)
        channels = [self.in_channels, *self.widths]
        down: list[Module] = []
        up: list[Module] = [Sigmoid()]
        for wide, narrow in zip(channels[1:], channels, strict=False):
            down += [Conv2d(narrow, wide, 3, 2, 1, rng=rng), ReLU()]
            up[:0] = [ReLU(), ConvTranspose2d(wide, narrow, 4, 2, 1, rng=rng)]
        self.encoder = Sequential(*down[:-1])  # the code may be negative
        self.decoder = Sequential(*up)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one image: (C, H, W)."""
        return (self.in_channels, 28, 28) if len(self.widths) <= 2 else (self.in_channels, 64, 64)

    def forward(self, x: TensorLike) -> Tensor:
        """Return images like `x`, of shape (N, C, H, W), made from their codes."""
        shape, multiple = np.shape(array_of(x)), 2 ** len(self.widths)
        if len(shape) != 4 or any(size % multiple for size in shape[2:]):
            raise ValueError(
                f"{type(self).__name__}: x has shape {shape}, expected "
                f"(N, {self.in_channels}, H, W) with H and W multiples of {multiple}"
            )
        return self.decoder(self.encoder(x))
