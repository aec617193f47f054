"""Images as planes of pixels in memory, and the pieces of them that are computed at a time.

In each layout contiguous images are planes × rows × columns × length in memory, where the values of
a pixel, `length` of them, are adjacent: (N·C, H, W, 1) with the images first, (1, H, W, C·N) with
the images last, (N, H, W, C) with the channels last.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from tinygrad_cnn.engine import memory
from tinygrad_cnn.engine.arrays import Array, Shape, inverse

Order: TypeAlias = tuple[int, ...]  # the axes of (N, C, H, W) or (C, H, W), slowest first
Span: TypeAlias = tuple[int, int]  # from the first to before the last

PIECE = 1 << 20  # bytes of an image that one piece of work reads or writes

_ORDERS: dict[int, tuple[Order, ...]] = {
    3: ((0, 1, 2), (1, 2, 0)),
    4: ((0, 1, 2, 3), (2, 3, 1, 0), (0, 2, 3, 1)),
}


def arranged(images: Array) -> tuple[Array, Order]:
    """Return the images and the order of their axes; copied if they are not contiguous planes."""
    if images.dtype.isnative:
        for order in _ORDERS[images.ndim]:
            if images.transpose(order).flags.c_contiguous:
                return images, order
    images = images.astype(images.dtype.newbyteorder("="), order="K")
    for order in _ORDERS[images.ndim]:
        if images.transpose(order).flags.c_contiguous:
            return images, order
    return np.ascontiguousarray(images), _ORDERS[images.ndim][0]


def ordered(images: Array, order: Order) -> Array:
    """Return the images with their axes in the given order in memory; copied if they are not."""
    turned = images.transpose(order)
    if turned.flags.c_contiguous and images.dtype.isnative:
        return images
    native = images.dtype.newbyteorder("=")
    return np.ascontiguousarray(turned, native).transpose(inverse(order))


def planes(images: Array, order: Order) -> Array:
    """Return contiguous images as planes, a view: (planes, H, W, length)."""
    turned, height = images.transpose(order), order.index(images.ndim - 2)
    shape = turned.shape
    count, length = math.prod(shape[:height]), math.prod(shape[height + 2 :])
    return memory.view(turned, (count, shape[height], shape[height + 1], length))


def empty(shape: Shape, order: Order, dtype: DTypeLike) -> Array:
    """Return uninitialized images with their axes in the given order in memory."""
    return memory.empty(tuple([shape[axis] for axis in order]), dtype).transpose(inverse(order))


def pieces(count: int, rows: int, row_bytes: int) -> list[tuple[Span, Span]]:
    """Cut planes of `rows` rows into pieces of whole planes, or else of rows of one plane."""
    height = min(rows, max(1, PIECE // max(1, row_bytes)))
    height = -(-rows // -(-rows // height))
    depth = max(1, PIECE // max(1, rows * row_bytes)) if height == rows else 1
    return [
        ((first, min(first + depth, count)), (top, min(top + height, rows)))
        for first in range(0, count, depth)
        for top in range(0, rows, height)
    ]
