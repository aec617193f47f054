"""Normalization in bands: at real sizes, in every memory order, on any number of threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.engine import normalization
from tinygrad_cnn.engine.normalization import statistics

Array = np.ndarray[Any, Any]
ORDERS: dict[str, tuple[int, ...]] = {
    "images first": (0, 1, 2, 3), "images last": (2, 3, 1, 0), "channels last": (0, 2, 3, 1),
}  # fmt: skip
SHAPES = [
    (64, 16, 32, 32), (64, 64, 8, 8), (8, 64, 8, 8), (1, 16, 32, 32), (2, 8, 60, 100),
    (16, 3, 50, 70), (64, 256, 1, 1), (33, 17, 9, 1), (256, 300, 2, 2), (2, 1, 1, 9000),
]  # fmt: skip
"""Sizes at which arrays are seen in each way: rows, columns, narrow rows side by side."""
ERROR = 4e-6


def arranged(x: Array, order: str) -> Array:
    """Return `x` with its axes in another order in memory."""
    if order == "every other":
        wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
        wide[..., ::2] = x
        return wide[..., ::2]
    return np.ascontiguousarray(x.transpose(ORDERS[order])).transpose(np.argsort(ORDERS[order]))


def tensor(x: Array, order: str) -> tg.Tensor:
    """Return a leaf of that memory order."""
    leaf = tg.Tensor._of(arranged(x, order))
    leaf.requires_grad = True
    return leaf


def drawn(shape: tuple[int, ...], offset: float = 0.0) -> tuple[Array, Array, Array, Array]:
    """Draw images, a scale, a shift and a gradient."""
    rng = np.random.default_rng(0)
    x, g = (rng.standard_normal(shape, "f4") for _ in range(2))
    w, bias = (rng.standard_normal(shape[1], "f4") for _ in range(2))
    return x + np.float32(offset), w, bias, g


def exact(x: Array, w: Array, bias: Array, g: Array) -> list[Array]:
    """Return batch norm and its gradients in float64; those of w and bias over √n."""
    x, w, bias, g = (np.asarray(a, "f8") for a in (x, w, bias, g))
    axes, channel, n = (0, 2, 3), (1, -1, 1, 1), x.size // x.shape[1]
    deviation = np.sqrt(x.var(axes, keepdims=True) + 1e-5)
    normal, w = (x - x.mean(axes, keepdims=True)) / deviation, w.reshape(channel)
    p, q = (np.mean(a, axes, keepdims=True) for a in (g, g * normal))
    return [
        w * normal + bias.reshape(channel), w / deviation * (g - p - normal * q),
        q.reshape(-1) * n**0.5, p.reshape(-1) * n**0.5,
    ]  # fmt: skip


@pytest.mark.parametrize("offset", [0.0, 1.5, 60.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_is_that_of_float64(shape: tuple[int, ...], offset: float) -> None:
    x, w, bias, g = drawn(shape, offset)
    expected = exact(x, w, bias, g)
    for order in (*ORDERS, "every other"):
        with tg.engine.options(poison=True):
            leaves = [tensor(x, order), tg.Tensor(w, True), tg.Tensor(bias, True)]
            y = tg.batch_norm(*leaves)
            dx, dw, db = tg.grad(y, leaves, gradient=arranged(g, order))
        root = (x.size // shape[1]) ** 0.5
        for got, right in zip((y.numpy(), dx, dw / root, db / root), expected, strict=True):
            assert got.dtype == np.float32
            assert abs(got - right).max() < ERROR * max(1.0, offset), order


def test_statistics_of_more_bands_than_parts() -> None:
    x = np.random.default_rng(0).standard_normal((65 * 64, 16, 64), "f4") + np.float32(0.5)
    with tg.engine.options(poison=True):  # 65 bands of 64 rows
        mean, deviation = statistics(x, (0, 2), 0.0)[:2]
    np.testing.assert_allclose(mean, x.mean((0, 2), "f8", keepdims=True), rtol=1e-6)
    np.testing.assert_allclose(deviation, x.std((0, 2), "f8", keepdims=True), rtol=1e-6)


def test_batch_norm_of_a_gradient_in_another_order() -> None:
    x, w, bias, g = drawn((8, 32, 12, 12))
    leaf = tensor(x, "images last")
    y = tg.batch_norm(leaf, w, bias)
    (dx,) = tg.grad(y, leaf, gradient=arranged(g, "channels last"))
    assert dx.strides == leaf._array.strides
    assert abs(dx - exact(x, w, bias, g)[1]).max() < ERROR


@pytest.mark.parametrize("order", ORDERS)
def test_any_number_of_threads_gives_the_same_bits(order: str) -> None:
    x, w, bias, g = drawn((64, 16, 40, 40))
    found = []
    for n in (1, 3):
        with tg.num_threads(n):
            leaves = [tensor(x, order), tg.Tensor(w, True), tg.Tensor(bias, True)]
            y = tg.batch_norm(*leaves)
            gradients = tg.grad(y, leaves, gradient=arranged(g, order))
            affine = tg.multiply_add(leaves[0], *(a.reshape(1, -1, 1, 1) for a in (w, bias)))
            found.append([y.numpy(), *gradients, affine.numpy()])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("shape", SHAPES)
def test_multiply_add_by_channel_is_two_roundings(shape: tuple[int, ...]) -> None:
    x, w, bias, _ = drawn(shape)
    w, bias = w.reshape(1, -1, 1, 1), bias.reshape(1, -1, 1, 1)
    for order in (*ORDERS, "every other"):
        with tg.engine.options(poison=True):
            y = tg.multiply_add(tensor(x, order), w, bias)
        np.testing.assert_array_equal(y.numpy(), x * w + bias)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_stays_in_its_channel(value: float) -> None:
    x, w, bias, g = drawn((64, 16, 8, 8))
    x[3, 5, 2, 1] = value
    leaf = tensor(x, "images last")
    with np.errstate(invalid="ignore"):
        y = tg.batch_norm(leaf, w, bias)
        (dx,) = tg.grad(y, leaf, gradient=g)
        expected = exact(x, w, bias, g)[:2]
    for got, right in zip((y.numpy(), dx), expected, strict=True):
        assert np.isnan(got[:, 5]).all()
        others = np.arange(16) != 5
        assert abs(got - right)[:, others].max() < ERROR


def test_running_statistics_are_those_of_the_call_and_of_the_array() -> None:
    x, *_ = drawn((32, 6, 9, 9), 3.0)
    recorded, plain = (tg.nn.BatchNorm2d(6, momentum=1.0) for _ in range(2))
    recorded(tg.Tensor(x))
    with tg.no_grad():
        plain(tg.Tensor(x))
    for layer in (recorded, plain):
        assert layer.running_mean is not None
        assert layer.running_var is not None
        np.testing.assert_allclose(layer.running_mean.numpy(), x.mean((0, 2, 3)), rtol=1e-6)
        variance = x.var((0, 2, 3), dtype="f8", ddof=1)
        np.testing.assert_allclose(layer.running_var.numpy(), variance, rtol=1e-5)


def exact_rows(x: Array, w: Array, bias: Array, g: Array) -> list[Array]:
    """Return the normalization of each row and its gradients; `w` and `bias` have x's shape."""
    x, w, bias, g = (np.asarray(a, "f8") for a in (x, w, bias, g))
    deviation = np.sqrt(x.var(1, keepdims=True) + 1e-5)
    normal, h = (x - x.mean(1, keepdims=True)) / deviation, g * w
    p, q = (np.mean(a, 1, keepdims=True) for a in (h, h * normal))
    return [normal * w + bias, (h - p - normal * q) / deviation, g * normal, g]


@pytest.mark.parametrize("offset", [0.0, 60.0])
@pytest.mark.parametrize(("shape", "groups"), [
    ((32, 64, 8, 8), 8), ((8, 16, 32, 32), 16), ((2, 12, 60, 100), 3), ((64, 6, 1, 9), 2),
])  # fmt: skip
def test_group_norm_is_that_of_float64(shape: tuple[int, ...], groups: int, offset: float) -> None:
    x, w, bias, g = drawn(shape, offset)
    rows = (shape[0] * groups, -1)
    every = [np.broadcast_to(a[:, None, None], shape).reshape(rows) for a in (w, bias)]
    expected = exact_rows(x.reshape(rows), *every, g.reshape(rows))
    y, dx, dw, db = (a.reshape(shape) for a in expected)
    root = (x.size // shape[1]) ** 0.5
    wanted = [y, dx, dw.sum((0, 2, 3)) / root, db.sum((0, 2, 3)) / root]
    for order in (*ORDERS, "every other"):
        with tg.engine.options(poison=True):
            leaves = [tensor(x, order), tg.Tensor(w, True), tg.Tensor(bias, True)]
            result = tg.group_norm(leaves[0], groups, *leaves[1:])
            dx, dw, db = tg.grad(result, leaves, gradient=arranged(g, order))
        for got, right in zip((result.numpy(), dx, dw / root, db / root), wanted, strict=True):
            assert abs(got - right).max() < 2 * ERROR * max(1.0, offset), order


@pytest.mark.parametrize("offset", [0.0, 60.0])
@pytest.mark.parametrize("shape", [(300, 256), (5000, 33), (8, 16, 32, 32), (3, 1, 1, 10007)])
def test_layer_norm_is_that_of_float64(shape: tuple[int, ...], offset: float) -> None:
    rng, inner = np.random.default_rng(0), shape[1:]
    x, g = (rng.standard_normal(shape, "f4") for _ in range(2))
    x += np.float32(offset)
    w, bias = (rng.standard_normal(inner, "f4") for _ in range(2))
    rows = (shape[0], -1)
    every = [np.broadcast_to(a, shape).reshape(rows) for a in (w, bias)]
    y, dx, dw, db = exact_rows(x.reshape(rows), *every, g.reshape(rows))
    root = shape[0] ** 0.5
    wanted = [y, dx, dw.sum(0) / root, db.sum(0) / root]
    found = []
    for n in (1, 3):
        with tg.engine.options(poison=True), tg.num_threads(n):
            leaves = [tg.Tensor(a, True) for a in (x, w, bias)]
            result = tg.layer_norm(leaves[0], inner, *leaves[1:])
            found.append([result.numpy(), *tg.grad(result, leaves, gradient=g)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    scales = (1.0, 1.0, root, root)
    for got, right, scale in zip(found[0], wanted, scales, strict=True):
        error = abs(got.reshape(right.shape) / scale - right).max()
        assert error < 2 * ERROR * max(1.0, offset)


@pytest.mark.parametrize(
    "shape", [(200_003, 3), (4_099, 10), (67, 3, 59, 61), (1, 1_031, 1_033, 3)]
)
def test_sums_of_narrow_rows_lose_no_digits(shape: tuple[int, ...]) -> None:
    """A prime number of rows cannot be seen as fewer long ones."""
    last = len(shape) == 4
    x = (np.random.default_rng(0).random(shape) < 0.9).astype("f4") * 0.3 - 0.1
    x = np.moveaxis(x, -1, 1) if last else x
    axes, g = tuple(k for k in range(x.ndim) if k != 1), np.full_like(x, 0.1)
    found = normalization.statistics(x, axes, 0.0)
    values = x.astype("f8")
    mean, variance = values.mean(axes, keepdims=True), values.var(axes, keepdims=True)
    assert (abs(found[0] - mean) <= 8e-6 * np.sqrt(variance)).all()
    np.testing.assert_allclose(found[2], variance, rtol=4e-5)
    sums = normalization.moments(g, x, found)[0]
    np.testing.assert_allclose(sums, g.sum(axes, "f8", keepdims=True), rtol=4e-6)


@pytest.mark.parametrize("shape", [(200_000, 4), (8_192, 64), (64, 197, 33)])
def test_the_shift_of_layer_norm_loses_no_digits(shape: tuple[int, ...]) -> None:
    x = tg.Tensor(np.random.default_rng(0).standard_normal(shape, "f4"))
    w, shift = (tg.Tensor(np.ones(shape[-1], "f4"), requires_grad=True) for _ in range(2))
    tg.layer_norm(x, shape[-1], w, shift).backward(np.full(shape, 0.1, "f4"))
    expected = np.float32(0.1) * float(np.prod(shape[:-1]))
    np.testing.assert_allclose(np.asarray(shift.grad), expected, rtol=4e-6)


def test_layer_norm_keeps_the_imaginary_part_of_its_parameters() -> None:
    x, w = np.random.default_rng(0).standard_normal((4, 5)), np.ones(5) + 1e-20j
    assert tg.layer_norm(x, 5, w).dtype == tg.layer_norm(x, 5, None, w).dtype == np.complex128
