"""The machine: one compiled function that runs programs of kernels on one or several threads.

A program is a matrix of whole numbers. Each row is a call of a kernel: its address, the number of
pieces that it is computed in, and its operands. Several threads run the same program: each takes
the next piece of the current row that is left, and goes on to the next row when all pieces of this
one are done. A thread that comes late finds the rows done and catches up. The pieces depend on the
sizes only, so the result has the same bits for any number of threads.

A kernel that finds its input wrong, such as a label that is no class, writes to the status word:
then no later row runs.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from typing import Any

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import DTypeLike, NDArray

from tinygrad_cnn.engine import memory, thread_pool, threads
from tinygrad_cnn.engine.blas import on_one_thread
from tinygrad_cnn.engine.fast.compiling import compiled
from tinygrad_cnn.engine.fast.kernel import FIRST, WHOLE, Kernel, version

WIDTH = 32  # whole numbers in a row
APART = 16  # whole numbers of the two counters of a row: a cache line each
LINE = 64  # bytes of a cache line
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


_YIELD = "sched_yield"
if sys.platform == "win32":
    _YIELD = "SwitchToThread"
    _address = ctypes.cast(ctypes.windll.kernel32.SwitchToThread, ctypes.c_void_p).value
    llvmlite.binding.add_symbol(_YIELD, _address)
_yield = types.ExternalFunction(_YIELD, types.int32())


def _run_rows(
    rows: int, count: int, at: int, numbers: int, counters: int, scratch: int, status: int
) -> None:
    """Run a program until the status is not 0; `counters` is 0 on one thread."""
    for k in range(count):
        row = rows + k * WIDTH * _BYTES
        kernel, pieces = _read(row), _read(row + _BYTES)
        if counters == 0:
            for piece in range(pieces):
                _call(kernel, row, at, numbers, piece, scratch)
        else:
            taken = counters + k * APART * _BYTES
            done = taken + APART // 2 * _BYTES
            while True:
                piece = _increased(taken)
                if piece >= pieces:
                    break
                _call(kernel, row, at, numbers, piece, scratch)
                _increased(done)
            spins = 0
            while _read(done) < pieces:
                spins += 1
                if spins % SPINS == 0:
                    _yield()
        if _read(status) != 0:
            break


_run_rows.__qualname__ = f"run_rows_{version()}"  # the cache's name for it
_run = compiled(
    lambda cache: numba.njit(types.void(*[WHOLE] * 7), nogil=True, cache=cache)(_run_rows),
    _run_rows,
)


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

    One thread at a time may run it.

    Parameters
    ----------
    rows : sequence of KernelCall
    addresses : int or ndarray of int64
        The number of addresses in the table, or a table that several programs share.
    numbers : int or ndarray of float64
        The number of numbers in the table, or a table that several programs share.
    status : ndarray of int64, optional
        The status word, of length 1; without, no kernel can end the program.

    Attributes
    ----------
    at : ndarray of int64
        The table of addresses. Its owner keeps the memory alive.
    numbers : ndarray of float64
        The table of numbers.
    status : ndarray of int64
        0, or what the kernel wrote that ended the last run.
    """

    def __init__(
        self,
        rows: Sequence[KernelCall],
        addresses: int | NDArray[np.int64],
        numbers: int | NDArray[np.float64] = 0,
        status: NDArray[np.int64] | None = None,
    ) -> None:
        self.at = np.zeros(addresses, np.int64) if isinstance(addresses, int) else addresses
        self.numbers = np.zeros(numbers) if isinstance(numbers, int) else numbers
        self.status = np.zeros(1, np.int64) if status is None else status
        self._rows = np.zeros((len(rows), WIDTH), np.int64)
        for k, row in enumerate(rows):
            self._rows[k, :FIRST] = row.kernel.address(row.dtype), row.pieces
            self._rows[k, FIRST : FIRST + len(row.operands)] = row.operands
        splits = any(row.pieces > 1 for row in rows)
        self._is_worth_threads = splits and sum([row.work for row in rows]) >= threads.WORTH
        self._uses_blas = any(row.product > threads.SMALL for row in rows)
        self._scratch_bytes = max([row.scratch * row.dtype.itemsize for row in rows], default=0)
        self._scratch: list[NDArray[Any]] = []
        self._counters = np.zeros(APART * len(rows) if splits else 0, np.int64)
        self._rows_at = self._rows.ctypes.data
        self._alone: tuple[int, ...] = ()  # the operands of a run on one thread

    def run(self, rows: int | None = None) -> None:
        """Run the program, or its first `rows`, on as many threads as are worth it."""
        count = threads.limit() if self._is_worth_threads else 1
        self._alone = self._alone or self._on_one_thread()
        if count == 1:
            operands = self._alone if rows is None else (self._rows_at, rows, *self._alone[2:])
            if self._uses_blas:
                on_one_thread(lambda: _run(*operands))
            else:
                _run(*operands)
            return
        self._counters.fill(0)
        counters, scratch = self._counters.ctypes.data, self._scratches(count)
        rows = len(self._rows) if rows is None else rows
        tables, status = self._alone[2:4], self._alone[-1]
        thread_pool.run(
            lambda i: _run(self._rows_at, rows, *tables, counters, scratch[i], status), count, count
        )

    def release(self) -> None:
        """Give the memory of the threads back until the next run."""
        self._scratch, self._alone = [], ()

    def _on_one_thread(self) -> tuple[int, ...]:
        tables = (self.at.ctypes.data, self.numbers.ctypes.data)
        scratch, status = self._scratches(1)[0], self.status.ctypes.data
        return (self._rows_at, len(self._rows), *tables, 0, scratch, status)

    def _scratches(self, count: int) -> list[int]:
        """Return the address of memory for each of several threads."""
        while len(self._scratch) < count:
            self._scratch.append(memory.empty((self._scratch_bytes + LINE,), np.uint8))
        return [-(-part.ctypes.data // LINE) * LINE for part in self._scratch[:count]]
