"""Running one kernel on arrays."""

from __future__ import annotations

import threading
from typing import Any

from tinygrad_cnn.engine.fast.kernel import Kernel
from tinygrad_cnn.engine.fast.machine import KernelCall, Tape

MOST = 512  # tapes that are kept in each thread

_kept = threading.local()  # a tape's tables of addresses and numbers serve one run at a time


def run(kernel: Kernel, *operands: Any, pieces: int = 1, work: int = 0, scratch: int = 0) -> None:
    """Run a kernel on arrays, on several threads if the work is worth it.

    Parameters
    ----------
    kernel : Kernel
    *operands : ndarray, int or float
        For each of ``kernel.operands``: an array for a pointer, which is read or written in the
        order of its memory; an int for a `Whole`, a float for a `Scalar`. The first array decides
        the dtype.
    pieces, work, scratch : int
        As for `KernelCall`.
    """
    kinds = kernel.kinds
    arrays = [o for o, kind in zip(operands, kinds, strict=True) if kind not in _VALUES]
    sizes = tuple([o for o, kind in zip(operands, kinds, strict=True) if kind == "Whole"])
    dtype = arrays[0].dtype
    key = (kernel, dtype, sizes, pieces, work, scratch)
    tapes: dict[Any, Tape] = _kept.__dict__.setdefault("tapes", {})
    tape = tapes.get(key)
    if tape is None:
        if len(tapes) >= MOST:
            tapes.clear()
        tape = tapes[key] = _tape(kernel, dtype, sizes, pieces, work, scratch)
    tape.at[:] = [array.__array_interface__["data"][0] for array in arrays]
    if len(tape.numbers):
        tape.numbers[:] = [o for o, k in zip(operands, kinds, strict=True) if k == "Scalar"]
    tape.run()


_VALUES = ("Whole", "Scalar")


def _tape(
    kernel: Kernel, dtype: Any, sizes: tuple[int, ...], pieces: int, work: int, scratch: int
) -> Tape:
    """Return a program of one row."""
    counts = {"array": 0, "Scalar": 0, "Whole": 0}
    places = []
    for kind in kernel.kinds:
        kind = kind if kind in _VALUES else "array"
        place = counts[kind]
        places.append(sizes[place] if kind == "Whole" else place)
        counts[kind] += 1
    row = KernelCall(kernel, dtype, places, pieces, work, scratch)
    return Tape([row], counts["array"], counts["Scalar"])
