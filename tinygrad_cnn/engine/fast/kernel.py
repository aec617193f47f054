"""Kernels: functions on memory that are compiled on first use and need no GIL.

A kernel is written as a loop over pointers, and compiled for each dtype that it is used with. What
it is called with is a row of whole numbers (`machine`): places in a table of addresses, sizes, and
places in a table of numbers.

NaN and infinities are kept as in NumPy: sums may be reordered, and products and sums contracted,
but nothing is assumed to be finite. A kernel of a formula without sums over an axis may be declared
exact: its results then are those of NumPy, bit by bit.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import DTypeLike

from tinygrad_cnn.engine.fast.compiling import compiled, remove_other_versions
from tinygrad_cnn.engine.fast.numba_private import NARROW, was_kept
from tinygrad_cnn.engine.fast.vectors import register_bytes

F = TypeVar("F", bound=Callable[..., Any])

Reals = Any  # a pointer to values of the kernel's dtype
Wholes = Any  # a pointer to int64
Bytes = Any  # a pointer to uint8
Whole = Any  # an int64, constant in a program
Scalar = Any  # a number of the kernel's dtype, read in each run
PieceIndex = Any  # the number of the piece to compute, from 0
Scratch = Any  # a pointer to memory of this thread, of the kernel's dtype
Conversion = Any  # the conversion to the kernel's dtype, for constants: ``zero = real(0)``

FLAGS: dict[str, Any] = {
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "nsz"},
    "boundscheck": False,
    **NARROW,
}
EXACT: dict[str, Any] = FLAGS | {"fastmath": False}
WHOLE = types.int64
ROW = types.CPointer(WHOLE)
FIRST = 2  # the place of the first operand in a row: before it are the address and the pieces
_TYPES = {"f": types.float32, "d": types.float64}
_REALS = {"f": np.float32, "d": np.float64}
_READS = {
    "Reals": "pointer(_at[_row[{0}]], _scratch)",
    "Wholes": "pointer(_at[_row[{0}]], _row)",
    "Bytes": "byte_pointer(_at[_row[{0}]])",
    "Whole": "_row[{0}]",
    "Scalar": "_real(_numbers[_row[{0}]])",
}
POINTERS = ("Reals", "Wholes", "Bytes")  # the kinds of operands that are addresses
_GIVEN = {"PieceIndex": "_piece", "Scratch": "_scratch", "Conversion": "_real"}
_PARAMETERS = "_row, _at, _numbers, _piece, _scratch"  # of what the machine calls


@intrinsic  # type: ignore[untyped-decorator]
def pointer(_context: Any, _address: Any, like: Any) -> Any:
    """Return a pointer of the type of `like` to an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return like(WHOLE, like), generate


@intrinsic  # type: ignore[untyped-decorator]
def byte_pointer(_context: Any, _address: Any) -> Any:
    """Return a pointer to bytes at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.uint8)(WHOLE), generate


@intrinsic  # type: ignore[untyped-decorator]
def moved(_context: Any, start: Any, _count: Any) -> Any:
    """Return a pointer moved by a number of values: ``moved(x, 3)[0]`` is ``x[3]``."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.gep(arguments[0], [arguments[1]])

    return start(start, WHOLE), generate


def inlined(function: F) -> F:
    """Declare a function for use in kernels, which becomes a part of each that calls it.

    A function compiled by itself would be optimized, and turned to machine code, once more.
    """
    return cast(F, numba.njit(inline="always", **FLAGS)(function))


class Kernel:
    """A function on memory, made with `kernel`.

    Attributes
    ----------
    name : str
    operands : tuple of str
        The parameters that a row holds, in order.
    kinds : tuple of str
        What each is: "Reals", "Wholes", "Bytes", "Whole" or "Scalar".
    """

    def __init__(self, function: Callable[..., None], flags: dict[str, Any] = FLAGS) -> None:
        self.name = function.__name__
        self._function, self._flags = function, flags
        parameters = inspect.signature(function).parameters
        kinds = {name: str(p.annotation).rpartition(".")[-1] for name, p in parameters.items()}
        self.operands = tuple([name for name, kind in kinds.items() if kind in _READS])
        self.kinds = tuple([kinds[name] for name in self.operands])
        places = {name: FIRST + k for k, name in enumerate(self.operands)}
        self._reads = [
            f"{name} = {_READS[kind].format(places[name]) if kind in _READS else _GIVEN[kind]}"
            for name, kind in kinds.items()
        ]
        self._compiled: dict[str, Any] = {}

    def address(self, dtype: DTypeLike) -> int:
        """Return the address of the kernel for a dtype, float32 or float64; compile if needed."""
        char = np.dtype(dtype).char
        if char not in self._compiled:
            self._compiled[char] = self._compile(char)
        return int(self._compiled[char].address)

    def _compile(self, char: str) -> Any:
        """Compile the function with the reading of its operands from a row; kept on disk.

        It is one function: Numba would compile a function that it calls by itself as well. The
        version of this package is in the name, because kernels call functions of other files.
        """
        name = f"{self.name}_{char}_{version()}"
        known = dict(self._function.__globals__)
        known.update(inspect.getclosurevars(self._function).nonlocals)
        known |= {"pointer": pointer, "byte_pointer": byte_pointer, "_real": _REALS[char]}
        exec(self._code(name), known)
        real = types.CPointer(_TYPES[char])
        signature = types.void(ROW, ROW, types.CPointer(types.float64), WHOLE, real)
        found = compiled(
            lambda cache: numba.cfunc(signature, nopython=True, cache=cache, **self._flags)(
                known[name]
            ),
            known[name],
        )
        if not was_kept(found):
            remove_other_versions(known[name], version())
        return found

    def _code(self, name: str) -> CodeType:
        """Return the code that defines the function of a row, at the lines of the kernel."""
        source = textwrap.dedent(inspect.getsource(self._function))
        reads = ast.parse(f"def {name}({_PARAMETERS}):\n    " + "; ".join(self._reads))
        function, body = reads.body[0], ast.parse(source).body[0]
        assert isinstance(function, ast.FunctionDef)
        assert isinstance(body, ast.FunctionDef)
        function.body += body.body
        ast.increment_lineno(reads, self._function.__code__.co_firstlineno - 1)
        return compile(reads, inspect.getfile(self._function), "exec")


def kernel(function: Callable[..., None]) -> Kernel:
    """Declare a kernel: its parameters are annotated with the names at the top of this module."""
    return Kernel(function)


def exact_kernel(function: Callable[..., None]) -> Kernel:
    """Declare a kernel of correctly rounded operations in the order written, as in NumPy."""
    return Kernel(function, EXACT)


@functools.cache
def version() -> str:
    """Return a hash of what machine code depends on beside its file, for names in the cache.

    That is the source of the engine, whose functions and constants become a part of kernels, and
    the size of a register, which rows and kernels both count on. It comes first, and the eight
    digits of the source last: machines that share a folder keep kernels for each size.
    """
    files = sorted(Path(__file__).parents[1].rglob("*.py"))
    source = hashlib.sha256(b"".join([file.read_bytes() for file in files])).hexdigest()
    return f"{register_bytes()}_{source[:8]}"
