"""The image sets that the studio trains on. A path is never accepted from a request or a file."""

from __future__ import annotations

from dataclasses import dataclass

from tinygrad_cnn.data.cifar_classes import CIFAR10
from tinygrad_cnn.data.picture import IMAGE, MNIST
from tinygrad_cnn.data.shapes import SHAPES

__all__ = ["DIGITS", "DRAWN_SETS", "DRAWN_SHAPE", "IMAGE_SETS", "ImageSet"]

DIGITS = tuple("0123456789")

DRAWN_SHAPE = (1, 28, 28)
"""The input shape of networks that classify drawings."""


@dataclass(frozen=True)
class ImageSet:
    """A set of training and test images.

    Attributes
    ----------
    input_shape : tuple of int
        (C, H, W): gray with one channel, or color with three.
    classes : tuple of str
    preparation : str
        See `tinygrad_cnn.data.load`.
    """

    input_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    preparation: str

    @property
    def is_drawn(self) -> bool:
        """Whether a network trained on it classifies drawings: gray digits as in MNIST."""
        return (self.input_shape, self.classes) == (DRAWN_SHAPE, DIGITS)


IMAGE_SETS = {
    "european-digits": ImageSet(DRAWN_SHAPE, DIGITS, MNIST),
    "digits": ImageSet(DRAWN_SHAPE, DIGITS, MNIST),
    "mnist": ImageSet(DRAWN_SHAPE, DIGITS, MNIST),
    "cifar10": ImageSet((3, 32, 32), CIFAR10, IMAGE),
    "shapes": ImageSet((3, 32, 32), SHAPES, IMAGE),
}
"""The sets by name; those that need a download are offered where they are on this machine."""

DRAWN_SETS = tuple(name for name, images in IMAGE_SETS.items() if images.is_drawn)
