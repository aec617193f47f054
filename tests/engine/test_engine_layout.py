"""The order of memory: it survives ops, changes no result and no array that came in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import naive

import tinygrad_cnn as tg
from tinygrad_cnn.engine import pooling, reduction, selection
from tinygrad_cnn.engine.layout import Layout, like
from tinygrad_cnn.engine.windows import pair, windows

Array = np.ndarray[Any, Any]
LAYOUTS = list(Layout)
SHAPE = (20, 6, 31, 29)  # large enough to be taken in pieces, and no power of two


def normal(shape: tuple[int, ...], dtype: str = "f4", seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def last(images: Array) -> bool:
    """Whether the images are the fastest axis in memory."""
    return Layout.IMAGES_LAST.memory(images).flags.c_contiguous


@given(shape=st.tuples(*[st.integers(0, 5)] * 4), start=st.sampled_from(LAYOUTS),
       goal=st.sampled_from(LAYOUTS))  # fmt: skip
def test_arranging_keeps_values_and_copies_only_what_is_in_another_order(
    shape: tuple[int, ...], start: Layout, goal: Layout
) -> None:
    images = start.arranged(np.arange(np.prod(shape), dtype="f4").reshape(shape))
    arranged = goal.arranged(images)
    np.testing.assert_array_equal(arranged, images)
    assert goal.memory(arranged).flags.c_contiguous
    assert start is not goal or arranged is images
    assert goal.images(goal.memory(arranged)).strides == arranged.strides


def test_like_takes_the_order_of_the_model() -> None:
    images = normal((3, 4, 5, 6))
    for layout in LAYOUTS:
        model = layout.empty((2, 3, 4, 5), "u1")
        assert layout.memory(like(images, model)).flags.c_contiguous
    assert like(images, np.zeros((4, 4, 4, 8))[..., ::2]) is images


def test_a_run_of_ops_stays_with_the_images_last() -> None:
    x = tg.Tensor(normal((32, 4, 12, 12)), requires_grad=True)
    w = tg.Tensor(normal((8, 4, 3, 3)), requires_grad=True)
    y = tg.conv2d(x, w, padding=1)
    pooled = tg.maxpool(tg.relu(y), 2)
    scaled = tg.batch_norm(pooled, tg.Tensor(np.ones(8, "f4")), tg.Tensor(np.zeros(8, "f4")))
    assert all(last(result.numpy()) for result in (y, pooled, scaled, scaled * 2.0 + 1.0))
    (gradient,) = tg.grad((scaled * scaled).sum(), [y])
    assert last(gradient)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_network_gives_the_same_for_images_in_any_order(layout: Layout) -> None:
    model = tg.nn.LeNet5(rng=np.random.default_rng(0))
    x, labels = normal((16, 1, 28, 28)), np.arange(16) % 10
    results = []
    for images in (x, layout.arranged(x), np.repeat(x, 2, axis=3)[..., ::2]):
        before = images.copy()
        loss = tg.cross_entropy(model(images), labels)
        model.zero_grad()
        loss.backward()
        results.append([loss.numpy(), *[p.grad for p in model.parameters()]])
        np.testing.assert_array_equal(images, before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_selection_is_numpys(layout: Layout, dtype: str) -> None:
    x, y = (layout.arranged(normal(SHAPE, dtype, seed)) for seed in (0, 1))
    x[0, 0, 0, :3] = np.nan, np.inf, -np.inf
    x[0, 0, 1, :2] = 0.0, -0.0
    mask = y > 0
    for result, expected in [
        (selection.select(x, mask), np.where(mask, x, 0)),
        (selection.select(x, mask[:1]), np.where(mask[:1], x, 0)),
        (selection.where(mask, x, np.zeros((), dtype)), np.where(mask, x, 0)),
        (selection.where(mask, np.zeros((), dtype), x), np.where(mask, 0, x)),
        (selection.where(mask, x, np.float64(-0.0).astype(dtype)), np.where(mask, x, -0.0)),
    ]:
        np.testing.assert_array_equal(result, expected)
        assert result.dtype == expected.dtype
        assert result.strides == expected.strides


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f4", "f8", ">f8", "c8", "c16", "i2", "?"])
def test_select_moves_values_of_any_dtype(dtype: str) -> None:
    x = np.array([[1, 0, 2], [0, 3, 1]]).astype(dtype)
    if x.dtype.kind == "f":
        x[0], x[1, 0] = (np.nan, -np.inf, -1), -0.0
    mask = np.array([[True, False, False], [True, True, False]])
    for values, chosen in [(x, mask), (x[:, ::-1].T, mask.T), (x[:1], mask), (x[0, 2:], mask)]:
        expected = np.where(chosen, values, np.zeros((), dtype))
        result = selection.select(values, chosen)
        np.testing.assert_array_equal(result, expected)
        assert result.dtype == values.dtype
        if x.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(result), np.signbit(expected))
        out = np.empty(expected.shape, dtype)
        if values.shape == out.shape:
            np.testing.assert_array_equal(selection.select(values, chosen, out), expected)


@given(axes=st.sets(st.integers(-4, 3)), keepdims=st.booleans(), layout=st.sampled_from(LAYOUTS))
@settings(deadline=None)
def test_a_sum_is_numpys(axes: set[int], keepdims: bool, layout: Layout) -> None:
    axis = tuple({k % 4 for k in axes})
    x = layout.arranged(normal(SHAPE, "f8"))
    expected = np.sum(x, axis=axis, keepdims=keepdims)
    result = reduction.total(x, axis, keepdims)
    assert np.shape(result) == np.shape(expected)
    np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-9)


def test_a_sum_in_float32_rounds_less_than_one_pass_would() -> None:
    x = Layout.IMAGES_LAST.arranged(np.full((64, 2, 256, 256), 0.1, "f4"))
    exact = np.float32(0.1).astype("f8") * 64 * 256 * 256
    np.testing.assert_allclose(reduction.total(x, (0, 2, 3), False), [exact] * 2, rtol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("gradient_layout", LAYOUTS)
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 2},
        {"kernel_size": (1, 2)},
        {"kernel_size": 2, "stride": 3},  # cells between windows
        {"kernel_size": 3, "stride": 2, "padding": 1},
        {"kernel_size": 2, "ceil_mode": True},
        {"kernel_size": 2, "stride": 4, "dilation": 2},
    ],
    ids=str,
)
def test_pooling_in_any_order(layout: Layout, gradient_layout: Layout, options: dict) -> None:
    x = np.random.default_rng(0).permutation(3 * 2 * 7 * 9).reshape(3, 2, 7, 9).astype("f8")
    value, expected = naive.maxpool(x, **options)
    at = windows(
        "pool", (7, 9), pair("pool", "kernel_size", options["kernel_size"], 1),
        options.get("stride", options["kernel_size"]), options.get("padding", 0),
        options.get("dilation", 1), options.get("ceil_mode", False),
    )  # fmt: skip
    images = layout.arranged(x)
    y = pooling.maximum(images, at)
    np.testing.assert_array_equal(y, value)
    ones = gradient_layout.arranged(np.ones(y.shape))
    gradient = pooling.scatter(ones, pooling.winner(images, y, at), at)
    np.testing.assert_array_equal(gradient, expected)
    for result in (y, gradient):
        assert layout.memory(result).strides == tuple(sorted(result.strides, reverse=True))


def test_a_gradient_of_apart_windows_is_written_everywhere() -> None:
    """Cells that no window covers become 0, whatever the memory held."""
    at = windows("pool", (5, 7), (2, 2), 3, 0, 1)
    with tg.engine.options(poison=True):
        for _ in range(3):
            u = np.ones((64, 32, *at.count), "f4")
            dx = pooling.scatter(u, np.zeros(u.shape, "u1"), at)
            assert dx.sum() == u.size
            del dx
