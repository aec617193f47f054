"""The arena: one piece of memory for all values of a tape, which share it when they can."""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass

LINE = 64  # bytes of a cache line, at which each block begins
FOREVER = 1 << 62  # the last instruction of a block that others read after the run


@dataclass(eq=False, slots=True)
class MemoryBlock:
    """Memory that is in use from one instruction to another, both included.

    Attributes
    ----------
    size : int
        In bytes.
    first, last : int
        The instruction that writes to it first, and the last that reads it.
    offset : int
        Its place in the arena, from `plan`.
    """

    size: int
    first: int
    last: int
    offset: int = 0


def plan(blocks: Iterable[MemoryBlock]) -> int:
    """Place the blocks, and return the size of the arena in bytes.

    Blocks that are in use at the same time do not overlap. The largest blocks come first, each at
    the lowest place that is free while it is in use.

    Examples
    --------
    >>> first, second, third = MemoryBlock(64, 0, 1), MemoryBlock(64, 1, 2), MemoryBlock(64, 2, 3)
    >>> plan([first, second, third])
    128
    >>> first.offset, second.offset, third.offset
    (0, 64, 0)
    """
    placed: list[tuple[int, int, MemoryBlock]] = []  # by offset; the number makes the order unique
    whole = 0
    for number, block in enumerate(sorted(blocks, key=lambda each: -each.size)):
        size = -(-block.size // LINE) * LINE
        offset = 0
        for start, _, other in placed:
            if other.first > block.last or other.last < block.first:
                continue
            if offset + size <= start:
                break
            offset = max(offset, start + -(-other.size // LINE) * LINE)
        block.offset = offset
        whole = max(whole, offset + size)
        bisect.insort(placed, (offset, number, block))
    return whole
