"""Running kernels on arrays."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from numpy.typing import DTypeLike

from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.fast.kernel import Kernel
from tinygrad_cnn.engine.fast.machine import KernelCall, Tape
from tinygrad_cnn.engine.fast.row_writer import ArrayRows, RowWriter
from tinygrad_cnn.engine.memory import empty

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
    tape = tapes.pop(key, None)  # not there while it runs: a signal handler may compute
    if tape is None:
        tape = _tape(kernel, dtype, sizes, pieces, work, scratch)
    tape.at[:] = [array.__array_interface__["data"][0] for array in arrays]
    if len(tape.numbers):
        tape.numbers[:] = [o for o, k in zip(operands, kinds, strict=True) if k == "Scalar"]
    tape.run()
    if len(tapes) >= MOST:
        tapes.clear()
    tapes[key] = tape


def run_rows(key: Hashable, write: Callable[[RowWriter], None], arrays: Sequence[Array]) -> None:
    """Run several rows on arrays, contiguous or of the strides that the rows expect.

    Parameters
    ----------
    key : hashable
        What decides the rows; they are written once for each.
    write : callable
        Adds the rows to a writer, in whose table of addresses the arrays are 0, 1, and so on.
    arrays : sequence of ndarray
    """
    tapes: dict[Any, tuple[Tape, list[tuple[int, DTypeLike]]]]
    tapes = _kept.__dict__.setdefault("row_tapes", {})
    known = tapes.pop(key, None)  # not there while it runs: a signal handler may compute
    if known is None:
        rows = _Rows(len(arrays))
        write(rows)
        known = rows.tape(), rows.sizes
    tape, sizes = known
    used = [*arrays, *[empty((count,), dtype) for count, dtype in sizes]]
    tape.at[:] = [array.__array_interface__["data"][0] for array in used]
    tape.run()
    tape.release()  # or hundreds of tapes would keep a megabyte for each thread
    if len(tapes) >= MOST:
        tapes.clear()
    tapes[key] = known


class _Rows(ArrayRows):
    """Rows whose temporaries are allocated for each run."""

    def __init__(self, arrays: int) -> None:
        super().__init__()
        self._count = arrays
        self.sizes: list[tuple[int, DTypeLike]] = []

    def temporary(self, count: int, dtype: DTypeLike) -> int:
        """Return the place of memory for `count` values."""
        self.sizes.append((count, dtype))
        return self._count + len(self.sizes) - 1

    def tape(self) -> Tape:
        """Return the program, without addresses."""
        return Tape(self.rows, self._count + len(self.sizes))


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
