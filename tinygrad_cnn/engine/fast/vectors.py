"""Formulas on vectors of 16, 4 or 1 values, from which the code of kernels is generated.

LLVM does not vectorize a loop that reads and writes dozens of places, as it cannot tell that none
of them overlap. Such loops call an intrinsic that computes a vector at a time. Its formulas are
ordinary Python on `Lanes`, evaluated when the kernel is compiled.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

CONTRACT = ("contract",)  # a product and a sum may round once
_ALIGN = 4  # bytes: vectors start at any float32
_INT = ir.IntType(64)


class Lanes:
    """A vector in a formula: sums, differences, and products with numbers."""

    def __init__(self, builder: Any, value: Any) -> None:
        self._builder, self.value = builder, value

    def __add__(self, other: Lanes) -> Lanes:
        return Lanes(self._builder, self._builder.fadd(self.value, other.value, flags=CONTRACT))

    def __sub__(self, other: Lanes) -> Lanes:
        return Lanes(self._builder, self._builder.fsub(self.value, other.value, flags=CONTRACT))

    def __rmul__(self, factor: float) -> Lanes:
        kind = self.value.type
        count = kind.count if isinstance(kind, ir.VectorType) else 0
        number = ir.Constant(kind, [ir.Constant(kind.element, factor)] * count if count else factor)
        return Lanes(self._builder, self._builder.fmul(number, self.value, flags=CONTRACT))


class VectorMemory:
    """The loads and stores of vectors of float32, while code is generated.

    Parameters
    ----------
    builder : IRBuilder
    lanes : int
        Values in a vector.
    """

    def __init__(self, builder: Any, lanes: int) -> None:
        self.builder = builder
        self._kind = ir.VectorType(ir.FloatType(), lanes) if lanes > 1 else ir.FloatType()

    def load(self, start: Any, offset: Any, inside: Any = None, otherwise: Any = None) -> Lanes:
        """Return the vector at an offset from a pointer, or that at `otherwise` if not inside."""
        place = self._place(start, offset, inside, otherwise)
        return Lanes(self.builder, self.builder.load(place, align=_ALIGN))

    def store(
        self, value: Lanes, start: Any, offset: Any, inside: Any = None, otherwise: Any = None
    ) -> None:
        """Write a vector to an offset from a pointer, or to `otherwise` if not inside."""
        place = self._place(start, offset, inside, otherwise)
        self.builder.store(value.value, place, align=_ALIGN)

    def times(self, count: int, stride: Any) -> Any:
        """Return an offset: a number of strides."""
        return self.builder.mul(ir.Constant(_INT, count), stride)

    def sum(self, left: Any, right: Any) -> Any:
        """Return the sum of two offsets."""
        return self.builder.add(left, right)

    def within(self, k: int, low: Any, high: Any) -> Any:
        """Return whether low <= k < high."""
        at = ir.Constant(_INT, k)
        above = self.builder.icmp_signed("<=", low, at)
        return self.builder.and_(above, self.builder.icmp_signed("<", at, high))

    def both(self, left: Any, right: Any) -> Any:
        """Return whether both hold."""
        return self.builder.and_(left, right)

    def _place(self, start: Any, offset: Any, inside: Any, otherwise: Any) -> Any:
        place = self.builder.gep(start, [offset])
        if inside is not None:
            place = self.builder.select(inside, place, otherwise)
        return self.builder.bitcast(place, self._kind.as_pointer())

    def turn(self, rows: list[Lanes]) -> list[Lanes]:
        """Return the columns of a square of vectors."""
        count = len(rows)
        values = [row.value for row in rows]
        step = 1
        while step < count:  # exchanges squares of `step` values across the diagonal
            lanes = range(count)
            upper = [count + (k ^ step) if k & step else k for k in lanes]
            lower = [count + k if k & step else k | step for k in lanes]
            for i in lanes:
                if not i & step:
                    pair = values[i], values[i + step]
                    values[i] = self._mixed(*pair, upper)
                    values[i + step] = self._mixed(*pair, lower)
            step *= 2
        return [Lanes(self.builder, value) for value in values]

    def _mixed(self, left: Any, right: Any, lanes: list[int]) -> Any:
        mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes)
        return self.builder.shuffle_vector(left, right, mask)
