"""Matrix products by blocks that stay in registers.

For the small products of convolutions these are faster than NumPy's BLAS: a little where OpenBLAS
has kernels for the machine, twice as fast where it has not or `OPENBLAS_CORETYPE` asks for others.
"""

from __future__ import annotations

from typing import Any

import numba
from numba import types

from tinygrad_cnn.engine.fast.compiling import compiled
from tinygrad_cnn.engine.fast.kernel import FLAGS, inlined, moved, version
from tinygrad_cnn.engine.fast.registers import lanes, product_tile, registers, transposed_block

WIDE = 4 if registers() == 32 else 2  # registers of a row of the largest blocks
TALL = 12 if registers() == 32 else 6  # rows of the blocks of two registers
_WHOLE = types.int64


def _panel(tall: int, vectors: int, half: bool = False, masked: bool = False) -> Any:
    """Return the product with as many columns of B as a block has, by blocks of few rows."""
    high, six, four, one = (product_tile(rows, vectors, half, masked) for rows in (tall, 6, 4, 1))

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


def compiled_product() -> Any:
    """Return C ← alpha·A·B + beta·C for float32, compiled by itself; kept on disk.

    Its operands are: the sizes m, n and k; alpha; A, the distance of its rows and of its columns; B
    and the distance of its rows; beta; C and the distance of its rows.
    """
    width, real = lanes("f4"), types.float32
    matrix = types.CPointer(real)
    kinds = [_WHOLE] * 3 + [real, matrix, _WHOLE, _WHOLE, matrix, _WHOLE, real, matrix, _WHOLE]

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

    signature = types.void(*kinds)
    product.__qualname__ = f"product_{version()}"  # the cache's name for it
    return compiled(
        lambda cache: numba.cfunc(signature, nopython=True, cache=cache, **FLAGS)(product), product
    )
