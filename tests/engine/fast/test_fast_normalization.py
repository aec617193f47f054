"""Kernels of batch normalization, against formulas in extended precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import tinygrad_cnn as tg

pytest.importorskip("numba")

from tinygrad_cnn.engine.fast import normalization as kernels
from tinygrad_cnn.engine.fast.eager.running import run

EPS = 1e-5
TOLERANCE = {"f": 2e-5, "d": 1e-12}


def empty(shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    return np.full(shape, np.nan, dtype)  # poisoned: a value that is not written is found


def normalized(
    x: NDArray[Any], g: NDArray[Any], w: NDArray[Any] | None, b: NDArray[Any] | None,
    limits: tuple[float, float] | None = None,
) -> tuple[NDArray[Any], ...]:  # fmt: skip
    """Return the statistics, y, the moments and dx of (pixels, channels, run), by the kernels."""
    (pixels, channels, length), dtype = x.shape, x.dtype.char
    each = kernels.pixels_of_piece(pixels, channels * length)
    pieces = -(-pixels // each)
    sizes, steps = x.shape, (1, 4)
    low, high = limits or (-np.inf, np.inf)
    affine = [x if v is None else v for v in (w, b)]
    given_ = [int(v is not None) for v in (w, b)]
    found, moments = empty((channels, 4), dtype), empty((channels, 2), dtype)
    sums, y, dx = empty((pieces, channels, 2), dtype), empty(sizes, dtype), empty(sizes, dtype)
    run(kernels.channel_sums, x, sums, *sizes, each, pieces=pieces, work=1 << 30, scratch=channels)
    run(kernels.channel_statistics, x, sums, found, pieces, *sizes, *steps, EPS)
    run(kernels.normalized_channels, x, found, *affine, y, *given_, low, high, *sizes, *steps, each,
        pieces=pieces, work=1 << 30, scratch=3 * channels)  # fmt: skip
    masked = int(limits is not None)
    run(kernels.gradient_sums, g, x, found, *affine, sums, *given_, masked, low, high, *sizes,
        *steps, each, pieces=pieces, work=1 << 30, scratch=4 * channels)  # fmt: skip
    run(kernels.channel_moments, sums, moments, pieces, channels, 1, 2)
    run(kernels.normalization_gradient, g, x, found, moments, *affine, dx, *given_, masked, low,
        high, *sizes, *steps, 1, 2, each, pieces=pieces, work=1 << 30,
        scratch=6 * channels)  # fmt: skip
    return found, y, moments, dx


def exact(
    x: NDArray[Any], g: NDArray[Any], w: NDArray[Any] | None, b: NDArray[Any] | None,
    limits: tuple[float, float] | None = None,
) -> tuple[NDArray[Any], ...]:  # fmt: skip
    x, g = x.astype(np.longdouble), g.astype(np.longdouble)
    scale = 1 if w is None else w.astype(np.longdouble)[:, np.newaxis]
    shift = 0 if b is None else b.astype(np.longdouble)[:, np.newaxis]
    mean, variance = x.mean((0, 2), keepdims=True), x.var((0, 2), keepdims=True)
    deviation = np.sqrt(variance + EPS)
    normal = (x - mean) / deviation
    y = normal * scale + shift
    if limits is not None:
        g = np.where((y >= limits[0]) & (y <= limits[1]), g, 0)
        y = np.clip(y, *limits)
    moments = np.stack([g.sum((0, 2)), (g * normal).sum((0, 2))], -1)
    n = x.size // x.shape[1]
    of_g, of_x = (moments[:, k, np.newaxis] / n for k in (0, 1))
    dx = scale / deviation * (g - of_g - normal * of_x)
    found = [part[0, :, 0] for part in (mean, deviation, variance)]
    return np.stack(found, -1), y, moments, dx


def check(made: tuple[NDArray[Any], ...], expected: tuple[NDArray[Any], ...], dtype: str) -> None:
    """Compare; dx is a difference of terms of the size 1 / σ, of which little may be left."""
    found, y, moments, dx = made
    assert (found[:, 3] == 1).all()
    of_dx = abs(expected[3]).max(initial=1.0) + 1 / expected[0][:, 1, np.newaxis]
    for ours, right, size in (
        (found[:, :3], expected[0], 1.0),
        (y, expected[1], 1.0),
        (moments, expected[2], max(1.0, y.size / y.shape[1]) ** 0.5),
        (dx / of_dx, expected[3] / of_dx, 1.0),
    ):
        np.testing.assert_allclose(
            ours, right.astype(dtype), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * size
        )


@settings(max_examples=40, deadline=None)
@given(
    dtype=st.sampled_from("fd"),
    pixels=st.sampled_from([1, 2, 9, 130, 300]),
    channels=st.sampled_from([1, 3, 16]),
    length=st.sampled_from([1, 3, 17, 64]),
    scaled=st.booleans(),
    shifted=st.booleans(),
    limits=st.sampled_from([None, (0.0, np.inf), (0.0, 6.0)]),
    seed=st.integers(0, 99),
)
def test_kernels_of_batch_norm_match_the_formulas(
    dtype: str, pixels: int, channels: int, length: int, scaled: bool, shifted: bool,
    limits: Any, seed: int,
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    x, g = rng.standard_normal((2, pixels, channels, length)).astype(dtype)
    w, b = rng.standard_normal((2, channels)).astype(dtype)
    operands = x, g, w if scaled else None, b if shifted else None
    expected = exact(*operands, limits)
    if limits is not None:  # no value so near to a kink that a rounding decides
        y = exact(*operands)[1]
        near = np.minimum(abs(y - limits[0]), abs(y - limits[1])) < 1e-4
        operands[1][near] = 0
        expected = exact(*operands, limits)
    check(normalized(*operands, limits), expected, dtype)


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("outlier", [False, True])
def test_batch_norm_keeps_digits_where_the_mean_is_large(dtype: str, outlier: bool) -> None:
    rng = np.random.default_rng(0)
    x = (1e4 + rng.standard_normal((200, 4, 17))).astype(dtype)
    if outlier:  # the first run, from which the shift is taken, is unlike the others
        x[0] = 0.0
        x[0, 2] = 3e4
    mean, variance = (f(x.astype(np.longdouble), (0, 2)) for f in (np.mean, np.var))
    found, *_ = normalized(x, x, None, None)
    np.testing.assert_allclose(found[:, 0], mean.astype(dtype), rtol=1e-7)
    np.testing.assert_allclose(found[:, 2], variance.astype(dtype), rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_batch_norm_of_squares_beyond_float32(size: float) -> None:
    x = np.random.default_rng(0).standard_normal((9, 3, 5)) * size
    found, *_ = normalized(x.astype("f"), x.astype("f"), None, None)
    np.testing.assert_allclose(found[:, 0], x.mean((0, 2)), rtol=1e-5)
    np.testing.assert_allclose(found[:, 1], np.sqrt(x.var((0, 2)) + EPS), rtol=1e-5)


def test_batch_norm_kernels_pass_nan_on_in_its_channel_only() -> None:
    x = np.random.default_rng(0).standard_normal((9, 3, 5)).astype("f")
    x[4, 1, 2] = np.nan
    for part in normalized(x, np.ones_like(x), None, None)[1::2]:
        assert np.isnan(part).any((0, 2)).tolist() == [False, True, False]


def test_batch_norm_has_the_same_bits_on_any_number_of_threads() -> None:
    x, g = np.random.default_rng(0).standard_normal((2, 300, 16, 64)).astype("f")
    made = []
    for threads in (1, 2, 3):
        with tg.num_threads(threads):
            made.append(normalized(x, g, None, None, (0.0, 6.0)))
    for other in made[1:]:
        for ours, theirs in zip(made[0], other, strict=True):
            assert np.array_equal(ours, theirs)
