"""In which order images lie in memory. Their shape is (N, C, H, W) in either case.

IMAGES_FIRST  memory (N, C, H, W): an image at a time.
IMAGES_LAST   memory (H, W, C, N): a pixel at a time, all images of it side by side. Whatever moves
              or combines pixels (a shift, a border, a pooling, a window of a convolution) then
              moves runs of C·N values, and no run is shorter than N.

NumPy's elementwise ops keep the order they find, so that arrays are put in order only at the border
of a run of ops. An array is never changed for it: what is in another order is copied.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from numpy.typing import DTypeLike, NDArray

from tinygrad_cnn.engine import buffers, reordering

Array = NDArray[Any]


class Layout(Enum):
    """An order of memory: the axes of (N, C, H, W), the slowest first."""

    IMAGES_FIRST = (0, 1, 2, 3)
    IMAGES_LAST = (2, 3, 1, 0)

    def __init__(self, *order: int) -> None:
        self.order = order
        self.inverse = tuple(order.index(axis) for axis in range(4))

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """Return new images of `shape` (N, C, H, W) in this order."""
        return self.images(buffers.empty(tuple([shape[axis] for axis in self.order]), dtype))

    def arranged(self, images: Array, dtype: DTypeLike | None = None) -> Array:
        """Return the images in this order, and of `dtype`: themselves if they are so already."""
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
        """Return memory in this order as images: a view."""
        return memory.transpose(self.inverse)

    def memory(self, images: Array) -> Array:
        """Return images as their memory, its axes in this order: a view."""
        return images.transpose(self.order)


def like(images: Array, model: Array) -> Array:
    """Return the images in the order of `model`, if that is one of ours."""
    for layout in Layout:
        if layout.memory(model).flags.c_contiguous:
            return layout.arranged(images)
    return images


def rows(images: Array) -> Array:
    """Return (N, C, H, W) as the matrix (N, C·H·W), a row an image."""
    if images.size >= reordering.WORTH and min(images.shape[1:3]) > 1:  # else it may be a view
        images = Layout.IMAGES_FIRST.arranged(images)
    return images.reshape(len(images), -1)
