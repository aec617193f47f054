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

from tinygrad_cnn.engine import buffer_pool, reordering
from tinygrad_cnn.engine.arrays import Array


class Layout(Enum):
    """A memory layout: the axes of (N, C, H, W), slowest first."""

    IMAGES_FIRST = (0, 1, 2, 3)
    IMAGES_LAST = (2, 3, 1, 0)

    def __init__(self, *order: int) -> None:
        self.order = order
        self.inverse = tuple(order.index(axis) for axis in range(4))

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """Return uninitialized images of `shape` (N, C, H, W) in this layout."""
        return self.images(buffer_pool.empty(tuple([shape[axis] for axis in self.order]), dtype))

    def arranged(self, images: Array, dtype: DTypeLike | None = None) -> Array:
        """Return the images in this layout and `dtype`, without a copy if they already are."""
        memory = images.transpose(self.order)
        if memory.flags.c_contiguous and (dtype is None or memory.dtype == dtype):
            return images
        new = self.empty(images.shape, dtype or images.dtype)
        if new.dtype != images.dtype or new.size < reordering.WORTH:
            new[...] = images
        elif self is Layout.IMAGES_LAST and images.flags.c_contiguous:
            reordering.images_last(images, self.memory(new))
        elif self is Layout.IMAGES_FIRST and Layout.IMAGES_LAST.memory(images).flags.c_contiguous:
            reordering.images_first(Layout.IMAGES_LAST.memory(images), new)
        else:
            new[...] = images
        return new

    def images(self, memory: Array) -> Array:
        """Return memory in this layout as images: a view."""
        return memory.transpose(self.inverse)

    def memory(self, images: Array) -> Array:
        """Return images with their axes in memory order: a view."""
        return images.transpose(self.order)


def like(images: Array, model: Array) -> Array:
    """Return the images in the layout of `model`, if it is a `Layout`."""
    for layout in Layout:
        if layout.memory(model).flags.c_contiguous:
            return layout.arranged(images)
    return images


def rows(images: Array) -> Array:
    """Return (N, C, H, W) as the matrix (N, C·H·W), one row per image."""
    if images.size >= reordering.WORTH and min(images.shape[1:3]) > 1:  # else it can be a view
        images = Layout.IMAGES_FIRST.arranged(images)
    return images.reshape(len(images), -1)
