"""Row writers: they collect the kernel calls of a program."""

from __future__ import annotations

from typing import Any

from numpy.typing import DTypeLike, NDArray

from tinygrad_cnn.engine import memory
from tinygrad_cnn.engine.fast.kernel import Kernel
from tinygrad_cnn.engine.fast.machine import KernelCall, Tape

PIECE = 1 << 14  # values in one piece of elementwise work, about


def rows_of_piece(length: int) -> int:
    """Return the rows of `length` values that a piece of elementwise work computes."""
    return max(1, PIECE // max(1, length))


class RowWriter:
    """Base class: collects rows, on arrays (`ArrayRows`) or of a compiled step.

    Attributes
    ----------
    rows : list of KernelCall
    """

    def __init__(self) -> None:
        self.rows: list[KernelCall] = []

    def temporary(self, count: int, dtype: DTypeLike) -> int:
        """Return the place in the table of addresses of `count` uninitialized values."""
        raise NotImplementedError

    def row(self, kernel: Kernel, dtype: DTypeLike, *operands: int, **sizes: int) -> None:
        """Add a row; `sizes` are the other parameters of `KernelCall`."""
        self.rows.append(KernelCall(kernel, dtype, operands, **sizes))

    def flat_row(
        self, kernel: Kernel, dtype: DTypeLike, count: int, *operands: int, work: int
    ) -> None:
        """Add a row of a kernel of single values, whose pieces are `step` of `count` values.

        The operands are those without `count` and `step`.
        """
        at = kernel.operands.index("count")
        operands = (*operands[:at], count, PIECE, *operands[at:])
        self.row(kernel, dtype, *operands, pieces=-(-count // PIECE), work=work)


class ArrayRows(RowWriter):
    """Rows on NumPy arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_cnn.engine.fast.elementwise import relu
    >>> rows, x = ArrayRows(), np.array([-1.0, 2.0])
    >>> y = np.empty_like(x)
    >>> rows.flat_row(relu, x.dtype, 2, rows.at(x), rows.at(y), work=2)
    >>> rows.tape().run()
    >>> y
    array([0., 2.])
    """

    def __init__(self) -> None:
        super().__init__()
        self._arrays: list[NDArray[Any]] = []

    def at(self, array: NDArray[Any]) -> int:
        """Return the place of an array in the table of addresses."""
        self._arrays.append(array)
        return len(self._arrays) - 1

    def temporary(self, count: int, dtype: DTypeLike) -> int:
        """Return the place of memory for `count` values."""
        return self.at(memory.empty((count,), dtype))

    def tape(self) -> Tape:
        """Return the program; the arrays must be kept alive while it is used."""
        tape = Tape(self.rows, len(self._arrays))
        tape.at[:] = [array.__array_interface__["data"][0] for array in self._arrays]
        return tape
