"""Matrix products by blocks that stay in registers.

For the small products of convolutions these are faster than NumPy's BLAS: a little where OpenBLAS
has kernels for the machine, twice as fast where it has not or `OPENBLAS_CORETYPE` asks for others.
A block is `rows` × `vectors` registers of sums, and its loop over the inner axis reads each value
of the matrices once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinygrad_cnn.engine.fast.compiling import compiled
from tinygrad_cnn.engine.fast.kernel import FLAGS, WHOLE, inlined, moved, version
from tinygrad_cnn.engine.fast.vectors import INT, LLVMValue, Vectors, register_lanes, registers

WIDE = 4 if registers() == 32 else 2  # registers of a row of the largest blocks
TALL = 12 if registers() == 32 else 6  # rows of the blocks of two registers


def _registers(
    builder: Any, real: Any, half: bool = False, count: LLVMValue | None = None
) -> Vectors:
    """Return what writes operations on registers, or on half of them."""
    lanes = register_lanes("f4" if isinstance(real, ir.FloatType) else "f8")
    return Vectors(builder, real, lanes >> half, count)


def _loop(
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


def _product_tile(rows: int, vectors: int, half: bool = False, masked: bool = False) -> Any:
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
            write = _registers(builder, real, half, columns if masked else None)
            each = [INT(v * write.lanes) for v in range(vectors)]
            starts = [write.at(a, r, a_row) for r in numbers]

            def add(_: LLVMValue, now: Sequence[LLVMValue]) -> list[LLVMValue]:
                place, row, *sums = now
                across = [write.load(builder.gep(row, [v])) for v in each]
                down = [write.of(builder.load(builder.gep(at, [place]))) for at in starts]
                factors = [(p, q) for p in down for q in across]
                sums = [write.fused(*pq, z) for pq, z in zip(factors, sums, strict=True)]
                return [builder.add(place, a_column), builder.gep(row, [b_row]), *sums]

            _, _, *sums = _loop(builder, k, [INT(0), b, *[write.zero] * (rows * vectors)], add)
            scale, keep = write.of(alpha), write.of(beta)
            sums = [builder.fmul(scale, z) for z in sums]
            ends = [write.at(c, r, c_row) for r in numbers]
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

        kinds = (WHOLE, a, WHOLE, WHOLE, b, WHOLE, a.dtype, a.dtype, c, WHOLE, WHOLE)
        return types.void(*kinds), generate

    return tile


@intrinsic  # type: ignore[untyped-decorator]
def transposed_block(
    _context: Any, source: Any, _source_row: Any, target: Any, _target_row: Any
) -> Any:
    """Copy a square matrix with as many rows as a register has values to its transpose."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        source, source_row, target, target_row = arguments
        write = _registers(builder, source.type.pointee)
        rows = [write.load(write.at(source, r, source_row)) for r in range(write.lanes)]
        for r, row in enumerate(write.transposed(rows)):
            write.store(row, write.at(target, r, target_row))
        return context.get_dummy_value()

    return types.void(source, WHOLE, target, WHOLE), generate


@intrinsic  # type: ignore[untyped-decorator]
def copied_register(_context: Any, source: Any, _target: Any) -> Any:
    """Copy as many values as a register has."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        write = _registers(builder, arguments[0].type.pointee)
        write.store(write.load(arguments[0]), arguments[1])
        return context.get_dummy_value()

    return types.void(source, source), generate


def _panel(tall: int, vectors: int, half: bool = False, masked: bool = False) -> Any:
    """Return the product with as many columns of B as a block has, by blocks of few rows."""
    high, six, four, one = (_product_tile(rows, vectors, half, masked) for rows in (tall, 6, 4, 1))

    @inlined
    def panel(m, k, a, a_row, a_column, b, b_row, alpha, beta, c, c_row, columns):  # type: ignore[no-untyped-def]
        i = 0
        while m - i >= tall:
            high(k, moved(a, i * a_row), a_row, a_column, b, b_row, alpha, beta,
                 moved(c, i * c_row), c_row, columns)  # fmt: skip
            i += tall
        if m - i == 6 and tall != 6:
            six(k, moved(a, i * a_row), a_row, a_column, b, b_row, alpha, beta,
                moved(c, i * c_row), c_row, columns)  # fmt: skip
            i += 6
        while m - i >= 4:
            four(k, moved(a, i * a_row), a_row, a_column, b, b_row, alpha, beta,
                 moved(c, i * c_row), c_row, columns)  # fmt: skip
            i += 4
        while m - i >= 1:
            one(k, moved(a, i * a_row), a_row, a_column, b, b_row, alpha, beta,
                moved(c, i * c_row), c_row, columns)  # fmt: skip
            i += 1

    return panel


_wide, _pair, _one = _panel(6, WIDE), _panel(TALL, 2), _panel(12, 1)
_half, _rest = _panel(12, 1, half=True), _panel(12, 1, masked=True)


@inlined
def transpose(source: Any, rows: int, columns: int, target: Any, size: int) -> None:
    """Copy a matrix of contiguous rows to its transpose, for a register of `size` values."""
    whole = rows // size * size
    for c in range(0, columns // size * size, size):
        for r in range(0, whole, size):
            transposed_block(moved(source, r * columns + c), columns,
                             moved(target, c * rows + r), rows)  # fmt: skip
        for i in range(c, c + size):
            for r in range(whole, rows):
                target[i * rows + r] = source[r * columns + i]
    for i in range(columns // size * size, columns):
        for r in range(rows):
            target[i * rows + r] = source[r * columns + i]


_MATRIX = types.CPointer(types.float32)
PRODUCT = types.void(
    WHOLE, WHOLE, WHOLE, types.float32, _MATRIX, WHOLE, WHOLE, _MATRIX, WHOLE,
    types.float32, _MATRIX, WHOLE,
)  # fmt: skip
"""The signature of `compiled_product`."""


def compiled_product() -> Any:
    """Return C ← alpha·A·B + beta·C for float32, compiled by itself; kept on disk.

    Its operands are: the sizes m, n and k; alpha; A, the distance of its rows and of its columns; B
    and the distance of its rows; beta; C and the distance of its rows.
    """
    width = register_lanes("f4")

    def product(m, n, k, alpha, a, a_row, a_column, b, b_row, beta, c, c_row):  # type: ignore[no-untyped-def]
        j = 0
        while n - j >= WIDE * width:
            _wide(m, k, a, a_row, a_column, moved(b, j), b_row, alpha, beta,
                        moved(c, j), c_row, 0)  # fmt: skip
            j += WIDE * width
        while n - j >= 2 * width:
            _pair(m, k, a, a_row, a_column, moved(b, j), b_row, alpha, beta,
                        moved(c, j), c_row, 0)  # fmt: skip
            j += 2 * width
        while n - j >= width:
            _one(m, k, a, a_row, a_column, moved(b, j), b_row, alpha, beta, moved(c, j), c_row, 0)
            j += width
        if n - j >= width // 2:
            _half(m, k, a, a_row, a_column, moved(b, j), b_row, alpha, beta, moved(c, j), c_row, 0)
            j += width // 2
        if n - j > 0:
            _rest(m, k, a, a_row, a_column, moved(b, j), b_row, alpha, beta,
                  moved(c, j), c_row, n - j)  # fmt: skip

    product.__qualname__ = f"product_{version()}"  # the cache's name for it
    return compiled(
        lambda cache: numba.cfunc(PRODUCT, nopython=True, cache=cache, **FLAGS)(product), product
    )
