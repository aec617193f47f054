"""What lowerings write to: the rows of a tape, and the places of its values in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from numpy.typing import DTypeLike

from tinygrad_cnn.compiler.program import StepValue
from tinygrad_cnn.engine.fast.kernel import Kernel
from tinygrad_cnn.engine.planes import Order


class Writer:
    """Writes the rows of one run of instructions.

    A value that rows compute is contiguous in memory, with its axes in the order `order`. Leaves
    keep their own memory, in C order: parameters, buffers, and the gradients that are stored.
    """

    def at(self, value: StepValue) -> int:
        """Return the place in the table of addresses of a value that is read or computed."""
        raise NotImplementedError

    def order(self, value: StepValue) -> Order:
        """Return the axes of a value, slowest in memory first."""
        raise NotImplementedError

    def temporary(self, count: int, dtype: DTypeLike) -> int:
        """Return the place of memory that only the rows of this instruction use."""
        raise NotImplementedError

    def number(self, read: Callable[[], float] | float) -> int:
        """Return the place in the table of numbers of one that is read before each run."""
        raise NotImplementedError

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
        """AddGradients a row; the parameters are those of `KernelCall`."""
        raise NotImplementedError


Lowered: TypeAlias = Callable[[Writer, Any], bool]
FORWARD: dict[str, Lowered] = {}
BACKWARD: dict[tuple[str, str], Lowered] = {}
SHARED: dict[tuple[str, str], Lowered] = {}
"""The lowerings of calls, of rules by op and operand, and of intermediates of the gradient by op
and name. Each writes rows and returns True, or writes nothing and returns False where it has no
kernel: for a dtype, a layout or an option. Then NumPy computes it between two tapes."""


def lowers(op: str, of: str = "", shared: str = "") -> Callable[[Lowered], Lowered]:
    """Declare the lowering of an op's call, of its rule for `of`, or of an intermediate."""

    def declare(function: Lowered) -> Lowered:
        if shared:
            SHARED[op, shared] = function
        elif of:
            BACKWARD[op, of] = function
        else:
            FORWARD[op] = function
        return function

    return declare


def images_last(ndim: int) -> Order:
    """Return the order of the axes of values on a tape: (H, W, C, N), (L, C, N), (F, N)."""
    return (*range(2, ndim), *((1,) if ndim > 1 else ()), *((0,) if ndim else ()))
