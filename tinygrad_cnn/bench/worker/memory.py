"""Peak memory of a process."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_of(call: Callable[[], Any], times: int, first: int = 0) -> int | None:
    """Return the bytes by which the process grows at the peak of `times` calls.

    Before these are `first` calls, whose peak does not count, but what they leave does. Library
    pages read from files are not counted. None where the system does not report it (only Linux
    does).
    """
    if not CLEAR.exists():
        return None
    gc.collect()
    _give_back()
    before = _status()
    for _ in range(first):
        call()
    if first:
        _give_back()
    try:
        CLEAR.write_text("5")  # reset the peak
    except OSError:
        return None
    for _ in range(times):
        call()
    after = _status()
    files = after["RssFile"] - before["RssFile"]
    return max(after["VmHWM"] - before["VmRSS"] - max(files, 0), 0)


def _give_back() -> None:
    """Make the C library return free memory, so that it does not mask the peak."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
        if trim is not None:
            trim(0)


def _status() -> dict[str, int]:
    """Return the sizes in the kernel's status of this process, in bytes."""
    lines = [line.split() for line in STATUS.read_text().splitlines()]
    return {line[0].rstrip(":"): int(line[1]) * 1024 for line in lines if line[-1] == "kB"}
