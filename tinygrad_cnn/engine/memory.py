"""Uninitialized arrays, from memory that the process keeps.

Memory fresh from the system costs a page fault per 4 KiB, often more than computing its contents.
glibc keeps freed blocks up to the size of the largest mapped block freed so far, and twice that
size in total; the size starts at 128 KiB and ends at 32 MiB. So one block of that size is freed
here, before the first step: without it a step of LeNet-5 with 64 images takes 1.2 times as long.

NumPy's large arrays begin 16 bytes after a cache line, so that an access of 64 bytes touches two
lines. Elementwise functions of arrays that begin at a line are up to twice as fast.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

from tinygrad_cnn.engine.arrays import Array, inverse
from tinygrad_cnn.engine.configuration import configuration

np.empty((32 << 20) - (1 << 16), np.uint8)  # freed at once; no page of it is touched

LINE = 64  # bytes of a cache line
LARGE = 1 << 16  # bytes: arrays from this size on begin at a line


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Return an uninitialized array, like ``np.empty``; a large one begins at a cache line."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < LARGE or dtype.hasobject:
        return _uninitialized(np.empty(shape, dtype))
    memory = np.empty(size + LINE, np.uint8)
    start = -memory.__array_interface__["data"][0] % LINE
    return _uninitialized(np.ndarray(shape, dtype, memory, start))


def empty_like(
    model: Array, shape: tuple[int, ...] | None = None, dtype: DTypeLike | None = None
) -> Array:
    """Return an uninitialized array with the memory order of `model`, and its dtype by default."""
    if model.nbytes < LARGE:
        return _uninitialized(np.empty_like(model, dtype, shape=shape, subok=False))
    shape = model.shape if shape is None else shape
    order = sorted(range(model.ndim), key=lambda k: -abs(model.strides[k]))
    array = empty(tuple([shape[k] for k in order]), model.dtype if dtype is None else dtype)
    return array.transpose(inverse(tuple(order)))


def view(array: Array, shape: tuple[int, ...]) -> Array:
    """Return a reshaped view of `array` to write to, never a copy.

    Raises
    ------
    ValueError
        If the strides allow no such view. Then write to an array of that shape and copy it.
    """
    return array.reshape(shape, copy=False)


def _uninitialized(array: Array) -> Array:
    if configuration.get().poison and not array.dtype.hasobject:
        array[...] = np.frombuffer(b"\xff" * array.itemsize, array.dtype)[0]  # NaN, if floating
    return array
