"""Memory layouts of images. The shape is (N, C, H, W) in either layout.

IMAGES_FIRST  memory (N, C, H, W): image by image.
IMAGES_LAST   memory (H, W, C, N): pixel by pixel, with the images adjacent. An op that moves or
              combines pixels (shift, border, pooling, window of a convolution) then moves
              contiguous stretches of C·N values, none shorter than N.

NumPy's elementwise ops preserve the layout, so arrays are converted only where a sequence of ops
begins or ends. A conversion copies; it never changes an array in place.
"""

from __future__ import annotations

from enum import Enum

from numpy.typing import DTypeLike

from tinygrad_cnn.engine import memory
from tinygrad_cnn.engine.arrays import Array, inverse


class Layout(Enum):
    """A memory layout: the axes of (N, C, H, W), slowest first."""

    IMAGES_FIRST = (0, 1, 2, 3)
    IMAGES_LAST = (2, 3, 1, 0)
    CHANNELS_LAST = (0, 2, 3, 1)

    def __init__(self, *order: int) -> None:
        self.order = order
        self.inverse = inverse(order)

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """Return uninitialized images of `shape` (N, C, H, W) in this layout."""
        return self.images(memory.empty(tuple([shape[axis] for axis in self.order]), dtype))

    def arranged(self, images: Array) -> Array:
        """Return the images in this layout, without a copy if they already are."""
        memory = self.memory(images)
        return images if memory.flags.c_contiguous else self.images(memory.copy())

    def images(self, memory: Array) -> Array:
        """Return memory in this layout as images: a view."""
        return memory.transpose(self.inverse)

    def memory(self, images: Array) -> Array:
        """Return images with their axes in memory order: a view."""
        return images.transpose(self.order)


def like(images: Array, model: Array) -> Array:
    """Return the images in the layout of `model`, if it is a `Layout`."""
    for layout in Layout if model.ndim == 4 else ():
        if layout.memory(model).flags.c_contiguous:
            return layout.arranged(images)
    return images
