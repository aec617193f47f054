"""The machine: one compiled function that runs programs of kernels on one or several threads.

A program is a matrix of whole numbers. Each row is a call of a kernel: its address, the number of
pieces that it is computed in, and its operands. Several threads run the same program: each takes
the next piece of the current row that is left, and goes on to the next row when all pieces of this
one are done. A thread that comes late finds the rows done and catches up. The pieces depend on the
sizes only, so the result has the same bits for any number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import DTypeLike, NDArray

from tinygrad_cnn.engine import memory, thread_pool, threads
from tinygrad_cnn.engine.blas import on_one_thread
from tinygrad_cnn.engine.fast.kernel import FIRST, WHOLE, Kernel

WIDTH = 32  # whole numbers in a row
APART = 16  # whole numbers of the two counters of a row: a cache line each
SPINS = 4096  # reads of a counter before a waiting thread lets others run
_BYTES = 8  # of a whole number
_INT = ir.IntType(64)


@intrinsic  # type: ignore[untyped-decorator]
def _call(
    _context: Any, _kernel: Any, _row: Any, _at: Any, _numbers: Any, _piece: Any, _scratch: Any
) -> Any:
    """Call the kernel at an address; the operands are addresses and a whole number."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        function = ir.FunctionType(ir.VoidType(), [_INT] * 5)
        builder.call(builder.inttoptr(arguments[0], function.as_pointer()), arguments[1:])
        return context.get_dummy_value()

    return types.void(*[WHOLE] * 6), generate


@intrinsic  # type: ignore[untyped-decorator]
def _read(_context: Any, _address: Any) -> Any:
    """Return the whole number at an address, as other threads have left it."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(arguments[0], _INT.as_pointer())
        return builder.load_atomic(place, "acquire", _BYTES)

    return WHOLE(WHOLE), generate


@intrinsic  # type: ignore[untyped-decorator]
def _increased(_context: Any, _address: Any) -> Any:
    """Add 1 to the whole number at an address, and return what it was."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(arguments[0], _INT.as_pointer())
        return builder.atomic_rmw("add", place, ir.Constant(_INT, 1), "acq_rel")

    return WHOLE(WHOLE), generate


_yield = types.ExternalFunction("sched_yield", types.int32())


@numba.njit(  # type: ignore[untyped-decorator]
    types.void(types.Array(WHOLE, 2, "C"), *[WHOLE] * 4), nogil=True, cache=True
)
def _run(rows: Any, at: int, numbers: int, counters: int, scratch: int) -> None:
    """Run a program; `counters` is 0 on one thread."""
    start = rows.ctypes.data
    for k in range(rows.shape[0]):
        row, pieces = start + k * WIDTH * _BYTES, rows[k, 1]
        if counters == 0:
            for piece in range(pieces):
                _call(rows[k, 0], row, at, numbers, piece, scratch)
            continue
        taken = counters + k * APART * _BYTES
        done = taken + APART // 2 * _BYTES
        while True:
            piece = _increased(taken)
            if piece >= pieces:
                break
            _call(rows[k, 0], row, at, numbers, piece, scratch)
            _increased(done)
        spins = 0
        while _read(done) < pieces:
            spins += 1
            if spins % SPINS == 0:
                _yield()


class KernelCall:
    """A call of a kernel.

    Parameters
    ----------
    kernel : Kernel
    dtype : dtype_like
        float32 or float64.
    operands : sequence of int
        For each of ``kernel.operands``: a place in the table of addresses, a size, or a place in
        the table of numbers.
    pieces : int
    work : int
        Operations, as `threads.run` counts them.
    scratch : int
        Reals of memory that each thread needs.
    product : int
        The multiply-adds of its largest matrix product.
    """

    __slots__ = ("dtype", "kernel", "operands", "pieces", "product", "scratch", "work")

    def __init__(
        self,
        kernel: Kernel,
        dtype: DTypeLike,
        operands: Sequence[int],
        pieces: int = 1,
        work: int = 0,
        scratch: int = 0,
        product: int = 0,
    ) -> None:
        if len(operands) != len(kernel.operands) or len(operands) > WIDTH - FIRST:
            raise ValueError(
                f"{kernel.name}: got {len(operands)} operands, expected {kernel.operands}"
            )
        self.kernel, self.dtype, self.operands = kernel, np.dtype(dtype), tuple(operands)
        self.pieces, self.work, self.scratch, self.product = pieces, work, scratch, product


class Tape:
    """A program of kernels, ready to run.

    Parameters
    ----------
    rows : sequence of KernelCall
    addresses : int
        The number of addresses in the table.
    numbers : int
        The number of numbers in the table.

    Attributes
    ----------
    at : ndarray of int64
        The table of addresses. Its owner keeps the memory alive.
    numbers : ndarray of float64
        The table of numbers.
    """

    def __init__(self, rows: Sequence[KernelCall], addresses: int, numbers: int = 0) -> None:
        self.at = np.zeros(addresses, np.int64)
        self.numbers = np.zeros(numbers)
        self._rows = np.zeros((len(rows), WIDTH), np.int64)
        for k, row in enumerate(rows):
            self._rows[k, :FIRST] = row.kernel.address(row.dtype), row.pieces
            self._rows[k, FIRST : FIRST + len(row.operands)] = row.operands
        self._work = sum([row.work for row in rows])
        self._uses_blas = any(row.product > threads.SMALL for row in rows)
        self._splits = any(row.pieces > 1 for row in rows)
        self._scratch_bytes = max([row.scratch * row.dtype.itemsize for row in rows], default=0)
        self._scratch: list[NDArray[Any]] = []
        self._counters = np.zeros(APART * len(rows) if self._splits else 0, np.int64)
        self._places = [a.ctypes.data for a in (self.at, self.numbers, self._counters)]

    def run(self) -> None:
        """Run the program, on as many threads as are worth it (`num_threads`)."""
        count = threads.limit() if self._splits and self._work >= threads.WORTH else 1
        while len(self._scratch) < count:
            self._scratch.append(memory.empty((self._scratch_bytes,), np.uint8))
        at, numbers, counters = self._places
        if count == 1:
            own = self._scratch[0].ctypes.data if self._scratch_bytes else 0
            if self._uses_blas:
                on_one_thread(lambda: _run(self._rows, at, numbers, 0, own))
            else:
                _run(self._rows, at, numbers, 0, own)
            return
        self._counters.fill(0)
        scratch = [part.ctypes.data for part in self._scratch]
        thread_pool.run(lambda i: _run(self._rows, at, numbers, counters, scratch[i]), count, count)
