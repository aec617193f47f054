"""Time and peak memory of a call."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from statistics import median
from typing import Any

from tinygrad_cnn.bench.worker.serve import seconds_of
from tinygrad_cnn.engine.threads import num_threads

__all__ = ["peak_bytes", "seconds_per_call"]


def seconds_per_call(call: Callable[[], Any], budget: float) -> float:
    """Return the median seconds of a call, repeated until `budget` seconds are over.

    The first call is a warm-up and does not count, unless it takes longer than the budget.

    Examples
    --------
    >>> seconds_per_call(lambda: None, budget=0.001) >= 0
    True
    """
    taken = [seconds_of(call)]
    if taken[0] < budget:
        taken = [seconds_of(call)]
    while sum(taken) < budget:
        taken.append(seconds_of(call))
    return median(taken)


def peak_bytes(call: Callable[[], Any]) -> int:
    """Return the peak memory of a call in bytes, beyond the memory in use before it.

    Counts allocations by Python and NumPy, on one thread.

    Examples
    --------
    >>> import numpy as np
    >>> 8_000_000 <= peak_bytes(lambda: np.ones(1_000_000)) < 8_100_000
    True
    """
    tracemalloc.start()
    try:
        with num_threads(1):
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            result = call()
            _, peak = tracemalloc.get_traced_memory()
            del result
    finally:
        tracemalloc.stop()
    return peak - before
