"""Rows on arrays: programs of kernels that are put together and run at once."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import DTypeLike, NDArray

from tinygrad_cnn.engine import memory
from tinygrad_cnn.engine.fast.kernel import Kernel
from tinygrad_cnn.engine.fast.machine import KernelCall, Tape


class RowWriter(Protocol):
    """Where the functions that write rows put them: `ArrayRows`, or the writer of a compiler."""

    def temporary(self, count: int, dtype: DTypeLike) -> int:
        """Return the place in the table of addresses of `count` uninitialized values."""

    def row(
        self,
        kernel: Kernel,
        dtype: DTypeLike,
        *operands: int,
        pieces: int = 1,
        work: int = 0,
        scratch: int = 0,
        product: int = 0,
    ) -> None:
        """Add a row; the parameters are those of `KernelCall`."""


class ArrayRows:
    """Rows on NumPy arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_cnn.engine.fast.elementwise import relu
    >>> rows, x = ArrayRows(), np.array([-1.0, 2.0])
    >>> y = np.empty_like(x)
    >>> rows.row(relu, x.dtype, rows.at(x), rows.at(y), 2, 2)
    >>> rows.tape().run()
    >>> y
    array([0., 2.])
    """

    def __init__(self) -> None:
        self._arrays: list[NDArray[Any]] = []
        self._calls: list[KernelCall] = []

    def at(self, array: NDArray[Any]) -> int:
        """Return the place of an array in the table of addresses."""
        self._arrays.append(array)
        return len(self._arrays) - 1

    def temporary(self, count: int, dtype: DTypeLike) -> int:
        """Return the place of memory for `count` values."""
        return self.at(memory.empty((count,), dtype))

    def row(
        self,
        kernel: Kernel,
        dtype: DTypeLike,
        *operands: int,
        pieces: int = 1,
        work: int = 0,
        scratch: int = 0,
        product: int = 0,
    ) -> None:
        """Add a row; the parameters are those of `KernelCall`."""
        self._calls.append(KernelCall(kernel, dtype, operands, pieces, work, scratch, product))

    def tape(self) -> Tape:
        """Return the program; the arrays must be kept alive while it is used."""
        tape = Tape(self._calls, len(self._arrays))
        tape.at[:] = [array.__array_interface__["data"][0] for array in self._arrays]
        return tape
