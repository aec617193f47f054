"""The transforms of Winograd's F(4×4, 3×3), a vector of float32 values of a tile at a time.

The matrices are those of `engine.convolution.winograd`, for the points 0, ±a, ±b and infinity. The
points ±a have the same even powers, and odd powers of opposite sign: what is computed for one
serves both. Formulas are ordinary Python on numbers, arrays or `Lanes`; with `Lanes` they generate
code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinygrad_cnn.engine.fast.kernel import WHOLE
from tinygrad_cnn.engine.fast.vectors import CONTRACT, INT, LLVMValue, Vectors
from tinygrad_cnn.engine.tiling import IN, OUT, POINTS

KERNEL = IN + 1 - OUT
A, B = POINTS[1], POINTS[3]
AA, BB = A * A, B * B
_AT_ZERO, _AT_A, _AT_B = AA * BB, 2 * AA * (AA - BB), 2 * BB * (BB - AA)  # scales of the points

TileLine: TypeAlias = list[Any]  # numbers, arrays or `Lanes`


def of_inputs(d: TileLine) -> TileLine:
    """Return Bᵀ d: the 6 values of 6 inputs."""
    even_a, odd_a = d[4] - BB * d[2], d[3] - BB * d[1]
    even_b, odd_b = d[4] - AA * d[2], d[3] - AA * d[1]
    zero = AA * BB * d[0] - (AA + BB) * d[2] + d[4]
    infinity = AA * BB * d[1] - (AA + BB) * d[3] + d[5]
    return [zero, *_pair(even_a, A * odd_a), *_pair(even_b, B * odd_b), infinity]


def of_kernel(w: TileLine) -> TileLine:
    """Return G w: the 6 values of 3 weights, or of 4 for the weight gradient."""
    values = [(1 / _AT_ZERO) * w[0]]
    for point, scale in ((A, _AT_A), (B, _AT_B)):
        even, odd = (1 / scale) * w[0], (point / scale) * w[1]
        even = even + (point**2 / scale) * w[2]
        if len(w) > KERNEL:
            odd = odd + (point**3 / scale) * w[3]
        values += _pair(even, odd)
    return [*values, w[-1]]


def of_products(m: TileLine, count: int) -> TileLine:
    """Return Aᵀ m: the 4 outputs of 6 products, or 3 for the weight gradient."""
    even_a, odd_a = _pair(m[1], m[2])
    even_b, odd_b = _pair(m[3], m[4])
    outputs = [m[0] + even_a + even_b, A * odd_a + B * odd_b, AA * even_a + BB * even_b]
    if count > KERNEL:
        outputs.append(A * AA * odd_a + B * BB * odd_b)
    return [*outputs[:-1], outputs[-1] + m[5]]


def _pair(even: Any, odd: Any) -> TileLine:
    return [even + odd, even - odd]


def _both_ways(rows: list[TileLine], transform: Callable[[TileLine], TileLine]) -> list[TileLine]:
    """Return a transform of the columns of a matrix, then of its rows."""
    columns = [transform(list(column)) for column in zip(*rows, strict=True)]
    return [transform(list(row)) for row in zip(*columns, strict=True)]


class Lanes:
    """A vector in a formula: sums, differences, and products with numbers."""

    def __init__(self, builder: Any, value: LLVMValue) -> None:
        self._builder, self.value = builder, value

    def __add__(self, other: Lanes) -> Lanes:
        return Lanes(self._builder, self._builder.fadd(self.value, other.value, flags=CONTRACT))

    def __sub__(self, other: Lanes) -> Lanes:
        return Lanes(self._builder, self._builder.fsub(self.value, other.value, flags=CONTRACT))

    def __rmul__(self, factor: float) -> Lanes:
        kind = self.value.type
        number = ir.Constant(kind, [ir.Constant(kind.element, factor)] * kind.count)
        return Lanes(self._builder, self._builder.fmul(number, self.value, flags=CONTRACT))


class _TileMemory(Vectors):
    """The loads and stores of `lanes` values of a tile's pixels."""

    def __init__(self, builder: Any, lanes: int) -> None:
        super().__init__(builder, ir.FloatType(), lanes)

    def read(self, start: LLVMValue, offset: LLVMValue, *instead: LLVMValue) -> Lanes:
        """Return the vector at an offset; see `_place`."""
        return Lanes(self.builder, self.load(self._place(start, offset, *instead)))

    def write(self, value: Lanes, start: LLVMValue, offset: LLVMValue, *instead: LLVMValue) -> None:
        """Write a vector to an offset; see `_place`."""
        self.store(value.value, self._place(start, offset, *instead))

    def times(self, count: int, stride: LLVMValue) -> LLVMValue:
        """Return an offset: a number of strides."""
        return self.builder.mul(INT(count), stride)

    def within(self, k: int, low: LLVMValue, high: LLVMValue) -> LLVMValue:
        """Return whether low <= k < high."""
        above = self.builder.icmp_signed("<=", low, INT(k))
        return self.builder.and_(above, self.builder.icmp_signed("<", INT(k), high))

    def _place(
        self, start: LLVMValue, offset: LLVMValue, inside: Any = None, otherwise: Any = None
    ) -> LLVMValue:
        """Return an address, or `otherwise` if `inside` is given and false."""
        place = self.builder.gep(start, [offset])
        return place if inside is None else self.builder.select(inside, place, otherwise)


def _spread(transform: Callable[[TileLine], TileLine], size: int) -> Any:
    """Return the code that transforms `size`² pixels, zero outside some, to 36 values."""

    def generate(_context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, x, row, column, top, bottom, left, right, zeros, v, apart = arguments
        memory = _TileMemory(builder, signature.args[0].literal_value)
        inside_rows = [memory.within(i, top, bottom) for i in range(size)]
        inside_columns = [memory.within(j, left, right) for j in range(size)]
        pixels = [
            [
                memory.read(
                    x,
                    builder.add(memory.times(i, row), memory.times(j, column)),
                    builder.and_(inside_rows[i], inside_columns[j]),
                    zeros,
                )
                for j in range(size)
            ]
            for i in range(size)
        ]
        for i, values in enumerate(_both_ways(pixels, transform)):
            for j, value in enumerate(values):
                memory.write(value, v, memory.times(i * IN + j, apart))
        return _context.get_dummy_value()

    return generate


_SPREAD_INPUTS = _spread(of_inputs, IN)
_SPREAD_OUTPUTS = _spread(of_kernel, OUT)


@intrinsic  # type: ignore[untyped-decorator]
def spread_inputs(
    _context: Any, lanes: Any, x: Any, row: Any, column: Any, top: Any, bottom: Any, left: Any,
    right: Any, zeros: Any, v: Any, apart: Any,
) -> Any:  # fmt: skip
    """Write Bᵀ d B of 6×6 pixels d, `lanes` values each.

    Rows of pixels are `row` apart, columns `column`; those outside `top` to `bottom` and `left` to
    `right` are zero, read from `zeros`. The 36 results are `apart`.
    """
    if isinstance(lanes, types.IntegerLiteral):
        return types.void(lanes, x, *[WHOLE] * 6, zeros, v, WHOLE), _SPREAD_INPUTS
    return None


@intrinsic  # type: ignore[untyped-decorator]
def spread_outputs(
    _context: Any, lanes: Any, x: Any, row: Any, column: Any, top: Any, bottom: Any, left: Any,
    right: Any, zeros: Any, v: Any, apart: Any,
) -> Any:  # fmt: skip
    """Write G d Gᵀ of 4×4 pixels d of the gradient; see `spread_inputs`."""
    if isinstance(lanes, types.IntegerLiteral):
        return types.void(lanes, x, *[WHOLE] * 6, zeros, v, WHOLE), _SPREAD_OUTPUTS
    return None


@intrinsic  # type: ignore[untyped-decorator]
def spread_kernel(_context: Any, lanes: Any, w: Any, near: Any, u: Any, apart: Any) -> Any:
    """Write G w Gᵀ of 3×3 weights, `near` each other: 36 results, `apart`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, w, near, u, apart = arguments
        memory = _TileMemory(builder, signature.args[0].literal_value)
        rows = [
            [memory.read(w, memory.times(KERNEL * i + j, near)) for j in range(KERNEL)]
            for i in range(KERNEL)
        ]
        for i, values in enumerate(_both_ways(rows, of_kernel)):
            for j, value in enumerate(values):
                memory.write(value, u, memory.times(IN * i + j, apart))
        return context.get_dummy_value()

    if isinstance(lanes, types.IntegerLiteral):
        return types.void(lanes, w, WHOLE, u, WHOLE), generate
    return None


@intrinsic  # type: ignore[untyped-decorator]
def gather_kernel(_context: Any, lanes: Any, p: Any, apart: Any, w: Any, near: Any) -> Any:
    """Write Aᵀ p A, 3×3 weights that are `near` each other, of 36 values that are `apart`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, p, apart, w, near = arguments
        memory = _TileMemory(builder, signature.args[0].literal_value)
        rows = [
            [memory.read(p, memory.times(IN * i + j, apart)) for j in range(IN)] for i in range(IN)
        ]
        for i, values in enumerate(_both_ways(rows, lambda m: of_products(m, KERNEL))):
            for j, value in enumerate(values):
                memory.write(value, w, memory.times(KERNEL * i + j, near))
        return context.get_dummy_value()

    if isinstance(lanes, types.IntegerLiteral):
        return types.void(lanes, p, WHOLE, w, WHOLE), generate
    return None


@intrinsic  # type: ignore[untyped-decorator]
def gather_outputs(
    _context: Any, lanes: Any, m: Any, apart: Any, bias: Any, y: Any, row: Any, column: Any,
    bottom: Any, right: Any, rest: Any,
) -> Any:  # fmt: skip
    """Write Aᵀ m A + bias, 4×4 pixels, of 36 products that are `apart`; bias is a vector.

    Rows of pixels are `row` apart, columns `column`. Those from `bottom` and `right` on are written
    to `rest`, which is not read.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, m, apart, bias, y, row, column, bottom, right, rest = arguments
        memory = _TileMemory(builder, signature.args[0].literal_value)
        none = INT(0)
        added = memory.read(bias, none)
        products = [
            [memory.read(m, memory.times(IN * i + j, apart)) for j in range(IN)] for i in range(IN)
        ]
        columns = [memory.within(j, none, right) for j in range(OUT)]
        for i, values in enumerate(_both_ways(products, lambda m: of_products(m, OUT))):
            inside = memory.within(i, none, bottom)
            for j, value in enumerate(values):
                place = builder.add(memory.times(i, row), memory.times(j, column))
                memory.write(value + added, y, place, builder.and_(inside, columns[j]), rest)
        return context.get_dummy_value()

    if isinstance(lanes, types.IntegerLiteral):
        signature = types.void(lanes, m, WHOLE, bias, y, *[WHOLE] * 4, rest)
        return signature, generate
    return None


@intrinsic  # type: ignore[untyped-decorator]
def turn(_context: Any, lanes: Any, x: Any, apart: Any, y: Any, near: Any) -> Any:
    """Write the transpose of a square of values, `lanes` by `lanes`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, x, apart, y, near = arguments
        count = signature.args[0].literal_value
        memory = _TileMemory(builder, count)
        rows = [memory.load(memory.at(x, i, apart)) for i in range(count)]
        for i, column in enumerate(memory.transposed(rows)):
            memory.store(column, memory.at(y, i, near))
        return context.get_dummy_value()

    if isinstance(lanes, types.IntegerLiteral):
        return types.void(lanes, x, WHOLE, y, WHOLE), generate
    return None
