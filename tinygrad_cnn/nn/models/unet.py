"""U-Net: a network from images to images, for segmentation."""

from __future__ import annotations

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.core.random import Rng, generator
from tinygrad_cnn.core.tensor import Tensor, TensorLike
from tinygrad_cnn.core.variable import array_of
from tinygrad_cnn.nn.containers import ModuleList
from tinygrad_cnn.nn.layers import BatchNorm2d, Conv2d, ConvTranspose2d, MaxPool2d, ReLU, Upsample
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.nn.sequential import Sequential
from tinygrad_cnn.support.arguments import choice, flag, whole


class UNet(Module):
    """A U-Net: a path down that doubles the channels, and one up that joins what the first kept.

    Parameters
    ----------
    classes : int
        The number of logits of each pixel.
    in_channels : int
        The channels of the images.
    width : int
        The channels of the first level; they double with each level.
    depth : int
        The number of poolings; height and width of the images are multiples of 2 ** depth.
    up : {"transposed", "bilinear"}
        Whether a transposed convolution doubles height and width, or interpolation and a 1×1
        convolution.
    batch_norm : bool
        Whether a `BatchNorm2d` follows each convolution, which then has no bias.
    rng : numpy.random.Generator, optional
        Source of the initial values (He's); by default the generator that `manual_seed` sets.

    Raises
    ------
    ValueError
        If an argument is out of range. On a call, if the images do not have such a size.
    TypeError
        If `rng` is not a generator.

    Notes
    -----
    Ronneberger, Fischer and Brox, "U-Net: convolutional networks for biomedical image
    segmentation", 2015. Its convolutions have no padding; here they keep the size, so that the
    result has one prediction for each pixel.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> model = tg.nn.models.UNet(2, in_channels=1, width=4, depth=2)
    >>> model(np.zeros((1, 1, 16, 24), "f4")).shape
    (1, 2, 16, 24)
    """

    def __init__(
        self,
        classes: int = 2,
        in_channels: int = 3,
        width: int = 64,
        depth: int = 4,
        up: str = "transposed",
        batch_norm: bool = True,
        *,
        rng: Rng = None,
    ) -> None:
        owner = type(self).__name__
        self.classes = whole(owner, "classes", classes)
        self.in_channels = whole(owner, "in_channels", in_channels)
        self.width = whole(owner, "width", width)
        self.depth = whole(owner, "depth", depth)
        self.up = choice(owner, "up", up, ("transposed", "bilinear"))
        self.batch_norm = flag(owner, "batch_norm", batch_norm)
        rng = generator(owner, rng)
        widths = [width * 2**level for level in range(depth + 1)]
        inputs = [in_channels, *widths]
        self.down = ModuleList(
            _two_convolutions(inputs[level], widths[level], batch_norm, rng)
            for level in range(depth + 1)
        )
        self.pool = MaxPool2d(2)
        rising = range(depth - 1, -1, -1)
        self.rise = ModuleList(
            _doubled(widths[level + 1], widths[level], up, rng) for level in rising
        )
        self.join = ModuleList(
            _two_convolutions(2 * widths[level], widths[level], batch_norm, rng) for level in rising
        )
        self.head = Conv2d(width, classes, 1, rng=rng)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one image, of the smallest size that summaries show: (C, H, W)."""
        return (self.in_channels, 2**self.depth * 2, 2**self.depth * 2)

    def forward(self, x: TensorLike) -> Tensor:
        """Return logits, of shape (N, classes, H, W), for images `x` of shape (N, C, H, W)."""
        shape = np.shape(array_of(x))
        if len(shape) != 4 or any(size % 2**self.depth for size in shape[2:]):
            raise ValueError(
                f"{type(self).__name__}: x has shape {shape}, expected "
                f"(N, {self.in_channels}, H, W) with H and W multiples of {2**self.depth}"
            )
        kept: list[Tensor] = []
        y: Tensor = self.down[0](x)
        for level in range(1, self.depth + 1):
            kept.append(y)
            y = self.down[level](self.pool(y))
        for rise, join in zip(self.rise, self.join, strict=True):
            y = join(ops.concatenate([kept.pop(), rise(y)], 1))
        return self.head(y)


def _two_convolutions(
    in_channels: int, out_channels: int, batch_norm: bool, rng: Rng
) -> Sequential:
    layers: list[Module] = []
    for channels in (in_channels, out_channels):
        layers.append(Conv2d(channels, out_channels, 3, padding=1, bias=not batch_norm, rng=rng))
        layers += [BatchNorm2d(out_channels), ReLU()] if batch_norm else [ReLU()]
    return Sequential(*layers)


def _doubled(in_channels: int, out_channels: int, up: str, rng: Rng) -> Module:
    """Return a layer that doubles height and width."""
    if up == "transposed":
        return ConvTranspose2d(in_channels, out_channels, 2, 2, rng=rng)
    smooth = Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    return Sequential(smooth, Conv2d(in_channels, out_channels, 1, rng=rng))
