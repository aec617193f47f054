"""Matrix products inside kernels, of any size, against NumPy's in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

pytest.importorskip("numba")
from tinygrad_cnn.engine.fast.kernel import (
    Conversion,
    Reals,
    Whole,
    kernel,
)
from tinygrad_cnn.engine.fast.products import PLAIN, TRANSPOSED, gemm
from tinygrad_cnn.engine.fast.row_writer import ArrayRows

SIZES = st.one_of(st.integers(1, 20), st.sampled_from([24, 31, 64, 67, 130]))


@kernel
def product_of_any_kind(
    a: Reals, b: Reals, c: Reals, turned_a: Whole, turned_b: Whole, m: Whole, n: Whole, k: Whole,
    lda: Whole, ldb: Whole, ldc: Whole, kept: Whole, real: Conversion,
) -> None:  # fmt: skip
    """Compute C ← 2·A·B + kept·C."""
    two, beta = real(2), real(kept)
    if turned_a and turned_b:
        gemm(TRANSPOSED, TRANSPOSED, m, n, k, two, a, lda, b, ldb, beta, c, ldc)
    elif turned_a:
        gemm(TRANSPOSED, PLAIN, m, n, k, two, a, lda, b, ldb, beta, c, ldc)
    elif turned_b:
        gemm(PLAIN, TRANSPOSED, m, n, k, two, a, lda, b, ldb, beta, c, ldc)
    else:
        gemm(PLAIN, PLAIN, m, n, k, two, a, lda, b, ldb, beta, c, ldc)


@given(
    SIZES, SIZES, SIZES, st.tuples(st.booleans(), st.booleans()), st.sampled_from([0, 1, 3]),
    st.sampled_from(["f4", "f8"]), st.integers(0, 3),
)  # fmt: skip
@example(17, 127, 5, (False, False), 1, "f4", 3)  # blocks of every size
@example(6, 600, 300, (False, False), 0, "f4", 0)  # rows of B far apart
def test_products_match_numpy_and_write_nothing_else(
    m: int, n: int, k: int, turned: tuple[bool, bool], kept: int, dtype: str, gap: int
) -> None:
    rng = np.random.default_rng(m + n + k)
    shapes = [(k, m) if turned[0] else (m, k), (n, k) if turned[1] else (k, n), (m, n)]
    stored = [np.full((rows + 1, columns + gap), np.nan, dtype) for rows, columns in shapes]
    a, b, c = (s[:r, :q] for s, (r, q) in zip(stored, shapes, strict=True))
    a[...], b[...] = rng.standard_normal(a.shape), rng.standard_normal(b.shape)
    if kept:
        c[...] = rng.standard_normal(c.shape)
    left, right = (p.T if t else p for p, t in zip((a, b), turned, strict=True))
    expected = 2 * left.astype("f8") @ right + (kept * c.astype("f8") if kept else 0)
    rows = ArrayRows()
    places = [rows.at(s) for s in stored]
    sizes = (*turned, m, n, k, *[s.shape[1] for s in stored], kept)
    rows.row(product_of_any_kind, dtype, *places, *map(int, sizes), product=m * n * k)
    rows.tape().run()
    np.testing.assert_allclose(c, expected, *([1e-4] * 2 if dtype == "f4" else [1e-11] * 2))
    assert np.isnan(stored[2][m:]).all()
    assert np.isnan(stored[2][:, n:]).all()


def test_products_keep_what_is_not_finite() -> None:
    a, b = np.ones((7, 3), "f4"), np.zeros((3, 70), "f4")
    a[2, 1], b[0, 65] = np.inf, np.nan
    c, rows = np.empty((7, 70), "f4"), ArrayRows()
    places = [rows.at(x) for x in (a, b, c)]
    rows.row(product_of_any_kind, "f4", *places, 0, 0, 7, 70, 3, 3, 70, 70, 0)
    rows.tape().run()
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(c, 2 * a @ b)
