"""Every algorithm against a sum over kernel cells in float64; its gradients as its adjoints."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.convolving import (
    ALGORITHMS,
    Case,
    Strides,
    channel_by_channel,
    computed_by,
    draw_array,
    for_tiles,
    general,
    reference,
    strides,
)
from support.drawing import at_least

import tinygrad_cnn as tg
from tinygrad_cnn.engine import convolution
from tinygrad_cnn.engine.convolution import (
    algorithm,
    depthwise,
    depthwise_few,
    direct,
    im2col,
    input_gradient_rows,
    winograd,
    winograd_few,
    winograd_lines,
    winograd_rows,
)

ROUNDING = {"f4": 1e-5, "f8": 1e-13, "c16": 1e-13}
ORDERS = st.sampled_from(["images first", "images last", "every other"])
SEEDS = st.integers(0, 2**32 - 1)
CACHES = st.sampled_from([1, 1 << 10, 1 << 14, 1 << 21])  # from a band a row to one band for all


def inner(a: Any, b: Any) -> Any:
    return np.sum(a.astype(np.result_type(a, "f8")) * b)


def check(name: str, case: Case, dtype: str, order: str, cache: int, threads: int, seed: int,
          slack: float = 1.0, rows_added: bool = False) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    x, u = (draw_array(rng, shape, dtype, order) for shape in (case.x, case.y))
    w, bias = (draw_array(rng, shape, dtype, "") for shape in (case.w, case.w[:1]))
    given = [a.copy() for a in (x, u, w, bias)]
    with computed_by(name, cache, rows_added), tg.num_threads(threads):
        y = convolution.forward(x, w, bias, case.at, case.groups)
        dx = convolution.input_gradient(u, w, case.at, case.groups)
        dw = convolution.weight_gradient(u, x, case.at, case.groups)
    for array, before in zip((x, u, w, bias), given, strict=True):
        np.testing.assert_array_equal(array, before)  # nothing that came in was written to
    assert (y.shape, dx.shape, dw.shape) == (case.y, case.x, case.w)
    assert y.dtype == dx.dtype == dw.dtype == np.dtype(dtype)
    rounding = slack * ROUNDING[dtype]
    expected = reference(x, w, case)
    largest = reference(np.abs(x), np.abs(w), case)
    error = np.abs(y - expected - bias[:, np.newaxis, np.newaxis])
    assert (error <= rounding * (largest + np.abs(bias).max(initial=1.0))).all()
    value, bound = inner(expected, u), rounding * inner(largest, np.abs(u))
    assert abs(inner(dx, x) - value) <= bound
    assert abs(inner(dw, w) - value) <= bound


# On the way back its border takes a cell away on one side and adds one on the other.
SHIFTED = Case((2, 3, 6, 4), (3, 1, 4, 2), (3, 2), (1, 1), (1, 3), 3)

# Two strips of columns, and in several blocks of rows and channels with a small cache.
WIDE = Case((17, 5, 11, 20), (5, 1, 3, 5), (1, 1), (1, 2), (1, 1), 5)

# One channel: what NumPy says of the stride along such an axis means nothing.
SINGLE = Case((33, 1, 1, 1), (1, 1, 1, 4), (1, 1), (0, 3), (1, 1), 1)


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("name", ["im2col", "direct"])
@example(case=SHIFTED, order="images first", cache=1, threads=1, seed=0, rows_added=False)
@example(case=SINGLE, order="images first", cache=1, threads=1, seed=0, rows_added=False)
@at_least(60)
@given(case=general, order=ORDERS, cache=CACHES, threads=st.integers(1, 3), seed=SEEDS,
       rows_added=st.booleans())  # fmt: skip
def test_general_algorithms(name: str, dtype: str, case: Case, order: str, cache: int,
                            threads: int, seed: int, rows_added: bool) -> None:  # fmt: skip
    check(name, case, dtype, order, cache, threads, seed, rows_added=rows_added)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("direct", "c16"),
        ("direct", "f4"),
        ("depthwise", "f4"),
        ("depthwise", "f8"),
        ("depthwise_few", "f4"),
        ("depthwise_few", "f8"),
    ],
)
@example(case=WIDE, order="images first", cache=1 << 21, threads=1, seed=0)
@example(case=WIDE, order="images last", cache=1 << 14, threads=2, seed=0)
@at_least(60)
@given(case=channel_by_channel, order=ORDERS, cache=CACHES, threads=st.integers(1, 3), seed=SEEDS)
def test_depthwise(name: str, dtype: str, case: Case, order: str, cache: int, threads: int,
                   seed: int) -> None:  # fmt: skip
    check(name, case, dtype, order, cache, threads, seed)


@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.parametrize("at", [(0, 0), (4, 9), (10, 19)])
def test_a_depthwise_output_is_not_finite_only_where_its_window_is_not(
    value: float, at: tuple[int, int]
) -> None:
    case, rng = WIDE, np.random.default_rng(0)
    x, w = (draw_array(rng, shape, "f4", "images last") for shape in (case.x, case.w))
    x[3, 2, at[0], at[1]] = value
    with computed_by("depthwise", 1 << 14):
        y = convolution.forward(x, w, None, case.at, case.groups)
    np.testing.assert_array_equal(np.isfinite(y), np.isfinite(reference(x, w, case)))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("row", [0, 4])
def test_a_depthwise_weight_is_not_finite_only_where_it_reads_what_is_not(
    row: int, stride: int
) -> None:
    case = Case((16, 4, 5, 12), (4, 1, 3, 3), (stride, 1), (0, 0), (1, 1), 4)
    x, u = np.zeros(case.x, "f4"), np.ones(case.y, "f4")
    x[0, 0, row, 5] = np.nan
    read = [k for k in range(3) if (row - k) % stride == 0 and 0 <= row - k < stride * case.y[2]]
    with computed_by("depthwise"):
        dw = convolution.weight_gradient(u, x, case.at, 4)
    assert np.isnan(dw[0, 0]).any(axis=1).nonzero()[0].tolist() == read
    assert np.isfinite(dw[1:]).all()


TILED_WAYS = st.sampled_from(["winograd", "winograd_few", "winograd_rows", "winograd_lines"])


@pytest.mark.parametrize(("dtype", "slack"), [("f4", 30.0), ("f8", 100.0)])
@at_least(60)
@given(name=TILED_WAYS, case=for_tiles, order=ORDERS, cache=CACHES, threads=st.integers(1, 3),
       seed=SEEDS)  # fmt: skip
def test_winograd(name: str, dtype: str, slack: float, case: Case, order: str, cache: int,
                  threads: int, seed: int) -> None:  # fmt: skip
    if case.x[0] == 0:
        return
    check(name, case, dtype, order, cache, threads, seed, slack)


@pytest.mark.parametrize("name", ["winograd", "winograd_few", "winograd_rows", "winograd_lines"])
@pytest.mark.parametrize("below", [4, 11])
@pytest.mark.parametrize("width", [8, 200])  # a band of tiles, and several
def test_winograd_of_a_border_wider_than_a_tile(name: str, width: int, below: int) -> None:
    case = Case((8, 8, 9, width), (8, 8, 3, 3), (1, 1), ((2, below), (1, below)), (1, 1), 1)
    rng, found = np.random.default_rng(0), []
    x, w, u = (draw_array(rng, shape, "f8", "images last") for shape in (case.x, case.w, case.y))
    for way in (name, "direct"):
        with computed_by(way, 1 << 14), tg.engine.options(poison=True):
            y = convolution.forward(x, w, None, case.at, 1)
            dw = convolution.weight_gradient(u, x, case.at, 1)
            found.append((y, dw, convolution.input_gradient(u, w, case.at, 1)))
    for tiled, expected in zip(*found, strict=True):
        np.testing.assert_allclose(tiled, expected, atol=1e-11)


@pytest.mark.parametrize("name", ["winograd", "winograd_rows", "winograd_lines"])
@pytest.mark.parametrize("images", [16, 300])
def test_winograd_takes_many_images_in_blocks(name: str, images: int) -> None:
    case = Case((images, 16, 5, 6), (17, 16, 3, 3), (1, 1), (1, 1), (1, 1), 1)
    check(name, case, "f8", "images last", 1 << 21, 2, 0, 100.0)


@pytest.mark.parametrize("turned", [False, True])
def test_an_input_gradient_is_0_if_all_windows_lie_on_the_border(turned: bool) -> None:
    size, border = ((6, 1), ((0, 0), (3, 0))) if turned else ((1, 6), ((3, 0), (0, 0)))
    case = Case((16, 2, *size), (3, 2, 3, 3), (3, 3), border, (1, 1), 1)
    u, w = np.ones(case.y, "f4"), np.ones(case.w, "f4")
    with computed_by("direct"), tg.engine.options(poison=True):
        assert not convolution.input_gradient(u, w, case.at, 1).any()


def test_im2col_adds_the_bias_if_there_are_more_channels_than_pixels() -> None:
    case = Case((2, 4, 3, 4), (20, 4, 3, 3), (1, 1), (0, 0), (1, 1), 1)
    assert im2col.is_deep(2, 20, case.at, 1)
    check("im2col", case, "f8", "images first", 1 << 21, 1, 0)


@pytest.mark.parametrize("images", [64, 300])
def test_direct_takes_wide_rows_in_blocks_of_images(images: int) -> None:
    case = Case((images, 4, 5, 6), (20, 4, 3, 3), (1, 1), (1, 1), (1, 1), 1)
    check("direct", case, "f4", "images last", 1 << 14, 2, 0)


@pytest.mark.parametrize(
    ("images", "channels", "parts"), [(33, 64, (1, 2)), (48, 61, (2, 1)), (33, 61, (1, 1))]
)
def test_direct_splits_large_products_where_it_can(
    images: int, channels: int, parts: tuple[int, int]
) -> None:
    case = Case((images, 64, 4, 3), (channels, 64, 3, 3), (1, 1), (1, 1), (1, 1), 1)
    assert direct.small_products(images, channels, 64 * 9) == parts
    check("direct", case, "f4", "images last", 1 << 21, 2, 0)


depthwise_cases = channel_by_channel.map(lambda case: replace(case, dilation=(1, 1))).filter(
    lambda case: case.groups > 1
)
WAYS = st.one_of(
    st.tuples(st.sampled_from(["im2col", "direct"]), general),
    st.tuples(st.just("direct"), channel_by_channel),
    st.tuples(st.sampled_from(["depthwise", "depthwise_few"]), depthwise_cases),
    st.tuples(TILED_WAYS, for_tiles),
)


@at_least(40)
@given(way=WAYS, cache=CACHES, seed=SEEDS, rows_added=st.booleans())
def test_the_number_of_threads_changes_no_bit(way: tuple[str, Case], cache: int, seed: int,
                                              rows_added: bool) -> None:  # fmt: skip
    (name, case), rng = way, np.random.default_rng(seed)
    x, u, w = (draw_array(rng, shape, "f4", "") for shape in (case.x, case.y, case.w))
    results = []
    for threads in (1, 2, 3):
        with (
            computed_by(name, cache, rows_added and "winograd" not in name),
            tg.num_threads(threads),
        ):
            results.append([
                convolution.forward(x, w, None, case.at, case.groups),
                convolution.input_gradient(u, w, case.at, case.groups),
                convolution.weight_gradient(u, x, case.at, case.groups),
            ])  # fmt: skip
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert a.tobytes() == b.tobytes()


PHASE = Strides((2, 3, 1, 0), (2, 2, 1, 1))  # what a stride of 2 leaves of images-last memory
TILED = Case((32, 2, 9, 10), (3, 2, 3, 3), (1, 1), (1, 1), (1, 1), 1)


@example(way=("winograd", TILED), strides=PHASE, has_bias=True, cache=1 << 21, widest=128, seed=0)
@example(way=("winograd", TILED), strides=PHASE, has_bias=True, cache=1 << 14, widest=16, seed=0)
@example(way=("winograd_rows", TILED), strides=PHASE, has_bias=True, cache=1 << 14, widest=16,
         seed=0)  # fmt: skip
@example(way=("winograd_lines", TILED), strides=PHASE, has_bias=True, cache=1 << 21, widest=128,
         seed=0)  # fmt: skip
@example(way=("im2col", TILED), strides=PHASE, has_bias=True, cache=1 << 21, widest=128, seed=0)
@at_least(60)
@given(way=WAYS, strides=strides(4), has_bias=st.booleans(), cache=CACHES,
       widest=st.sampled_from([16, 128]), seed=SEEDS)  # fmt: skip
def test_an_output_may_have_any_strides(way: tuple[str, Case], strides: Strides, has_bias: bool,
                                        cache: int, widest: int, seed: int) -> None:  # fmt: skip
    (name, case), rng = way, np.random.default_rng(seed)
    x, w, bias = (draw_array(rng, shape, "f8", "") for shape in (case.x, case.w, case.w[:1]))
    out, bias = strides.empty(case.y, "f8"), bias if has_bias else np.zeros_like(bias)
    if out.size == 0:
        return
    given = bias if has_bias else None
    with (
        computed_by(name, cache),
        tg.engine.options(poison=True),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(winograd, "WIDEST", widest)
        patch.setattr(winograd_rows, "WIDEST", widest)
        ALGORITHMS[name].convolve(x, w, given, case.at, case.groups, out=out)
    expected = reference(x, w, case) + bias[:, np.newaxis, np.newaxis]
    np.testing.assert_allclose(out, expected, rtol=1e-10, atol=1e-10)
    assert np.isnan(out.base).sum() == out.base.size - out.size  # nothing beside it was written to


@example(case=TILED, strides=PHASE, seed=0)
@at_least(30)
@given(case=general, strides=strides(4), seed=SEEDS)
def test_an_images_gradient_may_have_any_strides(case: Case, strides: Strides, seed: int) -> None:
    if case.groups > 1 or case.x[0] == 0:
        return
    rng = np.random.default_rng(seed)
    x, u, w = (draw_array(rng, shape, "f8", "") for shape in (case.x, case.y, case.w))
    dx = strides.empty(case.x, "f8")
    with computed_by("direct"), tg.engine.options(poison=True):
        input_gradient_rows.input_gradient(u, w, case.at, direct, dx)
    value, bound = inner(reference(x, w, case), u), inner(reference(abs(x), abs(w), case), abs(u))
    assert abs(inner(dx, x) - value) <= 1e-13 * bound
    assert np.isnan(dx.base).sum() == dx.base.size - dx.size


def test_winograds_error_is_within_its_bound() -> None:
    """Of the output's deviation: what `docs/engine.md` states."""
    rng = np.random.default_rng(0)
    case = Case((16, 64, 16, 16), (64, 64, 3, 3), (1, 1), (1, 1), (1, 1), 1)
    x, w = (draw_array(rng, shape, "f4", "") for shape in (case.x, case.w))
    expected = reference(x, w, case)
    errors = {}
    for name in ("direct", "winograd_lines", "winograd_rows", "winograd", "winograd_few"):
        with computed_by(name):
            y = convolution.forward(x, w, None, case.at, 1)
        errors[name] = (y - expected) / expected.std()
    worst = {name: np.abs(error).max() for name, error in errors.items()}
    spread = {name: np.sqrt(np.mean(error**2)) for name, error in errors.items()}
    for of_rows, of_both in product(
        ("winograd_lines", "winograd_rows"), ("winograd", "winograd_few")
    ):
        assert worst[of_rows] < worst[of_both] < 2e-5
        assert spread[of_rows] < spread[of_both] < 4 * spread["direct"]


# --- which algorithm is chosen -------------------------------------------------------------------

PLAIN = Case((64, 32, 16, 16), (32, 32, 3, 3), (1, 1), (1, 1), (1, 1), 1)


def chosen(case: Case, dtype: str = "f4", of: Any = algorithm.choose) -> Any:
    return of(case.x[0], case.x[1], case.w[0], case.at, case.groups, np.dtype(dtype))


@pytest.mark.parametrize(
    ("change", "expected", "gradient"),
    [
        ({}, winograd_rows, winograd_rows),
        ({"padding": (0, 0)}, winograd_rows, winograd_rows),
        ({"x": (1, 32, 16, 16)}, im2col, im2col),  # 16 tiles
        ({"x": (2, 32, 16, 16)}, winograd_few, winograd_few),
        ({"x": (2, 15, 16, 16), "w": (64, 15, 3, 3)}, im2col, im2col),
        ({"x": (2, 16, 16, 16), "w": (16, 16, 3, 3)}, im2col, im2col),  # 1.2 million multiply-adds
        ({"x": (2, 32, 16, 16), "w": (32, 16, 3, 3), "groups": 2}, im2col, im2col),
        ({"x": (7, 32, 16, 16)}, winograd_few, winograd_few),
        ({"x": (7, 3, 16, 16), "w": (20, 3, 3, 3)}, im2col, im2col),
        ({"x": (8, 3, 16, 16), "w": (63, 3, 3, 3)}, direct, direct),
        ({"x": (8, 3, 16, 16), "w": (64, 3, 3, 3)}, im2col, im2col),  # a wide first layer
        ({"x": (17, 3, 16, 16), "w": (64, 3, 3, 3)}, direct, direct),
        ({"x": (8, 64, 16, 16), "w": (143, 64, 3, 3)}, winograd_lines, winograd_lines),
        ({"x": (8, 64, 16, 16), "w": (144, 64, 3, 3)}, winograd_few, winograd_few),
        ({"x": (64, 128, 16, 16), "w": (128, 128, 3, 3)}, winograd_few, winograd_few),
        ({"x": (65, 128, 16, 16), "w": (128, 128, 3, 3)}, winograd, winograd),
        ({"x": (64, 256, 16, 16), "w": (256, 256, 1, 1)}, direct, direct),
        ({"x": (32, 256, 16, 16), "w": (256, 1, 3, 3), "groups": 256}, depthwise, depthwise),
        ({"x": (8, 32, 16, 16)}, winograd_lines, winograd_lines),
        ({"x": (8, 16, 16, 16), "w": (15, 16, 3, 3)}, winograd_lines, direct),
        ({"x": (15, 32, 16, 16)}, winograd_lines, winograd_lines),
        ({"x": (16, 32, 16, 16)}, winograd_rows, winograd_lines),
        ({"x": (23, 32, 16, 16)}, winograd_rows, winograd_lines),
        ({"x": (24, 32, 16, 16)}, winograd_rows, winograd_rows),
        ({"x": (64, 7, 16, 16), "w": (64, 7, 3, 3)}, direct, direct),
        ({"x": (64, 8, 16, 16), "w": (15, 8, 3, 3)}, winograd_rows, direct),
        ({"x": (64, 8, 16, 16), "w": (16, 8, 3, 3)}, winograd_rows, winograd_rows),
        ({"x": (63, 64, 16, 16), "w": (64, 64, 3, 3)}, winograd_rows, winograd),
        ({"x": (64, 64, 16, 16), "w": (64, 64, 3, 3)}, winograd, winograd),
        ({"x": (9999, 16, 16, 16), "w": (16, 16, 3, 3)}, winograd_rows, winograd_rows),
        ({"w": (7, 32, 3, 3)}, direct, direct),
        ({"w": (32, 32, 5, 5)}, direct, direct),
        ({"w": (32, 16, 3, 3), "groups": 2}, direct, direct),
        ({"w": (64, 1, 3, 3), "groups": 32}, depthwise, depthwise),
        ({"w": (32, 1, 5, 5), "groups": 32, "stride": (2, 2)}, depthwise, depthwise),
        ({"w": (32, 1, 3, 3), "groups": 32, "dilation": (1, 2)}, direct, direct),
        ({"x": (7, 32, 16, 16), "w": (32, 1, 3, 3), "groups": 32}, depthwise_few, depthwise_few),
        ({"stride": (1, 2)}, direct, direct),
        ({"dilation": (2, 1)}, direct, direct),
        ({"padding": (3, 3)}, direct, direct),
        ({"x": (64, 32, 2, 2)}, direct, direct),  # most of a tile would be thrown away
    ],
)
def test_the_choice(change: dict[str, Any], expected: Any, gradient: Any) -> None:
    case = Case(**{**PLAIN.__dict__, **change})
    with tg.engine.options(fast=False):
        assert chosen(case) is expected
        assert chosen(case, of=algorithm.choose_weight_gradient) is gradient


@pytest.mark.parametrize(
    ("channels", "kernel", "groups", "expected"),
    [(1, 3, 1, True), (7, 3, 1, True), (8, 3, 1, False), (4, 1, 1, False), (4, 3, 2, False)],
)
def test_rows_are_added_for_few_channels(channels: int, kernel: int, groups: int,
                                         expected: bool) -> None:  # fmt: skip
    case = Case((16, channels, 9, 9), (8, channels // groups, kernel, 3), (1, 1), (1, 1), (1, 1),
                groups)  # fmt: skip
    assert algorithm.adds_rows(channels, case.at, groups) is expected


def test_winograd_is_for_float32_and_can_be_switched_off() -> None:
    assert chosen(PLAIN, "f8") is direct
    assert chosen(PLAIN, "c16") is direct
    assert chosen(replace(PLAIN, w=(32, 1, 3, 3), groups=32), "c16") is direct
    with tg.engine.options(winograd=False):
        assert chosen(PLAIN) is direct
    with tg.engine.options(fast=False):
        assert chosen(PLAIN) is winograd_rows


def test_gradients_of_a_convolution_by_winograd_are_close_to_the_direct_ones() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((16, 16, 9, 9), "f4"), rng.standard_normal((32, 16, 3, 3), "f4")
    found = []
    for switch in (True, False):
        a, b = tg.Tensor(x, requires_grad=True), tg.Tensor(w, requires_grad=True)
        with tg.engine.options(winograd=switch):
            (tg.conv2d(a, b, padding=1) ** 2).sum().backward()
        found.append((a.grad, b.grad))
    for fast, exact in zip(*found, strict=True):
        assert np.abs(fast - exact).max() < 1e-4 * np.abs(exact).max()
        assert (fast != exact).any()
