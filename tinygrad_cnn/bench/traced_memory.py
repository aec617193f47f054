"""Peak memory of a call, by tracing its allocations."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

from tinygrad_cnn.engine.threads import num_threads

__all__ = ["peak_bytes"]


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
