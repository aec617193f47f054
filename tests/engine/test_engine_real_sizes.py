"""Public ops in float32 at the sizes people use, on poisoned memory, against float64 sums."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.convolving import EVERY_WAY, Case, Strides, of_real_size, strides, ways_taken
from support.drawing import at_least
from support.float64 import Convolution, Pooling

import tinygrad_cnn as tg

Array = np.ndarray[Any, Any]
SEEDS = st.integers(0, 2**32 - 1)
ERROR = 1e-4  # of the deviation of a sum of products; Winograd's largest is 2e-5
DENSE = {axes: Strides(tuple(range(axes)), (1,) * axes) for axes in (1, 2, 4)}


def assert_close(got: Any, expected: Array, terms: int, what: str) -> None:
    """Assert that `got` is float32 and near `expected`, a sum of `terms` products a value."""
    got = got.numpy() if isinstance(got, tg.Tensor) else got
    assert (got.dtype, got.shape) == (np.float32, expected.shape), what
    error = np.abs(got - expected)
    worst = error.max(initial=0.0)  # NaN if there is one
    assert worst <= ERROR * max(1.0, terms) ** 0.5, f"{what}: off by {worst}"


def check_convolution(case: Case, strides: dict[str, Strides], spread: bool, seed: int) -> set[Any]:
    """Check conv2d, conv_transpose2d and all their gradients; return the algorithms used.

    With `spread`, the gradient flowing in is one value broadcast to all pixels of a channel.
    """
    rng = np.random.default_rng(seed)
    x, w, u = (rng.standard_normal(shape, "f4") for shape in (case.x, case.w, case.y))
    bias, other_bias = (rng.standard_normal(c, "f4") for c in (case.w[0], case.x[1]))
    g = strides["u"].array(u)
    if spread:
        u = np.broadcast_to(u[:, :, :1, :1], u.shape)
        g = np.broadcast_to(g[:, :, :1, :1], u.shape)
    options: dict[str, Any] = {"stride": case.stride, "padding": case.padding,
                               "dilation": case.dilation, "groups": case.groups}  # fmt: skip
    sums = Convolution(case.x, case.w, **options)
    y, dx, dw = sums.forward(x, w), sums.input_gradient(u, w), sums.weight_gradient(u, x)
    cells = case.w[2] * case.w[3]
    forward, backward, pixels = case.w[1] * cells, case.w[0] // case.groups * cells, u[:, 0].size
    expected = [
        (y + bias[:, np.newaxis, np.newaxis], forward, "conv2d"), (dx, backward, "of x"),
        (dw, pixels, "of w"), (u.sum((0, 2, 3), dtype="f8"), pixels, "of bias"),
    ]  # fmt: skip
    with tg.engine.options(poison=True):
        with ways_taken() as ways:
            a, b, c = strides["x"].tensor(x), strides["w"].tensor(w), strides["bias"].tensor(bias)
            result = tg.conv2d(a, b, c, **options)
            got = [result, *tg.grad(result, [a, b, c], gradient=g)]
        got += [tg.conv2d_input_gradient(g, b, case.x, **options),
                tg.conv2d_weight_gradient(g, a, case.w, **options)]  # fmt: skip
        for value, of in zip(got, [*expected, *expected[1:3]], strict=True):
            assert_close(value, *of)
        if case.padding == "same" or isinstance(case.padding[0], tuple):
            return ways
        axes = zip(case.x[2:], case.padding, case.dilation, case.w[2:], case.stride, strict=True)
        extra = tuple((n + 2 * p - d * (k - 1) - 1) % s for n, p, d, k, s in axes)
        with ways_taken() as of_transposed:
            a, c = strides["u"].tensor(np.ascontiguousarray(u)), strides["bias"].tensor(other_bias)
            result = tg.conv_transpose2d(a, b, c, output_padding=extra, **options)
            back = strides["x"].array(x)
            got = [result, *tg.grad(result, [a, b, c], gradient=back)]
        expected = [
            (dx + other_bias[:, np.newaxis, np.newaxis], backward, "conv_transpose2d"),
            (y, forward, "of x, transposed"), (dw, pixels, "of w, transposed"),
            (x.sum((0, 2, 3), dtype="f8"), x[:, 0].size, "of bias, transposed"),
        ]  # fmt: skip
        for value, of in zip(got, expected, strict=True):
            assert_close(value, *of)
    assert of_transposed == ways
    return ways


def both_ways(name: str, kind: str, other: str | None = None, *more: tuple[str, ...]) -> set[Any]:
    """Return the ways of a case: `other` and `more` compute the image's gradient."""
    return {("forward", name), ("weight_gradient", name), ("input_gradient", other or name, kind),
            *more}  # fmt: skip


ZEROS = ("input_gradient", "zeros")
ONE, TWO = (1, 1), (2, 2)
# A case for each algorithm in each direction, at a size at which `choose` selects it.
WAYS = [
    (Case((2, 16, 12, 12), (8, 16, 3, 3), ONE, ONE, ONE, 1), both_ways("im2col", "whole")),
    (Case((3, 20, 11, 9), (30, 20, 5, 4), TWO, (2, 0), ONE, 1), both_ways("im2col", "phase")),
    (Case((2, 3, 12, 12), (8, 3, 5, 5), ONE, TWO, ONE, 1), both_ways("im2col", "rows")),
    (Case((3, 40, 6, 6), (80, 40, 3, 2), ONE, ONE, ONE, 1), both_ways("im2col", "whole")),
    (Case((2, 20, 9, 8), (90, 20, 3, 3), TWO, ONE, ONE, 1), both_ways("im2col", "deep")),
    (Case((2, 32, 17, 15), (32, 32, 3, 3), ONE, ONE, ONE, 1), both_ways("winograd_few", "whole")),
    (Case((2, 32, 34, 34), (32, 32, 5, 5), TWO, (0, 0), ONE, 1),
     both_ways("im2col", "phase", "im2col", ("input_gradient", "winograd_few", "phase"))),
    (Case((3, 12, 12, 12), (20, 12, 2, 2), TWO, (0, 0), ONE, 1),
     both_ways("im2col", "CHANNELS_LAST", "apart")),
    (Case((20, 12, 13, 12), (20, 12, 3, 4), (4, 4), (0, 0), ONE, 1),
     both_ways("direct", "IMAGES_LAST", "apart")),
    (Case((33, 40, 5, 5), (40, 40, 5, 5), ONE, (0, 0), ONE, 1),
     both_ways("direct", "IMAGES_LAST", "apart")),
    (Case((64, 12, 9, 9), (20, 12, 4, 4), ONE, ONE, ONE, 1), both_ways("direct", "whole")),
    (Case((32, 12, 20, 23), (20, 12, 6, 4), (3, 2), (0, 0), ONE, 1), both_ways("direct", "shared")),
    (Case((64, 12, 9, 9), (20, 6, 4, 4), TWO, ONE, ONE, 2), both_ways("direct", "phase")),
    (Case((64, 3, 12, 12), (16, 3, 5, 5), TWO, TWO, ONE, 1), both_ways("direct", "rows")),
    (Case((40, 24, 7, 7), (24, 1, 3, 3), ONE, ONE, ONE, 24), both_ways("depthwise", "whole")),
    (Case((40, 24, 9, 9), (24, 1, 3, 3), TWO, ONE, ONE, 24), both_ways("depthwise", "phase")),
    (Case((40, 24, 7, 7), (48, 1, 3, 3), ONE, ONE, ONE, 24),
     both_ways("depthwise", "whole", "direct")),
    (Case((3, 24, 14, 14), (24, 1, 3, 3), ONE, ONE, ONE, 24), both_ways("depthwise_few", "whole")),
    (Case((2, 40, 15, 15), (40, 1, 5, 5), TWO, TWO, ONE, 40), both_ways("depthwise_few", "phase")),
    (Case((3, 32, 9, 10), (16, 8, 3, 2), ONE, ONE, TWO, 4), both_ways("im2col", "whole")),
    (Case((9, 24, 14, 14), (24, 1, 3, 3), ONE, ONE, ONE, 24), both_ways("depthwise", "whole")),
    (Case((64, 40, 24, 24), (40, 1, 3, 3), ONE, ONE, ONE, 40), both_ways("depthwise", "whole")),
    (Case((64, 15, 40, 40), (16, 15, 3, 4), ONE, ONE, ONE, 1), both_ways("direct", "whole")),
    (Case((32, 16, 10, 10), (32, 16, 3, 3), ONE, ONE, ONE, 1), both_ways("winograd_rows", "whole")),
    (Case((130, 8, 8, 8), (16, 8, 3, 3), ONE, "same", ONE, 1), both_ways("winograd_rows", "whole")),
    (Case((64, 64, 5, 6), (64, 64, 3, 3), ONE, ONE, ONE, 1), both_ways("winograd", "whole")),
    (Case((130, 33, 5, 6), (130, 33, 3, 3), ONE, "same", ONE, 1), both_ways("winograd", "whole")),
    (Case((8, 24, 9, 10), (12, 24, 3, 3), ONE, ONE, ONE, 1), both_ways("winograd_lines", "whole")),
    (Case((15, 16, 40, 40), (17, 16, 3, 3), ONE, "same", ONE, 1),
     both_ways("winograd_lines", "whole")),
    (Case((9, 16, 16, 16), (32, 16, 5, 5), TWO, (0, 0), ONE, 1),
     both_ways("direct", "phase", "direct", ("input_gradient", "winograd_lines", "phase"))),
    (Case((16, 16, 16, 16), (32, 16, 5, 5), TWO, (0, 0), ONE, 1),
     both_ways("direct", "phase", "direct", ("input_gradient", "winograd_rows", "phase"))),
    (Case((17, 40, 14, 13), (20, 40, 7, 7), (3, 2), (3, 0), ONE, 1),
     both_ways("direct", "phase", "direct", ("input_gradient", "winograd_rows", "phase"))),
    (Case((16, 32, 13, 14), (32, 32, 3, 3), TWO, TWO, TWO, 1),
     both_ways("direct", "phase", "winograd_rows", ZEROS)),
    (Case((16, 16, 20, 20), (40, 16, 6, 6), TWO, (0, 0), ONE, 1),
     both_ways("direct", "phase", "winograd_rows")),
    (Case((64, 64, 8, 8), (64, 64, 6, 6), TWO, (0, 0), ONE, 1),
     both_ways("direct", "phase", "winograd")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("case", "expected"), WAYS, ids=[f"{case.x} by {case.w}" for case, _ in WAYS]
)
def test_every_way_of_a_convolution_is_the_float64_sum(case: Case, expected: set[Any]) -> None:
    dense = {"x": DENSE[4], "u": DENSE[4], "w": DENSE[4], "bias": DENSE[1]}
    with tg.engine.options(fast=False):
        assert check_convolution(case, dense, False, 0) == expected
    check_convolution(case, dense, False, 0)


def test_every_algorithm_is_reached_in_every_direction() -> None:
    assert set().union(*(expected for _, expected in WAYS)) == EVERY_WAY


STRIDES = st.fixed_dictionaries(
    {"x": strides(4), "u": strides(4), "w": strides(4), "bias": strides(1)}
)


@at_least(25)
@given(case=of_real_size, strides=STRIDES, spread=st.booleans(), seed=SEEDS)
def test_convolutions_of_any_size_are_the_float64_sum(
    case: Case, strides: dict[str, Strides], spread: bool, seed: int
) -> None:
    check_convolution(case, strides, spread, seed)


@at_least(15)
@example(rows=130, inner=601, columns=400, of_x=DENSE[2], of_w=DENSE[2], of_u=DENSE[2], seed=0)
@example(rows=70, inner=400, columns=801, of_x=DENSE[2], of_w=DENSE[2], of_u=DENSE[2], seed=0)
@given(rows=st.integers(1, 130), inner=st.integers(1, 700), columns=st.integers(1, 700),
       of_x=strides(2), of_w=strides(2), of_u=strides(2), seed=SEEDS)  # fmt: skip
def test_linear_of_any_size_is_the_float64_product(
    rows: int, inner: int, columns: int, of_x: Strides, of_w: Strides, of_u: Strides, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    shapes = (rows, inner), (columns, inner), (columns,), (rows, columns)
    x, w, bias, u = (rng.standard_normal(shape, "f4") for shape in shapes)
    wide, kernels, g = (array.astype("f8") for array in (x, w, u))
    with tg.engine.options(poison=True):
        a, b, c = of_x.tensor(x), of_w.tensor(w), tg.Tensor(bias, True)
        result = tg.linear(a, b, c)
        got = [result, *tg.grad(result, [a, b, c], gradient=of_u.array(u))]
    for value, of in zip(got, [
        (wide @ kernels.T + bias, inner, "linear"), (g @ kernels, columns, "of x"),
        (g.T @ wide, rows, "of w"), (g.sum(0), rows, "of bias"),
    ], strict=True):  # fmt: skip
        assert_close(value, *of)


@st.composite
def poolings(draw: st.DrawFn, dilated: bool) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Draw the shape of images and the options of a pooling."""

    def pair(low: int, high: int) -> tuple[int, int]:
        return draw(st.integers(low, high)), draw(st.integers(low, high))

    kernel, dilation = pair(1, 4), pair(1, 2) if dilated else ONE
    stride = kernel if draw(st.booleans()) else pair(1, 3)
    reaches = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    padding = tuple(draw(st.integers(0, reach // 2)) for reach in reaches)
    size = [draw(st.integers(max(reach, 2), 16)) for reach in reaches]
    c = draw(st.integers(1, 70))
    n = draw(st.integers(1, max(1, min(130, 300_000 // (c * size[0] * size[1])))))
    options = {"kernel_size": kernel, "stride": stride, "padding": padding,
               "ceil_mode": draw(st.booleans())}  # fmt: skip
    return (n, c, *size), options | ({"dilation": dilation} if dilated else {})


LENET = {"kernel_size": TWO, "stride": TWO, "padding": (0, 0), "ceil_mode": False}


@at_least(20)
@example(pooling=((64, 16, 10, 10), LENET), of_x=DENSE[4], of_u=DENSE[4], seed=0)
@given(pooling=poolings(dilated=True), of_x=strides(4), of_u=strides(4), seed=SEEDS)
def test_maxpool_of_any_size_is_that_of_float64(
    pooling: Any, of_x: Strides, of_u: Strides, seed: int
) -> None:
    (shape, options), rng = pooling, np.random.default_rng(seed)
    windows = Pooling(shape, **options)
    x = rng.integers(-4, 5, shape).astype("f4")  # with ties
    u = rng.standard_normal((*shape[:2], *windows.count), "f4")
    winner = windows.winner(x)
    y, dx = windows.maximum(x), windows.scatter(u, winner)
    with tg.engine.options(poison=True):
        a, g = of_x.tensor(x), of_u.array(u)
        result = tg.maxpool(a, **options)
        np.testing.assert_array_equal(result.numpy(), y)
        assert_close(tg.grad(result, [a], gradient=g)[0], dx, 1, "of x")
        assert_close(tg.scatter_windows(g, winner, shape, **options), dx, 1, "scatter_windows")
        gathered = tg.gather_windows(a, of_u.array(winner), **options)
        np.testing.assert_array_equal(gathered.numpy(), y)


@at_least(20)
@example(pooling=((64, 16, 10, 10), LENET), of_x=DENSE[4], of_u=DENSE[4], inside=True, seed=0)
@given(pooling=poolings(dilated=False), of_x=strides(4), of_u=strides(4), inside=st.booleans(),
       seed=SEEDS)  # fmt: skip
def test_avgpool_of_any_size_is_that_of_float64(
    pooling: Any, of_x: Strides, of_u: Strides, inside: bool, seed: int
) -> None:
    (shape, options), rng = pooling, np.random.default_rng(seed)
    windows = Pooling(shape, **options)
    x = rng.standard_normal(shape, "f4")
    u = rng.standard_normal((*shape[:2], *windows.count), "f4")
    y, dx = windows.average(x, not inside), windows.average_gradient(u, not inside)
    options["count_include_pad"] = not inside
    with tg.engine.options(poison=True):
        a, g = of_x.tensor(x), of_u.array(u)
        result = tg.avgpool(a, **options)
        assert_close(result, y, 1, "avgpool")
        assert_close(tg.grad(result, [a], gradient=g)[0], dx, 1, "of x")
        assert_close(tg.avgpool_gradient(g, shape, **options), dx, 1, "avgpool_gradient")


@at_least(20)
@example(shape=(64, 32, 16, 16), of_x=DENSE[4], of_u=DENSE[4], offset=0.0, seed=0)
@given(shape=st.tuples(st.integers(2, 130), st.integers(1, 70), st.integers(1, 9),
                       st.integers(1, 9)),
       of_x=strides(4), of_u=strides(4), offset=st.floats(-3, 3), seed=SEEDS)  # fmt: skip
def test_batch_norm_of_any_size_is_that_of_float64(
    shape: tuple[int, ...], of_x: Strides, of_u: Strides, offset: float, seed: int
) -> None:
    rng, axes = np.random.default_rng(seed), (0, 2, 3)
    x, u = (rng.standard_normal(shape, "f4") for _ in range(2))
    x += np.float32(offset)
    w, bias = (rng.standard_normal(shape[1], "f4") for _ in range(2))
    wide, g = x.astype("f8"), u.astype("f8")
    deviation = np.sqrt(wide.var(axes, keepdims=True) + 1e-5)
    normal, scale = (wide - wide.mean(axes, keepdims=True)) / deviation, w[:, None, None]
    inner = g - g.mean(axes, keepdims=True) - normal * (g * normal).mean(axes, keepdims=True)
    slack = 4.0 / deviation.min() ** 2  # few values of a channel may be close to each other
    values = u[:, 0].size
    with tg.engine.options(poison=True):
        a, b, c = of_x.tensor(x), tg.Tensor(w, True), tg.Tensor(bias, True)
        result = tg.batch_norm(a, b, c)
        got = [result, *tg.grad(result, [a, b, c], gradient=of_u.array(u))]
    for value, of in zip(got, [
        (normal * scale + bias[:, None, None], slack**2, "batch_norm"),
        (inner * scale / deviation, slack**2, "of x"),
        ((g * normal).sum(axes), slack**2 * values, "of w"),
        (g.sum(axes), values, "of bias"),
    ], strict=True):  # fmt: skip
        assert_close(value, *of)
