"""DCGAN: a generator of images, and a discriminator that tells them from real ones."""

from __future__ import annotations

import math
from functools import partial

from tinygrad_cnn import ops
from tinygrad_cnn.core.random import Rng, generator
from tinygrad_cnn.core.tensor import Tensor, TensorLike
from tinygrad_cnn.nn import init
from tinygrad_cnn.nn.layers import BatchNorm2d, Conv2d, ConvTranspose2d, LeakyReLU, ReLU, Tanh
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.nn.sequential import Sequential
from tinygrad_cnn.support.arguments import whole

_SMALL = init.normal(0.02)
"""The paper's initial values."""


def _levels(owner: str, image_size: int) -> int:
    """Return how often 4 doubles to `image_size`."""
    levels = int(math.log2(whole(owner, "image_size", image_size, 8))) - 2
    if 4 << levels != image_size:
        raise ValueError(f"{owner}: image_size is {image_size}, expected 8, 16, 32, 64, ...")
    return levels


class DCGANGenerator(Module):
    """Transposed convolutions from a random vector to an image with values in (−1, 1).

    Parameters
    ----------
    latent : int
        The length of the random vector.
    channels : int
        The channels of the images.
    width : int
        The channels of the last hidden level; they double with each level before.
    image_size : int
        The height and width of the images: 8, 16, 32, 64, ...
    rng : numpy.random.Generator, optional
        Source of the initial values (σ = 0.02); by default the generator that `manual_seed` sets.

    Raises
    ------
    ValueError
        If an argument is out of range.
    TypeError
        If `rng` is not a generator.

    Notes
    -----
    Radford, Metz and Chintala, "Unsupervised representation learning with deep convolutional
    generative adversarial networks", 2016.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> model = tg.nn.models.DCGANGenerator(latent=16, width=8, image_size=32)
    >>> model(np.zeros((2, 16), "f4")).shape
    (2, 3, 32, 32)
    """

    def __init__(
        self,
        latent: int = 100,
        channels: int = 3,
        width: int = 64,
        image_size: int = 64,
        *,
        rng: Rng = None,
    ) -> None:
        owner = type(self).__name__
        self.latent = whole(owner, "latent", latent)
        self.channels = whole(owner, "channels", channels)
        self.width = whole(owner, "width", width)
        levels = _levels(owner, image_size)
        self.image_size = image_size
        rising = partial(ConvTranspose2d, bias=False, init=_SMALL, rng=generator(owner, rng))
        wide = width << (levels - 1)
        layers: list[Module] = [rising(latent, wide, 4, 1, 0), BatchNorm2d(wide), ReLU()]
        for _ in range(levels - 1):
            layers += [rising(wide, wide // 2, 4, 2, 1), BatchNorm2d(wide // 2), ReLU()]
            wide //= 2
        self.main = Sequential(*layers, rising(wide, channels, 4, 2, 1), Tanh())

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one random vector."""
        return (self.latent,)

    def forward(self, z: TensorLike) -> Tensor:
        """Return images, of shape (N, channels, H, W), for vectors of shape (N, latent)."""
        return self.main(ops.reshape(z, (-1, self.latent, 1, 1)))


class DCGANDiscriminator(Module):
    """Strided convolutions from an image to one logit: real, or made by the generator.

    Parameters
    ----------
    channels : int
        The channels of the images.
    width : int
        The channels of the first level; they double with each level.
    image_size : int
        The height and width of the images: 8, 16, 32, 64, ...
    rng : numpy.random.Generator, optional
        Source of the initial values (σ = 0.02); by default the generator that `manual_seed` sets.

    Raises
    ------
    ValueError
        If an argument is out of range.
    TypeError
        If `rng` is not a generator.

    Notes
    -----
    As for `DCGANGenerator`. The result is a logit, for
    `tinygrad_cnn.binary_cross_entropy_with_logits`.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> model = tg.nn.models.DCGANDiscriminator(width=8, image_size=32)
    >>> model(np.zeros((2, 3, 32, 32), "f4")).shape
    (2,)
    """

    def __init__(
        self, channels: int = 3, width: int = 64, image_size: int = 64, *, rng: Rng = None
    ) -> None:
        owner = type(self).__name__
        self.channels = whole(owner, "channels", channels)
        self.width = whole(owner, "width", width)
        levels = _levels(owner, image_size)
        self.image_size = image_size
        strided = partial(Conv2d, bias=False, init=_SMALL, rng=generator(owner, rng))
        layers: list[Module] = [strided(channels, width, 4, 2, 1), LeakyReLU(0.2)]
        for level in range(levels - 1):
            wide = width << level
            layers += [strided(wide, 2 * wide, 4, 2, 1), BatchNorm2d(2 * wide), LeakyReLU(0.2)]
        self.main = Sequential(*layers, strided(width << (levels - 1), 1, 4))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one image: (C, H, W)."""
        return (self.channels, self.image_size, self.image_size)

    def forward(self, x: TensorLike) -> Tensor:
        """Return logits, of shape (N,), for images `x` of shape (N, C, H, W)."""
        return ops.reshape(self.main(x), (-1,))
