"""Vectors of 64 bytes as values in kernels, for loops that LLVM does not vectorize.

A vector holds 16 numbers of float32, or 8 of float64. Near the end of an array some lanes may be
beyond it: `load_part` and `store_part` leave memory beyond `count` numbers alone.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, overload, register_model

from tinygrad_cnn.engine.fast.kernel import WHOLE
from tinygrad_cnn.engine.fast.vectors import CONTRACT, Vectors

BYTES = 64


class VectorType(types.Type):  # type: ignore[misc]
    """The type of a vector of reals of one dtype."""

    def __init__(self, real: Any) -> None:
        super().__init__(name=f"Vector({real})")
        self.real = real
        self.lanes = BYTES * 8 // real.bitwidth


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: VectorType) -> None:
        real = manager.lookup(kind.real).get_value_type()
        super().__init__(manager, kind, ir.VectorType(real, kind.lanes))


def lanes(_pointer: Any) -> int:
    """Return the number of lanes of a vector, inside a kernel."""
    raise RuntimeError("lanes: called outside a kernel")


@overload(lanes)
def _(_pointer):  # type: ignore[no-untyped-def]
    count = BYTES * 8 // _pointer.dtype.bitwidth
    return lambda _pointer: count


@intrinsic  # type: ignore[untyped-decorator]
def load_part(_context: Any, pointer: Any, _offset: Any, _count: Any) -> Any:
    """Return the vector at an offset; its lanes from `count` on are 0, and not read."""
    kind = VectorType(pointer.dtype)

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        start, offset, count = arguments
        vectors = Vectors(builder, start.type.pointee, kind.lanes, count)
        return vectors.load(builder.gep(start, [offset]))

    return kind(pointer, WHOLE, WHOLE), generate


def _stored(pointer: Any, vector: Any, *counts: Any) -> Any:
    """Return the signature and the code of a store to an offset, of some lanes or all."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        start, offset, value, *count = arguments
        vectors = Vectors(builder, start.type.pointee, vector.lanes, *count)
        vectors.store(value, builder.gep(start, [offset]))
        return context.get_dummy_value()

    return types.void(pointer, WHOLE, vector, *counts), generate


@intrinsic  # type: ignore[untyped-decorator]
def store(_context: Any, pointer: Any, _offset: Any, vector: Any) -> Any:
    """Write a vector to an offset."""
    return _stored(pointer, vector)


@intrinsic  # type: ignore[untyped-decorator]
def store_part(_context: Any, pointer: Any, _offset: Any, vector: Any, _count: Any) -> Any:
    """Write the lanes of a vector that are below `count` to an offset."""
    return _stored(pointer, vector, WHOLE)


@intrinsic  # type: ignore[untyped-decorator]
def multiply_add(_context: Any, a: Any, _b: Any, _c: Any) -> Any:
    """Return a·b + c, lane by lane."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        product = builder.fmul(arguments[0], arguments[1], flags=CONTRACT)
        return builder.fadd(product, arguments[2], flags=CONTRACT)

    return a(a, a, a), generate
