"""Working memory of a thread, used again from one piece of work to the next.

A piece fills about a megabyte and is done with it in less than a millisecond; memory fresh from the
system would cost as much again in page faults. A thread keeps one block for each `name`.
"""

from __future__ import annotations

import math
from threading import local
from typing import Any

import numpy as np
from numpy.typing import NDArray

KEPT = 1 << 23  # bytes; a larger block is not kept

_own = local()


def scratch(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an array of undefined values, valid until this thread asks for `name` again."""
    size = math.prod(shape) * dtype.itemsize
    block: NDArray[Any] | None = _own.__dict__.get(name)
    if block is None or block.size < size:
        block = np.empty(size, np.uint8)
        if size <= KEPT:
            _own.__dict__[name] = block
    return block[:size].view(dtype).reshape(shape)
