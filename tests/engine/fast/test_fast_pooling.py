"""Kernels of pooling, against the engine's NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_cnn as tg

pytest.importorskip("numba")

from tinygrad_cnn.engine import pooling
from tinygrad_cnn.engine.fast import pooling as kernels
from tinygrad_cnn.engine.fast.eager.running import run
from tinygrad_cnn.engine.fast.kernel import Kernel
from tinygrad_cnn.engine.windows import Windows
from tinygrad_cnn.ops.pooling import pooling_windows

IMAGES_LAST, BACK = (2, 3, 1, 0), (3, 2, 0, 1)


def pooled(
    kernel: Kernel, at: Windows, rows: int, length: int, *arrays: Any, more: tuple[int, ...] = ()
) -> None:
    """Run a kernel in several pieces."""
    each = max(1, rows // 3)
    operands = [*arrays, 1, length, *kernels.geometry(at), *more, each]
    run(kernel, *operands, pieces=-(-rows // each), work=1 << 30)


@settings(max_examples=60, deadline=None)
@given(
    dtype=st.sampled_from("fd"),
    size=st.tuples(*[st.sampled_from([0, 1, 3, 17])], st.sampled_from([1, 5])),
    image=st.tuples(st.integers(5, 9), st.integers(5, 9)),
    kernel_size=st.one_of(st.just((2, 2)), st.tuples(st.integers(1, 3), st.integers(1, 3))),
    stride=st.sampled_from([None, 1, 2, (3, 1)]),
    padded=st.booleans(),
    dilation=st.sampled_from([1, 1, 2]),
    ceil_mode=st.booleans(),
    holes=st.booleans(),
    seed=st.integers(0, 99),
)
def test_kernels_pool_as_numpy_does(
    dtype: str, size: tuple[int, int], image: tuple[int, int], kernel_size: tuple[int, int],
    stride: Any, padded: bool, dilation: int, ceil_mode: bool, holes: bool, seed: int,
) -> None:  # fmt: skip
    (n, c), (height, width) = size, image
    padding = tuple([k // 2 * padded for k in kernel_size])
    at = pooling_windows(
        "maxpool", (n, c, *image), kernel_size, stride, padding, dilation, ceil_mode, False
    )
    rng = np.random.default_rng(seed)
    memory = rng.integers(-2, 3, (height, width, c, n)).astype(dtype)  # with ties
    memory[rng.random(memory.shape) < 0.1] = -np.inf
    if holes:
        memory[rng.random(memory.shape) < 0.02] = np.nan
    x, length = memory.transpose(BACK), c * n
    y = np.full((*at.count, c, n), np.nan, dtype)
    won, dx = np.full(y.shape, 77, np.uint8), np.full(memory.shape, np.nan, dtype)
    pooled(kernels.window_maxima, at, at.count[0], length, memory, y, won, 1)
    largest = pooling.maximum(x, at)
    np.testing.assert_array_equal(y.transpose(BACK), largest)
    alone = np.full_like(y, np.nan)
    pooled(kernels.window_maxima, at, at.count[0], length, memory, alone, won, 0)
    np.testing.assert_array_equal(alone, y)
    with tg.engine.options(fast=False):
        np.testing.assert_array_equal(won.transpose(BACK), pooling.winner(x, largest, at))
    taken = pooling.gather(x, won.transpose(BACK), at)  # a NaN wins where there is one
    np.testing.assert_array_equal(taken, largest)

    g = rng.standard_normal(y.shape).astype(dtype)
    pooled(kernels.window_maxima_gradient, at, height, length, g, won, dx)
    expected = pooling.scatter(g.transpose(BACK), won.transpose(BACK), at)
    np.testing.assert_allclose(dx.transpose(BACK), expected, rtol=1e-5, atol=1e-6)
    if dilation > 1:
        return
    memory[~np.isfinite(memory)] = 0
    for counts_border in (True, False):
        more = kernels.counted(at, counts_border)
        y[...] = dx[...] = np.nan
        pooled(kernels.window_means, at, at.count[0], length, memory, y, more=more)
        expected = pooling.average(x, at, counts_border)
        np.testing.assert_allclose(y.transpose(BACK), expected, rtol=1e-6, atol=1e-6)
        pooled(kernels.window_means_gradient, at, height, length, g, dx, more=more)
        expected = pooling.average_gradient(g.transpose(BACK), at, counts_border)
        np.testing.assert_allclose(dx.transpose(BACK), expected, rtol=1e-5, atol=1e-6)


def test_pooling_kernels_have_the_same_bits_on_any_number_of_threads() -> None:
    rng = np.random.default_rng(0)
    at = pooling_windows("maxpool", (16, 8, 33, 30), 3, 2, 1, 1, False, False)
    memory = rng.standard_normal((33, 30, 8, 16), dtype="f")
    g = rng.standard_normal((*at.count, 8, 16), dtype="f")
    made = []
    for threads in (1, 2, 3):
        y, won, dx = np.empty_like(g), np.empty(g.shape, np.uint8), np.empty_like(memory)
        with tg.num_threads(threads):
            pooled(kernels.window_maxima, at, at.count[0], 128, memory, y, won, 1)
            pooled(kernels.window_maxima_gradient, at, 33, 128, g, won, dx)
        made.append((y, won, dx))
    for other in made[1:]:
        for ours, theirs in zip(made[0], other, strict=True):
            assert np.array_equal(ours, theirs)
