"""Working memory of a thread, used again from one piece of work to the next.

A piece fills about a megabyte and is done with it in less than a millisecond; memory fresh from the
system would cost as much again in page faults. So a thread keeps a block for each name, and lends
them all to the work that it begins. Work that comes in between (of a signal handler, a finalizer or
an observer) finds nothing to borrow and gets blocks of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from threading import local
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.engine.configuration import configuration

KEPT = 1 << 23  # bytes; a larger block is not kept

Blocks = dict[str, NDArray[Any]]


class _Own(local):
    """The blocks of a thread: those that nobody uses, and those of the work that runs now."""

    unused: Blocks | None = None
    lent: Blocks | None = None


_own = _Own()


def with_scratch(work: Callable[[], None]) -> None:
    """Call `work`, and lend it the thread's blocks meanwhile."""
    outer = _own.lent
    blocks, _own.unused = _own.unused, None
    try:
        _own.lent = {} if blocks is None else blocks
        work()
    finally:
        _own.unused, _own.lent = _own.lent, outer


def scratch(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an array of undefined values, valid until the same work asks for `name` again.

    Outside of `with_scratch` it is new memory.
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
