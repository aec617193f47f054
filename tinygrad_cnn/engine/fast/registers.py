"""Blocks of matrix products whose sums stay in vector registers, written in LLVM's language.

LLVM does not find such blocks by itself. A block is `rows` × `vectors` registers, and its loop over
the inner axis reads each value of the matrices once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import DTypeLike

INT, LANE = ir.IntType(64), ir.IntType(32)
LLVMValue = Any  # of LLVM


@cache
def register_bytes() -> int:
    """Return the bytes of a vector register of this machine."""
    try:
        features = binding.get_host_cpu_features()
    except RuntimeError:
        return 16
    return 64 if features.get("avx512f") else 32 if features.get("avx2") else 16


def registers() -> int:
    """Return the number of vector registers."""
    return 16 if register_bytes() == 32 else 32


def lanes(dtype: DTypeLike) -> int:
    """Return the values of a register."""
    return register_bytes() // np.dtype(dtype).itemsize


def _lanes(real: Any) -> int:
    return lanes("f4" if isinstance(real, ir.FloatType) else "f8")


class Vectors:
    """Writes operations on vectors of `lanes` values.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
    real : llvmlite.ir.Type
        float or double.
    half : bool
        Whether vectors are half a register.
    count : value, optional
        The lanes to load and store; the others are 0. All by default.
    """

    def __init__(
        self, builder: Any, real: Any, half: bool = False, count: LLVMValue | None = None
    ) -> None:
        self.builder, self.real, self.lanes = builder, real, _lanes(real) >> half
        self.type = ir.VectorType(real, self.lanes)
        self.zero = ir.Constant(self.type, None)
        self._name = f"v{self.lanes}{'f32' if isinstance(real, ir.FloatType) else 'f64'}"
        self._align = 4 if isinstance(real, ir.FloatType) else 8
        self._places = ir.VectorType(LANE, self.lanes)
        self._mask = None
        if count is not None:
            known = self._repeated(builder.trunc(count, LANE), self._places)
            numbers = ir.Constant(self._places, list(range(self.lanes)))
            self._mask = builder.icmp_signed("<", numbers, known)

    def load(self, at: LLVMValue) -> LLVMValue:
        """Return the vector at an address."""
        at = self.builder.bitcast(at, self.type.as_pointer())
        if self._mask is None:
            return self.builder.load(at, align=self._align)
        kinds = [at.type, LANE, self._mask.type, self.type]
        function = self._function(f"llvm.masked.load.{self._name}.p0", self.type, kinds)
        align = ir.Constant(LANE, self._align)
        return self.builder.call(function, [at, align, self._mask, self.zero])

    def store(self, value: LLVMValue, at: LLVMValue) -> None:
        """Write a vector to an address."""
        at = self.builder.bitcast(at, self.type.as_pointer())
        if self._mask is None:
            self.builder.store(value, at, align=self._align)
            return
        kinds = [self.type, at.type, LANE, self._mask.type]
        function = self._function(f"llvm.masked.store.{self._name}.p0", ir.VoidType(), kinds)
        self.builder.call(function, [value, at, ir.Constant(LANE, self._align), self._mask])

    def of(self, number: LLVMValue) -> LLVMValue:
        """Return a vector of one number."""
        return self._repeated(number, self.type)

    def fused(self, a: LLVMValue, b: LLVMValue, c: LLVMValue) -> LLVMValue:
        """Return a·b + c, rounded once."""
        function = self._function(f"llvm.fma.{self._name}", self.type, [self.type] * 3)
        return self.builder.call(function, [a, b, c])

    def chosen(self, a: LLVMValue, b: LLVMValue, places: Sequence[int]) -> LLVMValue:
        """Return the vector of values of a and, from place `lanes` on, of b."""
        return self.builder.shuffle_vector(a, b, ir.Constant(self._places, list(places)))

    def _repeated(self, number: LLVMValue, kind: Any) -> LLVMValue:
        first = ir.Constant(LANE, 0)
        vector = self.builder.insert_element(ir.Constant(kind, ir.Undefined), number, first)
        return self.builder.shuffle_vector(vector, vector, ir.Constant(self._places, None))

    def _function(self, name: str, result: Any, kinds: Sequence[Any]) -> LLVMValue:
        module = self.builder.module
        found = module.globals.get(name)
        return found or ir.Function(module, ir.FunctionType(result, kinds), name)


def loop(
    builder: Any,
    count: LLVMValue,
    values: Sequence[LLVMValue],
    body: Callable[..., Sequence[LLVMValue]],
) -> list[LLVMValue]:
    """Write a loop, and return the values after it.

    `body` is given the number of the turn, from 0, and the values before it, and returns those
    after it.
    """
    before = builder.block
    start, end = (builder.append_basic_block(name) for name in ("turn", "after"))
    builder.cbranch(builder.icmp_signed(">", count, INT(0)), start, end)
    builder.position_at_end(start)
    turn, now = builder.phi(INT), [builder.phi(value.type) for value in values]
    new = body(turn, now)
    following, last = builder.add(turn, INT(1)), builder.block
    for phi, first, then in zip([turn, *now], [INT(0), *values], [following, *new], strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(then, last)
    builder.cbranch(builder.icmp_signed("<", following, count), start, end)
    builder.position_at_end(end)
    results = [builder.phi(value.type) for value in values]
    for phi, first, then in zip(results, values, new, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(then, last)
    return results


def product_tile(rows: int, vectors: int, half: bool = False, masked: bool = False) -> Any:
    """Return C ← alpha·A·B + beta·C for use in kernels, for C of `rows` rows and some registers.

    With `half`, C has half a register of columns; `masked`, a part of one.
    Its operands are: the size k; A, the distance of its rows and of its columns; B and the distance
    of its rows; alpha; beta; C and the distance of its rows; and for a masked one its columns.
    """
    numbers = range(rows)

    @intrinsic  # type: ignore[untyped-decorator]
    def tile(
        _context: Any, k: Any, a: Any, _a_row: Any, _a_column: Any, b: Any, _b_row: Any,
        _alpha: Any, _beta: Any, c: Any, _c_row: Any, _columns: Any,
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            k, a, a_row, a_column, b, b_row, alpha, beta, c, c_row, columns = arguments
            real = a.type.pointee
            write = Vectors(builder, real, half, columns if masked else None)
            each = [INT(v * write.lanes) for v in range(vectors)]
            starts = [builder.gep(a, [builder.mul(a_row, INT(r))]) for r in numbers]

            def add(_: LLVMValue, now: Sequence[LLVMValue]) -> list[LLVMValue]:
                place, row, *sums = now
                across = [write.load(builder.gep(row, [v])) for v in each]
                down = [write.of(builder.load(builder.gep(at, [place]))) for at in starts]
                factors = [(p, q) for p in down for q in across]
                sums = [write.fused(*pq, z) for pq, z in zip(factors, sums, strict=True)]
                return [builder.add(place, a_column), builder.gep(row, [b_row]), *sums]

            _, _, *sums = loop(builder, k, [INT(0), b, *[write.zero] * (rows * vectors)], add)
            scale, keep = write.of(alpha), write.of(beta)
            sums = [builder.fmul(scale, z) for z in sums]
            ends = [builder.gep(c, [builder.mul(c_row, INT(r))]) for r in numbers]
            places = [builder.gep(at, [v]) for at in ends for v in each]
            with builder.if_else(
                builder.fcmp_ordered("==", beta, ir.Constant(real, 0.0))
            ) as (new, old):  # fmt: skip
                with new:
                    for z, at in zip(sums, places, strict=True):
                        write.store(z, at)
                with old:
                    for z, at in zip(sums, places, strict=True):
                        write.store(write.fused(keep, write.load(at), z), at)
            return context.get_dummy_value()

        whole, real = types.int64, a.dtype
        kinds = (whole, a, whole, whole, b, whole, real, real, c, whole, whole)
        return types.void(*kinds), generate

    return tile


@intrinsic  # type: ignore[untyped-decorator]
def transposed_block(
    _context: Any, source: Any, _source_row: Any, target: Any, _target_row: Any
) -> Any:
    """Copy a square matrix with as many rows as a register has values to its transpose."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        source, source_row, target, target_row = arguments
        write = Vectors(builder, source.type.pointee)
        size = write.lanes
        rows = [
            write.load(builder.gep(source, [builder.mul(source_row, INT(r))])) for r in range(size)
        ]
        step = 1
        while step < size:  # swap the corners of blocks of 2, 4, ... rows and columns
            low = [t if not t & step else size + t - step for t in range(size)]
            high = [t + step if not t & step else size + t for t in range(size)]
            for r in range(size):
                if not r & step:
                    a, b = rows[r], rows[r + step]
                    rows[r], rows[r + step] = write.chosen(a, b, low), write.chosen(a, b, high)
            step *= 2
        for r, row in enumerate(rows):
            write.store(row, builder.gep(target, [builder.mul(target_row, INT(r))]))
        return context.get_dummy_value()

    return types.void(source, types.int64, target, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def copied_register(_context: Any, source: Any, _target: Any) -> Any:
    """Copy as many values as a register has."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        write = Vectors(builder, arguments[0].type.pointee)
        write.store(write.load(arguments[0]), arguments[1])
        return context.get_dummy_value()

    return types.void(source, source), generate
