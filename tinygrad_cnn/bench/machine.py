"""Description of the machine and the libraries of a benchmark."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from tinygrad_cnn.engine import fast

__all__ = ["Machine", "cores", "describe"]


@dataclass(frozen=True, slots=True)
class Machine:
    """Properties of the machine and its libraries that affect a measurement.

    Attributes
    ----------
    processor, system, python, numpy : str
    cores : int
        Number of cores available to this process.
    blas : str
        Name and version of NumPy's BLAS.
    kernel : str
        The kernel that it selects, such as "SkylakeX" (AVX-512) or "Haswell" (AVX2).
    blas_threads : int
        Its default number of threads.
    load : float or None
        One-minute load average, where the system provides it.
    numba : str
        The version of Numba (extra `fast`); empty if it is not installed.
    """

    processor: str
    system: str
    cores: int
    python: str
    numpy: str
    blas: str
    kernel: str
    blas_threads: int
    load: float | None
    numba: str = ""


def describe() -> Machine:
    """Describe this machine.

    Examples
    --------
    >>> describe().cores >= 1
    True
    """
    found = [library for library in threadpool_info() if library["user_api"] == "blas"]
    blas: dict[str, Any] = min(
        found, key=lambda library: not _is_numpys(library["filepath"]), default={}
    )
    return Machine(
        processor=_processor(),
        system=f"{platform.system()} {platform.machine()}",
        cores=cores(),
        python=platform.python_version(),
        numpy=np.__version__,
        blas=f"{blas.get('internal_api', 'unknown')} {blas.get('version') or ''}".rstrip(),
        kernel=str(blas.get("architecture", "")),
        blas_threads=int(blas.get("num_threads", 1)),
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        numba=metadata.version("numba") if fast.is_available() else "",
    )


def cores() -> int:
    """Return the number of cores available to this process."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _is_numpys(library: str) -> bool:
    """Return whether NumPy ships the library (SciPy brings its own once imported)."""
    return any(part.split(".")[0] == "numpy" for part in Path(library).parts)


def _processor() -> str:
    """Return the processor's name; on Linux it is read from a file."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
