"""Matrix products inside kernels: by blocks in registers (`tiles`), or by NumPy's BLAS library.

No second BLAS is loaded, whose threads would compete with those of the first. The machine holds it
at one thread (`engine.blas`).
"""

from __future__ import annotations

import ctypes
from typing import Any

from llvmlite import binding
from numba import types
from numba.extending import overload
from threadpoolctl import ThreadpoolController

from tinygrad_cnn.engine.fast.kernel import WHOLE
from tinygrad_cnn.engine.fast.tiles import PRODUCT, compiled_product

_ROWS = 101  # CblasRowMajor: the order of the matrices
PLAIN, TRANSPOSED = 111, 112  # CblasNoTrans, CblasTrans
NARROW = 3  # columns of a product: below, BLAS is faster
LONG = 1 << 9  # values of a row of B: above, its columns are far apart in memory,
DEEP = 1 << 8  # and BLAS, which copies them, is faster from as many rows on


def _function(name: str) -> int:
    """Return the address of a CBLAS function; 0 if NumPy's library has none.

    Sizes are passed as 64-bit numbers: a function that takes 32 reads the lower half.
    """
    for library in ThreadpoolController().select(user_api="blas").lib_controllers:
        functions = ctypes.CDLL(library.filepath)
        for symbol in (f"scipy_cblas_{name}64_", f"cblas_{name}64_", f"cblas_{name}"):
            if hasattr(functions, symbol):
                return ctypes.cast(getattr(functions, symbol), ctypes.c_void_p).value or 0
    return 0


def _external(name: str, real: Any) -> Any:
    """Return a BLAS function for use in kernels; None if there is none."""
    address = _function(name)
    if not address:
        return None
    binding.add_symbol(f"tinygrad_cnn_{name}", address)
    matrix, flags, sizes = types.CPointer(real), [types.int32] * 3, [WHOLE] * 3
    operands = [real, matrix, WHOLE, matrix, WHOLE, real, matrix, WHOLE]
    return types.ExternalFunction(f"tinygrad_cnn_{name}", types.void(*flags, *sizes, *operands))


_GEMM = {types.float32: _external("sgemm", types.float32),
         types.float64: _external("dgemm", types.float64)}  # fmt: skip


_PRODUCT = compiled_product()  # holds the code
binding.add_symbol("tinygrad_cnn_product", _PRODUCT.address)
_BLOCKS = types.ExternalFunction("tinygrad_cnn_product", PRODUCT)


def is_available() -> bool:
    """Return whether kernels can use matrix products."""
    return None not in _GEMM.values()


def gemm(*_operands: Any) -> None:
    """Compute C ← alpha·A·B + beta·C inside a kernel, of row-major matrices (m, k) and (k, n).

    The operands: whether A and B are `TRANSPOSED` or `PLAIN`, the sizes m, n and k, alpha, A and
    the distance of its rows, B and its, beta, C and its.
    """
    raise RuntimeError("gemm: called outside a kernel")


@overload(gemm)
def _(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):  # type: ignore[no-untyped-def]
    function, blocks = _GEMM[a.dtype], _BLOCKS

    def by_blas(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):  # type: ignore[no-untyped-def]
        function(_ROWS, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)

    def call(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):  # type: ignore[no-untyped-def]
        if tb == PLAIN and n >= NARROW and (k < DEEP or ldb < LONG):
            row, column = (lda, 1) if ta == PLAIN else (1, lda)
            blocks(m, n, k, alpha, a, row, column, b, ldb, beta, c, ldc)
        else:
            function(_ROWS, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)

    return call if a.dtype is types.float32 else by_blas
