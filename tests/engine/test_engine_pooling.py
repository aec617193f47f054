"""Pooling piece by piece gives what pooling as a whole gives, in every layout and dtype."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.engine import planes, pooling, threads
from tinygrad_cnn.engine.pooling import offsets, winners
from tinygrad_cnn.engine.windows import Windows, windows

Array = np.ndarray[Any, Any]

# Shape, kernel, stride, padding, dilation, ceil_mode.
CASES = [
    ((40, 3, 12, 13), (2, 2), 2, 0, 1, False),
    ((2, 3, 12, 13), (2, 2), 2, (0, 1), 1, True),
    ((16, 3, 15, 14), (3, 3), 2, 1, 1, False),
    ((1, 5, 15, 14), (3, 3), 2, 1, 1, True),
    ((3, 15, 14), (3, 2), (1, 2), 1, 1, False),
    ((16, 3, 9, 11), (3, 3), 1, 1, 2, False),
    ((2, 2, 13, 12), (2, 3), (3, 4), ((0, 1), (1, 0)), (2, 1), False),
    ((9, 4, 10, 10), (5, 5), 1, 2, 1, False),
    ((2, 3, 20, 18), (17, 16), 1, 8, 1, False),  # more offsets than a byte counts
    ((2, 4, 16, 5), (1, 3), 1, 0, 1, False),
    ((4, 4, 6, 6), (6, 6), 1, 0, 1, False),
    ((40, 4, 9, 8), (1, 1), 2, 0, 1, False),
    ((0, 2, 5, 5), (2, 2), 2, 0, 1, False),
]
ORDERS = [(0, 1, 2, 3), (2, 3, 1, 0), (0, 2, 3, 1), (3, 1, 0, 2)]


def windows_of(case: Any) -> Windows:
    shape, kernel, stride, padding, dilation, ceil_mode = case
    return windows("pool", shape[-2:], kernel, stride, padding, dilation, ceil_mode)


def in_order(images: Array, order: tuple[int, ...]) -> Array:
    """Return the images with their axes in an order in memory."""
    order = tuple(axis - (4 - images.ndim) for axis in order if axis >= 4 - images.ndim)
    return np.ascontiguousarray(images.transpose(order)).transpose(np.argsort(order))


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that calls one of `pooling` on images as a whole.

    Other images are pooled in many small pieces, on several threads.
    """
    monkeypatch.setattr(planes, "PIECE", 1 << 11)
    monkeypatch.setattr(winners, "BLOCK", 1 << 8)
    monkeypatch.setattr(winners, "SHARE", 16)
    monkeypatch.setattr(threads, "SMALL", 0)
    monkeypatch.setattr(threads, "WORTH", 0)
    monkeypatch.setattr(offsets, "SMALL", 0)

    def call(name: str, *arguments: Any) -> Array:
        with monkeypatch.context() as patch:
            patch.setattr(offsets, "SMALL", 1 << 30)
            return getattr(pooling, name)(*arguments)

    return call


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", ">f4", "i2", "?"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_max_pooling_piece_by_piece_is_that_of_the_whole(case: Any, dtype: str, whole: Any) -> None:
    at, rng = windows_of(case), np.random.default_rng(0)
    x = rng.integers(-3, 4, case[0]).astype(dtype)  # with ties
    if x.dtype.kind != "b" and x.size:
        x[..., :2, :] = x[-1] = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    y, u = whole("maximum", x, at), rng.integers(-9, 9, (*x.shape[:-2], *at.count)).astype("f4")
    won = whole("winner", x.astype("f8"), y.astype("f8"), at)
    dx = whole("scatter", u, won, at)
    for order in ORDERS:
        images = in_order(x, order)
        with tg.engine.options(poison=True):
            largest = pooling.maximum(images, at)
            np.testing.assert_array_equal(largest, y)
            assert largest.dtype == x.dtype.newbyteorder("=")
            np.testing.assert_array_equal(pooling.winner(images, y, at), won)
            np.testing.assert_array_equal(pooling.gather(images, won, at), y)
            if dtype == "f4":
                for of_u in (u, in_order(u, (2, 3, 1, 0))):
                    np.testing.assert_array_equal(
                        pooling.scatter(of_u, in_order(won, order), at), dx
                    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_any_cell_can_be_gathered_and_scattered(case: Any, whole: Any) -> None:
    """Cells of the border count as zeros; values added there are dropped."""
    at, rng = windows_of(case), np.random.default_rng(0)
    x, u = rng.standard_normal(case[0]), rng.integers(-9, 9, (*case[0][:-2], *at.count)) + 0j
    won = rng.integers(len(at.cells), size=u.shape)
    y, dx = whole("gather", x, won, at), whole("scatter", u, won, at)
    for order in ORDERS:
        with tg.engine.options(poison=True):
            np.testing.assert_array_equal(pooling.gather(in_order(x, order), won, at), y)
            scattered = pooling.scatter(u, in_order(won, order), at)
            np.testing.assert_array_equal(scattered, dx)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_winner_of_a_window_that_holds_nan_is_a_nan_on_the_image(case: Any, whole: Any) -> None:
    at, rng = windows_of(case), np.random.default_rng(0)
    x = rng.standard_normal(case[0])
    x[..., ::3, ::4] = np.nan
    y = whole("maximum", x, at)
    for order in ORDERS:
        images = in_order(x, order)
        np.testing.assert_array_equal(pooling.maximum(images, at), y)
        won = pooling.winner(images, y, at)
        np.testing.assert_array_equal(pooling.gather(images, won, at), y)
        assert won.max(initial=0) < len(at.cells)


def test_the_number_of_threads_changes_no_bit(whole: Any) -> None:
    at, rng = windows_of(CASES[2]), np.random.default_rng(0)
    for order in ORDERS:
        x, u = (in_order(rng.standard_normal(shape, "f4"), order)
                for shape in (CASES[2][0], (*CASES[2][0][:-2], *at.count)))  # fmt: skip
        won = pooling.winner(x, pooling.maximum(x, at), at)
        with tg.num_threads(1):
            alone = pooling.scatter(u, won, at)
        with tg.num_threads(4):
            for _ in range(5):
                np.testing.assert_array_equal(pooling.scatter(u, won, at), alone)


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_average_pooling_piece_by_piece_is_that_of_the_whole(
    case: Any, inside: bool, whole: Any
) -> None:
    at, rng = windows_of(case), np.random.default_rng(0)
    x, u = (rng.standard_normal(shape) for shape in (case[0], (*case[0][:-2], *at.count)))
    y, dx = whole("average", x, at, not inside), whole("average_gradient", u, at, not inside)
    for order in ORDERS:
        with tg.engine.options(poison=True):
            mean = pooling.average(in_order(x, order), at, not inside)
            spread = pooling.average_gradient(in_order(u, order), at, not inside)
        np.testing.assert_allclose(mean, y, rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(spread, dx, rtol=1e-13, atol=1e-13)
        single = pooling.average(in_order(x.astype("f4"), order), at, not inside)
        assert single.dtype == np.float32
        np.testing.assert_allclose(single, y, atol=2e-6)
