"""Programs: the calls of one run of a function, in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.op import Op
from tinygrad_cnn.support.nested import parts

__all__ = [
    "CaptureError",
    "Instruction",
    "Operand",
    "Origin",
    "Output",
    "Program",
    "Size",
    "SizeError",
]


class CaptureError(RuntimeError):
    """A function does what a list of calls of ops cannot say."""


class SizeError(CaptureError):
    """What a function does depends on the size of its input in a way that cannot be stated."""


@dataclass(eq=False, slots=True)
class Operand:
    """A value of a program.

    Attributes
    ----------
    array : ndarray
        Its value in the run that was captured; zeros of its shape and dtype where calls computed it
        from an input, and it is no output.
    sizes : tuple of (int or Size), or None
        Its shape, with a `Size` where runs on other inputs differ; None after a single run.
    """

    array: NDArray[Any]
    sizes: tuple[Any, ...] | None = field(default=None, init=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in the captured run."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype."""
        return self.array.dtype


@dataclass(eq=False, slots=True)
class Origin(Operand):
    """A value that no call computes.

    Attributes
    ----------
    kind : {"input", "parameter", "constant"}
        A parameter is an array that the caller named: a parameter or a buffer.
    name : str
        Empty for a constant without a name.
    scope : str
        The module that first used it.
    """

    kind: Literal["input", "parameter", "constant"]
    name: str = ""
    scope: str = ""


@dataclass(eq=False, slots=True)
class Instruction(Operand):
    """A call of an op, and its result.

    Attributes
    ----------
    op : Op, ufunc or str
        A ufunc for comparisons and logical operations, whose arguments are `a` and `b`; a name for
        a function made of ops that is kept whole.
    arguments : dict
        By the op's parameters: each an `Operand`, a list of them (of an op on a sequence), None for
        an optional array that was left out, or an option as it was given. An option may be a tuple
        with an `Operand` in it, as an index may.
    scope : str
        The module that called it, such as "features.0".
    line : str
        The file and line outside this package that called it, for messages; may be empty.
    results : list of Output
        The results of a call that has several; `array` is then the first.
    """

    op: Op[..., Any] | np.ufunc | str
    arguments: dict[str, Any]
    scope: str = ""
    line: str = ""
    results: list[Output] = field(default_factory=list, init=False)

    @property
    def name(self) -> str:
        """The name of the op."""
        if isinstance(self.op, str):
            return self.op
        return self.op.__name__ if isinstance(self.op, np.ufunc) else self.op.name

    @property
    def place(self) -> str:
        """The op and its module, for messages."""
        return f"{self.name} in {self.scope}" if self.scope else self.name

    @property
    def at_line(self) -> str:
        """The line that called it in brackets, for the end of a message; "" if there is none."""
        return f" ({self.line})" if self.line else ""

    def operands(self) -> list[Operand]:
        """Return the values among the arguments, in order."""
        return [v for value in self.arguments.values() for v in parts(value, Operand)]


@dataclass(eq=False, slots=True)
class Output(Operand):
    """One of several results of a call.

    Attributes
    ----------
    call : Instruction
    index : int
    """

    call: Instruction
    index: int


@dataclass(slots=True)
class Program:
    """The calls of one run.

    Attributes
    ----------
    inputs : list of Origin
    calls : list of Instruction
        In the order of the run.
    outputs : list of Operand
    names : list of str
        Of the outputs: the keys of a dict, else empty.
    """

    inputs: list[Origin]
    calls: list[Instruction] = field(default_factory=list)
    outputs: list[Operand] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def without_dead_calls(self) -> Program:
        """Return the program without the calls that no output needs."""
        needed = set(map(_source, self.outputs))
        calls: list[Instruction] = []
        for call in reversed(self.calls):
            if call in needed:
                calls.append(call)
                needed.update(map(_source, call.operands()))
        return Program(self.inputs, calls[::-1], self.outputs, self.names)


def _source(value: Operand) -> Operand:
    return value.call if isinstance(value, Output) else value


def _refuse(self: Size, *_: Any) -> NoReturn:
    raise CaptureError(f"a number, {self.values[0]} here, varies with the size of the input")


@dataclass(frozen=True, slots=True, eq=True)
class Size:
    """A whole number that varies with the sizes: multiple · ⌊(p·Π + shift) / q⌋ + offset.

    It refuses arithmetic and order, and equals no number, so that none of the captured run is
    taken for that of every run. Two are equal if they are so in all runs.

    Attributes
    ----------
    factors : tuple of (Operand, int)
        The values and their axes whose lengths are multiplied, to Π.
    ratio : Fraction
        p / q, not negative.
    offset : int
    values : tuple of int
        The number in each run, the captured one first.
    multiple : int
    shift : int
        From 0, which rounds down, to q − 1, which rounds up.
    """

    factors: tuple[tuple[Operand, int], ...] = field(compare=False)
    ratio: Fraction = field(default=Fraction(1), compare=False)
    offset: int = field(default=0, compare=False)
    values: tuple[int, ...] = ()
    multiple: int = field(default=1, compare=False)
    shift: int = field(default=0, compare=False)

    def at(self, product: int) -> int:
        """Return the number for a product of the lengths."""
        p, q = self.ratio.as_integer_ratio()
        return self.multiple * ((p * product + self.shift) // q) + self.offset

    __index__ = __int__ = __float__ = __bool__ = __neg__ = __abs__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _refuse
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = _refuse
