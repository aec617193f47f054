"""Scratch memory: per-thread buffers that are reused from one piece of work to the next.

A piece needs about a megabyte for less than a millisecond; page faults on fresh memory would double
its time. So a thread keeps one block per name and lends all of them to the work it starts. Nested
work (in a signal handler, finalizer or observer) gets new blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from threading import local
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.engine.configuration import configuration

KEPT = 1 << 23  # bytes; larger blocks are not kept

Blocks = dict[str, NDArray[Any]]


class _Own(local):
    """The blocks of a thread: free, or lent to the running work."""

    unused: Blocks | None = None
    lent: Blocks | None = None


_own = _Own()


def with_scratch(work: Callable[[], None]) -> None:
    """Call `work` with the thread's blocks lent to it."""
    outer = _own.lent
    blocks, _own.unused = _own.unused, None
    try:
        _own.lent = {} if blocks is None else blocks
        work()
    finally:
        _own.unused, _own.lent = _own.lent, outer


def scratch(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an uninitialized array, valid until the same work requests `name` again.

    Outside `with_scratch` it is new memory.
    """
    size = math.prod(shape) * dtype.itemsize
    blocks = _own.lent
    block = None if blocks is None else blocks.get(name)
    if block is None or block.size < size:
        block = np.empty(size, np.uint8)
        if blocks is not None and size <= KEPT:
            blocks[name] = block
    memory = block[:size]
    if configuration.get().poison:
        memory.fill(0xFF)  # NaN in every floating dtype
    return memory.view(dtype).reshape(shape)
