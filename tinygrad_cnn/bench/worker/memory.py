"""How much memory a process takes, at its peak."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_of(call: Callable[[], Any], times: int) -> int | None:
    """Return the bytes by which the process grows at the peak of `times` calls.

    Pages of libraries that are read from their files meanwhile do not count. None where the system
    does not tell (it is Linux that does).
    """
    if not CLEAR.exists():
        return None
    gc.collect()
    _give_back()
    try:
        CLEAR.write_text("5")  # the peak begins anew
    except OSError:
        return None
    before = _status()
    for _ in range(times):
        call()
    after = _status()
    files = after["RssFile"] - before["RssFile"]
    return max(after["VmHWM"] - before["VmRSS"] - max(files, 0), 0)


def _give_back() -> None:
    """Let the C library return what is free, so that the peak does not hide in it."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
        if trim is not None:
            trim(0)


def _status() -> dict[str, int]:
    """Return the sizes in the kernel's description of this process, in bytes."""
    lines = [line.split() for line in STATUS.read_text().splitlines()]
    return {line[0].rstrip(":"): int(line[1]) * 1024 for line in lines if line[-1] == "kB"}
