"""The clock of all timings, and the allocator's state when they are taken."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

__all__ = ["seconds_of", "settle_allocator"]

LARGEST_KEPT = (32 << 20) - (1 << 16)  # bytes; the largest block that glibc may keep once freed


def seconds_of(call: Callable[[], Any]) -> float:
    """Return the seconds of a call."""
    started = perf_counter()
    result = call()
    taken = perf_counter() - started
    del result  # freeing a large graph is not part of the call
    return taken


def settle_allocator() -> None:
    """Bring glibc's allocator to the state it has in a program that has freed a large array.

    Until then it returns every block above 128 KiB to the system, and its next use costs a page
    fault per 4 KiB. A program that has loaded a data set has left that state; tinygrad_cnn leaves
    it when imported, PyTorch does not. Without it, PyTorch's step of LeNet-5 with 64 images in the
    channels-last layout takes about 1.2 times as long, one of the VGG-like network 1.1 times.
    """
    np.empty(LARGEST_KEPT, np.uint8)  # freed at once; no page of it is touched
