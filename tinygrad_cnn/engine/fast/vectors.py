"""Vectors of numbers in the code of kernels, which is written in LLVM's language.

LLVM vectorizes simple loops by itself. It does not keep a block of sums in registers, nor vectorize
a loop that reads and writes many places, as it cannot tell that none of them overlap. There kernels
call an intrinsic, whose code this class helps to write: blocks of matrix products (`tiles`),
Winograd's transforms (`winograd_transforms`), and vectors as values of kernels (`lanes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numpy.typing import DTypeLike

INT, LANE = ir.IntType(64), ir.IntType(32)
CONTRACT = ("contract",)  # a product and a sum may round once
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


def register_lanes(dtype: DTypeLike) -> int:
    """Return the values of a register."""
    return register_bytes() // np.dtype(dtype).itemsize


class Vectors:
    """Writes operations on vectors of `lanes` values.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
    real : llvmlite.ir.Type
        float or double.
    lanes : int
    count : value, optional
        The lanes to load and store; the others are 0, and their memory is left alone. All by
        default.
    """

    def __init__(self, builder: Any, real: Any, lanes: int, count: LLVMValue | None = None) -> None:
        self.builder, self.lanes = builder, lanes
        self.type = ir.VectorType(real, lanes)
        self.zero = ir.Constant(self.type, None)
        is_single = isinstance(real, ir.FloatType)
        self._name, self._align = f"v{lanes}{'f32' if is_single else 'f64'}", 4 if is_single else 8
        self._places = ir.VectorType(LANE, lanes)
        self._mask = None
        if count is not None:
            known = self._repeated(builder.trunc(count, LANE), self._places)
            numbers = ir.Constant(self._places, list(range(lanes)))
            self._mask = builder.icmp_signed("<", numbers, known)

    def at(self, start: LLVMValue, count: int, stride: LLVMValue) -> LLVMValue:
        """Return the address of a number of strides behind another."""
        return self.builder.gep(start, [self.builder.mul(INT(count), stride)])

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

    def transposed(self, rows: Sequence[LLVMValue]) -> list[LLVMValue]:
        """Return the columns of a square of vectors."""
        size, rows, step = self.lanes, list(rows), 1
        while step < size:  # swap the corners of blocks of 2, 4, ... rows and columns
            low = [t if not t & step else size + t - step for t in range(size)]
            high = [t + step if not t & step else size + t for t in range(size)]
            for r in range(size):
                if not r & step:
                    a, b = rows[r], rows[r + step]
                    rows[r], rows[r + step] = self._chosen(a, b, low), self._chosen(a, b, high)
            step *= 2
        return rows

    def _chosen(self, a: LLVMValue, b: LLVMValue, places: Sequence[int]) -> LLVMValue:
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
