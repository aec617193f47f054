"""Vectors of 64 bytes as values in kernels, for loops that LLVM does not vectorize.

It does not where a loop reads and writes many places, as it cannot tell that none of them overlap.
A vector holds 16 numbers of float32, or 8 of float64. Near the end of an array some lanes may be
beyond it: `load_part` and `store_part` leave memory beyond `count` numbers alone.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

BYTES = 64
_INT = ir.IntType(64)
_CONTRACT = ("contract",)  # a product and a sum may round once


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


def _place(builder: Any, pointer: Any, offset: Any, kind: Any) -> Any:
    return builder.bitcast(builder.gep(pointer, [offset]), kind.as_pointer())


def _mask(builder: Any, kind: VectorType, count: Any) -> Any:
    """Return which lanes are below `count`."""
    wide = ir.VectorType(_INT, kind.lanes)
    spread = _spread(builder, wide, count)
    numbers = ir.Constant(wide, [ir.Constant(_INT, k) for k in range(kind.lanes)])
    return builder.icmp_signed("<", numbers, spread)


def _spread(builder: Any, kind: Any, number: Any) -> Any:
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(_INT, 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), None)
    return builder.shuffle_vector(first, undefined, zeros)


@intrinsic  # type: ignore[untyped-decorator]
def load(_context: Any, pointer: Any, _offset: Any) -> Any:
    """Return the vector at an offset."""
    kind = VectorType(pointer.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = context.get_value_type(kind)
        place = _place(builder, arguments[0], arguments[1], vector)
        return builder.load(place, align=kind.real.bitwidth // 8)

    return kind(pointer, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def load_part(_context: Any, pointer: Any, _offset: Any, _count: Any) -> Any:
    """Return the vector at an offset; its lanes from `count` on are 0, and not read."""
    kind = VectorType(pointer.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = context.get_value_type(kind)
        place = _place(builder, arguments[0], arguments[1], vector)
        mask = _mask(builder, kind, arguments[2])
        name = f"llvm.masked.load.v{kind.lanes}f{kind.real.bitwidth}.p0"
        function = ir.FunctionType(vector, [place.type, ir.IntType(32), mask.type, vector])
        load = cgutils.get_or_insert_function(builder.module, function, name)
        align = ir.Constant(ir.IntType(32), kind.real.bitwidth // 8)
        return builder.call(load, [place, align, mask, ir.Constant(vector, None)])

    return kind(pointer, types.int64, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def store(_context: Any, pointer: Any, _offset: Any, vector: Any) -> Any:
    """Write a vector to an offset."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(builder, arguments[0], arguments[1], arguments[2].type)
        builder.store(arguments[2], place, align=vector.real.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(pointer, types.int64, vector), generate


@intrinsic  # type: ignore[untyped-decorator]
def store_part(_context: Any, pointer: Any, _offset: Any, vector: Any, _count: Any) -> Any:
    """Write the lanes of a vector that are below `count` to an offset."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = arguments[2]
        place = _place(builder, arguments[0], arguments[1], value.type)
        mask = _mask(builder, vector, arguments[3])
        name = f"llvm.masked.store.v{vector.lanes}f{vector.real.bitwidth}.p0"
        kinds = [value.type, place.type, ir.IntType(32), mask.type]
        function = ir.FunctionType(ir.VoidType(), kinds)
        store = cgutils.get_or_insert_function(builder.module, function, name)
        align = ir.Constant(ir.IntType(32), vector.real.bitwidth // 8)
        builder.call(store, [value, place, align, mask])
        return context.get_dummy_value()

    return types.void(pointer, types.int64, vector, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def spread(_context: Any, number: Any) -> Any:
    """Return the vector whose lanes are all one number."""
    kind = VectorType(number)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _spread(builder, context.get_value_type(kind), arguments[0])

    return kind(number), generate


@intrinsic  # type: ignore[untyped-decorator]
def multiply_add(_context: Any, a: Any, _b: Any, _c: Any) -> Any:
    """Return a·b + c, lane by lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        product = builder.fmul(arguments[0], arguments[1], flags=_CONTRACT)
        return builder.fadd(product, arguments[2], flags=_CONTRACT)

    return a(a, a, a), generate
