"""Large arrays in memory that is used again.

Memory fresh from the system costs a page fault for every 4 KiB, several times what computing its
contents costs. So the blocks of large arrays are kept. An array handed out is a view of its block,
and NumPy lets every further view, every slice and every buffer of it hold the block as well: as
long as anything sees the memory, the block has more references than ours. Only a block that nobody
else refers to is handed out again.
"""

from __future__ import annotations

import math
import os
import sys
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tinygrad_cnn.engine.configuration import configuration

Array = NDArray[Any]

LARGE = 1 << 17  # bytes; below, the allocator itself uses memory again
ROUND = 1 << 14  # sizes are rounded up to this, so that nearly equal ones share blocks

# Without a GIL a reference count says nothing about other threads.
_counts_are_exact = getattr(sys, "_is_gil_enabled", lambda: True)()


def _unused(blocks: list[Array], references: int) -> Array | None:
    """Return the last of the blocks that has so many references, the list's among them."""
    for block in reversed(blocks):
        if sys.getrefcount(block) == references:
            return block
    return None


# How many references that function counts where the list's is the only one.
OURS = next(n for n in range(10) if _unused([np.empty(0)], n) is not None)


class Blocks:
    """Blocks of memory by their size; the ones used last stand last."""

    def __init__(self) -> None:
        self._by_size: dict[int, list[Array]] = {}
        self._lock = RLock()  # a signal handler or finalizer may take a block in between

    def take(self, size: int) -> Array:
        """Return a block that nobody uses, of at least `size` bytes and at most twice as many."""
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
        """How many bytes are held, in use or not."""
        return sum(size * len(blocks) for size, blocks in list(self._by_size.items()))

    def _free(self, size: int) -> Array | None:
        """Return a block of `size` bytes that nobody uses; if there is none, a larger one.

        So the blocks that one layer is done with serve the next, whose arrays are smaller.
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
        """Let go of blocks that nobody uses until at most `limit` bytes are held."""
        for blocks in list(self._by_size.values()):
            while self.held > limit and (block := _unused(blocks, OURS)) is not None:
                del blocks[next(k for k, other in enumerate(blocks) if other is block)]


_blocks = Blocks()


def release() -> None:
    """Let go of all blocks that nobody uses."""
    with _blocks._lock:
        _blocks._release(0)


def view(array: Array, shape: tuple[int, ...]) -> Array:
    """Return `array` in another shape as a view, to write to: writes to a copy would be lost.

    Raises
    ------
    ValueError
        If the strides allow no such view: write to scratch memory instead, and copy it.
    """
    return array.reshape(shape, copy=False)


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Return an array of undefined values, as ``np.empty`` does."""
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
    """Return an array of undefined values whose axes lie in memory in the order of `model`'s."""
    shape, dtype = shape or model.shape, np.dtype(dtype or model.dtype)
    if math.prod(shape) * dtype.itemsize < LARGE and not configuration.get().poison:
        return np.empty_like(model, dtype, shape=shape, subok=False)
    order = sorted(range(model.ndim), key=lambda axis: -abs(model.strides[axis]))
    memory = empty(tuple([shape[axis] for axis in order]), dtype)
    return memory.transpose([order.index(axis) for axis in range(model.ndim)])


def _start_afresh() -> None:
    """After a fork: the lock may be held by a thread that was not copied."""
    _blocks._lock = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)
