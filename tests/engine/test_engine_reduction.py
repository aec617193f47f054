"""Sums are exact to a few roundings per factor of two, for any axes and order of memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.drawing import at_least

import tinygrad_cnn as tg
from tinygrad_cnn.engine import reduction

Array = np.ndarray[Any, Any]
ROUNDINGS = 4  # for each factor of two in the number of values
LENGTHS = [0, 1, 2, 3, 16, 17, 31, 64, 70, 97, 100, 257, 576, 4096]


def filled(shape: tuple[int, ...], how: str, dtype: str = "f4") -> Array:
    """Return values whose sum in a bad order is far off: rounded one way all, or cancelling."""
    rng = np.random.default_rng(math.prod(shape))
    if how == "tenths":
        return np.full(shape, 0.1, dtype)
    values = rng.random(shape) if how == "positive" else rng.standard_normal(shape)
    if how == "scales":
        values *= 10.0 ** rng.integers(-6, 6, shape)
    return values.astype(dtype)


def assert_sums(x: Array, axis: Any, summed: Array, roundings: float = 0) -> None:
    """Compare with a sum in float64 (of float32, exact to far below a rounding of float32)."""
    exact = x.astype(np.float64)
    expected, size = exact.sum(axis=axis), np.abs(exact).sum(axis=axis)
    n = x.size // max(1, expected.size)
    allowed = (ROUNDINGS * math.log2(max(n, 2)) + roundings) * np.finfo(x.dtype).eps / 2
    assert np.shape(summed) == np.shape(expected)
    assert np.asarray(summed).dtype == x.dtype
    assert (np.abs(summed - expected) <= allowed * size).all()


@st.composite
def arrays_with_axes(draw: st.DrawFn) -> tuple[Array, Any]:
    """Draw an array in any memory order, sliced, reversed or repeated, and axes of it."""
    shape = []
    for _ in range(draw(st.integers(1, 4))):
        room = 200_000 // max(1, math.prod(shape))
        shape.append(draw(st.sampled_from([n for n in LENGTHS if n <= room] or [1])))
    shape = draw(st.permutations(shape))
    x = filled(tuple(shape), draw(st.sampled_from(["tenths", "positive", "scales"])))
    x = np.asarray(x, order=draw(st.sampled_from("CF")))
    order = draw(st.permutations(range(x.ndim)))
    x = np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
    for axis in range(x.ndim):
        step = draw(st.sampled_from([1, 1, 1, -1, 2]))
        x = x[(slice(None),) * axis + (slice(None, None, step),)]
    if draw(st.booleans()) and x.size < 2000:
        x = np.broadcast_to(x, (draw(st.sampled_from([1, 40, 100])), *x.shape))
    axes = draw(st.lists(st.integers(-x.ndim, x.ndim - 1), unique_by=lambda k: k % x.ndim))
    return x, draw(st.sampled_from([tuple(axes), None, axes[0] if axes else None]))


@at_least(150)
@given(arrays_with_axes())
@example((np.full((4096, 3), 0.1, "f4"), 0))
@example((np.full((4096, 1), 0.1, "f4")[:, :, None], (0, 2)))
@example((np.full((3, 4096), 0.1, "f4").T, 0))
@example((np.full((4096, 3), 0.1, "f4")[:, :2], None))
@example((np.full((32, 14, 14, 32), 0.1, "f4").transpose(3, 2, 0, 1), (0, 2, 3)))
def test_a_sum_is_off_by_few_roundings(drawn: tuple[Array, Any]) -> None:
    x, axis = drawn
    summed = reduction.total(x, axis)
    assert_sums(x, axis, summed)
    kept = reduction.total(x, axis, keepdims=True)
    assert kept.shape == np.sum(x, axis=axis, keepdims=True).shape
    assert np.ravel(kept).tobytes() == np.ravel(summed).tobytes()


def test_four_million_rows_of_a_tenth() -> None:
    x = np.full((1 << 22, 2), 0.1, "f4")
    assert_sums(x, 0, reduction.total(x, 0))


N = 1 << 16
SUMS: dict[str, Any] = {
    "sum": lambda x: tg.sum(x, axis=0),
    "mean": lambda x: tg.mean(x, axis=0) * np.float32(N),
    "sum_to": lambda x: tg.sum_to(x, (2,)),
    "matmul": lambda x: pulled(lambda w: tg.Tensor(np.zeros_like(x)) + w, (2,), x),
    "linear bias": lambda x: pulled(lambda b: tg.linear(x * 0, np.eye(2, dtype="f4"), b), (2,), x),
    "conv2d bias": lambda x: pulled(
        lambda b: tg.conv2d(np.zeros((1, 1, N, 1), "f4"), np.zeros((2, 1, 1, 1), "f4"), b),
        (2,), x.T.reshape(1, 2, N, 1),
    ),
    "conv_transpose2d bias": lambda x: pulled(
        lambda b: tg.conv_transpose2d((x * 0)[:, :1, None, None], np.zeros((1, 2, 1, 1), "f4"), b),
        (2,), x.reshape(N, 2, 1, 1),
    ),
    "batch_norm bias": lambda x: pulled(
        lambda b: tg.batch_norm(x * 0, np.ones(2, "f4"), b), (2,), x
    ),
    "running mean": lambda x: running(x).running_mean.numpy() * np.float32(N),
    "broadcast": lambda x: pulled(lambda b: tg.broadcast_to(b, (N, 2)), (2,), x),
    "mse": lambda x: np.stack([
        tg.mse(tg.Tensor(np.sqrt(x))[:, k], np.zeros(N, "f4"), "sum").numpy() for k in (0, 1)
    ]),
    "getitem": lambda x: pulled(lambda w: w[np.zeros(N, int)], (1, 2), x).reshape(2),
    "put": lambda x: tg.put(x, np.zeros(N, int), (1, 2)).reshape(2),
}  # fmt: skip


def pulled(f: Any, shape: tuple[int, ...], g: Array) -> Array:
    """Return the gradient that flows from `g` to an argument of `shape`."""
    leaf = tg.Tensor(np.zeros(shape, "f4"), requires_grad=True)
    gradient: Array = tg.grad(f(leaf), leaf, gradient=g)[0]
    return gradient


def running(x: Array) -> tg.nn.BatchNorm2d:
    layer = tg.nn.BatchNorm2d(2, momentum=1.0)
    layer(x.reshape(N, 2, 1, 1))
    return layer


@pytest.mark.parametrize("name", SUMS)
def test_whatever_adds_many_values_is_off_by_few_roundings(name: str) -> None:
    x = filled((N, 2), "tenths")
    assert_sums(x, 0, SUMS[name](x), roundings=8)


@pytest.mark.parametrize("kernel", [17, 40, 100])
def test_an_average_under_a_large_window_is_off_by_few_roundings(kernel: int) -> None:
    x = filled((1, 1, kernel, kernel), "tenths")
    y = tg.avgpool(x, kernel) * np.float32(kernel**2)
    assert_sums(x.reshape(-1), 0, y.reshape(()), roundings=2)


@pytest.mark.parametrize(("images", "channels"), [(16, 1), (16, 32), (2, 3), (16, 3)])
def test_a_kernels_gradient_is_off_by_few_roundings(images: int, channels: int) -> None:
    """For each way to compute it; BLAS adds the 16 to 384 values of a product as it likes."""
    x = filled((images, channels, 60, 60), "tenths")
    g = filled((images, channels, 60, 60), "tenths")
    for groups in {1, channels}:
        dw = tg.conv2d_weight_gradient(g, x, (channels, channels // groups, 3, 3), padding=1,
                                       groups=groups)  # fmt: skip
        middle = dw[:, :, 1, 1]  # the same sum everywhere
        products = (x[:, 0] * g[:, 0]).reshape(-1)
        for value in (middle.min(), middle.max()):
            assert_sums(products, 0, value, roundings=100)


@given(x=arrays_with_axes(), dtype=st.sampled_from(["f8", "c8", "f2", "i4", "u1", "?", ">f4"]))
def test_other_dtypes_are_summed_as_numpy_does(x: tuple[Array, Any], dtype: str) -> None:
    array, axis = x
    array = np.clip(np.abs(array), 0, 3).astype(dtype)
    with np.errstate(over="ignore"):
        got = reduction.total(array, axis)
        assert np.asarray(got).dtype == np.sum(array, axis=axis).dtype
        expected = np.sum(array, axis=axis, dtype="f8" if dtype == "f2" else None).astype(got.dtype)
    np.testing.assert_allclose(got, expected, rtol=2e-3)


def test_the_mean_of_float16_is_not_lost_where_the_sum_overflows() -> None:
    x = np.full((1 << 14, 2), 10.0, "f2")
    assert (reduction.average(x, 0) == 10.0).all()


@pytest.mark.parametrize("axis", [3, -4, (0, 0), (0, -3)])
def test_no_axis_is_refused_as_numpy_does(axis: Any) -> None:
    with pytest.raises((ValueError, np.exceptions.AxisError)):
        reduction.total(np.ones((2, 3, 40)), axis)
