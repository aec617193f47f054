"""A buffer pool for large arrays.

Fresh memory from the system costs a page fault per 4 KiB, several times the cost of computing its
contents. So the pool keeps the blocks of large arrays. An array is a view of its block, and every
view, slice and buffer of the array also holds a reference to the block. The pool reuses a block
only if the pool's own reference is the last one.
"""

from __future__ import annotations

import math
import os
import sys
from threading import RLock

import numpy as np
from numpy.typing import DTypeLike

from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.configuration import configuration

LARGE = 1 << 17  # bytes; the allocator itself reuses smaller blocks
ROUND = 1 << 14  # sizes are rounded up to a multiple, so that similar sizes share blocks

# Without a GIL, reference counts are not reliable across threads.
_counts_are_exact = getattr(sys, "_is_gil_enabled", lambda: True)()


def _unused(blocks: list[Array], references: int) -> Array | None:
    """Return the last block with this number of references, including the list's."""
    for block in reversed(blocks):
        if sys.getrefcount(block) == references:
            return block
    return None


# The number of references counted by that function if the list's is the only one.
OURS = next(n for n in range(10) if _unused([np.empty(0)], n) is not None)


class Blocks:
    """The pool: blocks by size, most recently added last."""

    def __init__(self) -> None:
        self._by_size: dict[int, list[Array]] = {}
        self._lock = RLock()  # reentrant: a signal handler or finalizer may take a block

    def take(self, size: int) -> Array:
        """Return a free block of at least `size` and at most 2·`size` bytes."""
        size = -(-size // ROUND) * ROUND
        with self._lock:
            now = configuration.get()
            block = self._free(size)
            if block is not None:
                return block
            block = np.empty(size, np.uint8)
            if self.held + size > now.memory_limit:
                self._release(now.memory_limit - size)
            if self.held + size <= now.memory_limit:
                self._by_size.setdefault(size, []).append(block)
            return block

    @property
    def held(self) -> int:
        """The number of bytes in the pool, in use or free."""
        return sum(size * len(blocks) for size, blocks in list(self._by_size.items()))

    def _free(self, size: int) -> Array | None:
        """Return a free block of `size` bytes, else a larger one, else None.

        So the next layer, whose arrays are smaller, reuses the blocks of the previous one.
        """
        block = _unused(self._by_size.get(size, []), OURS)
        if block is None:
            for larger in sorted(self._by_size):
                if not size < larger <= 2 * size:
                    continue
                block = _unused(self._by_size[larger], OURS)
                if block is not None:
                    break
        return block

    def _release(self, limit: int) -> None:
        """Drop free blocks until the pool holds at most `limit` bytes."""
        for blocks in list(self._by_size.values()):
            while self.held > limit and (block := _unused(blocks, OURS)) is not None:
                del blocks[next(k for k, other in enumerate(blocks) if other is block)]


_blocks = Blocks()


def release() -> None:
    """Drop all free blocks."""
    with _blocks._lock:
        _blocks._release(0)


def view(array: Array, shape: tuple[int, ...]) -> Array:
    """Return a reshaped view of `array` to write to, never a copy.

    Raises
    ------
    ValueError
        If the strides allow no such view. Then write to scratch memory and copy it.
    """
    return array.reshape(shape, copy=False)


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Return an uninitialized array, like ``np.empty``."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < LARGE or dtype.hasobject or not _counts_are_exact:
        array = np.empty(shape, dtype)
    else:
        array = np.ndarray(shape, dtype, _blocks.take(size))
    if configuration.get().poison and not dtype.hasobject:
        view(array, (-1,)).view(np.uint8).fill(0xFF)  # NaN in every floating dtype
    return array


def empty_like(model: Array, shape: tuple[int, ...] = (), dtype: DTypeLike | None = None) -> Array:
    """Return an uninitialized array with the memory order of `model`."""
    shape, dtype = shape or model.shape, np.dtype(dtype or model.dtype)
    if math.prod(shape) * dtype.itemsize < LARGE and not configuration.get().poison:
        return np.empty_like(model, dtype, shape=shape, subok=False)
    order = sorted(range(model.ndim), key=lambda axis: -abs(model.strides[axis]))
    memory = empty(tuple([shape[axis] for axis in order]), dtype)
    return memory.transpose([order.index(axis) for axis in range(model.ndim)])


def _start_afresh() -> None:
    """Replace the lock after a fork: a thread that was not copied may hold it."""
    _blocks._lock = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)
