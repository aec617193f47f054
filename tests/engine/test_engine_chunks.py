"""Elementwise work in chunks: the same values and bits as in one call, for any memory order."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.engine import chunks, selection

SHAPE = (24, 8, 31, 33)  # more than one chunk, the last one short


def _orders(shape=SHAPE):
    x = np.random.default_rng(0).standard_normal(shape)
    last = np.ascontiguousarray(x.transpose(2, 3, 1, 0)).transpose(3, 2, 0, 1)
    wide = np.repeat(x, 2, axis=1)
    return {
        "images first": x,
        "images last": last,
        "a slice": wide[:, ::2],
        "backwards": np.ascontiguousarray(x[::-1, :, ::-1])[::-1, :, ::-1],
        "repeated": np.broadcast_to(x[:, :1], shape),
    }


def _combine(out, x, *others):
    np.multiply(x, 2.0, out=out)
    for other in others:
        np.add(out, other, out=out)


@pytest.mark.parametrize("order", _orders())
@pytest.mark.parametrize("other", [*_orders(), "channels", "a number", "an axis less"])
def test_chunks_give_the_values_of_one_call(order, other):
    orders = _orders()
    x = orders[order]
    broadcast = {
        "channels": x[:1, :, :1, :1],
        "a number": np.array(3.0),
        "an axis less": x[0, :, :, :1],
    }
    y = (orders | broadcast)[other]
    out = np.full_like(x, np.nan)
    sizes = []

    def combine(out, *given):
        sizes.append(out.size)
        _combine(out, *given)

    chunks.run(combine, out, x, y)
    assert (out == 2.0 * x + y).all()
    assert len(sizes) > 1
    assert sum(sizes) == x.size
    assert max(sizes) <= chunks.SIZE
    assert (chunks.mapped(lambda x, y: 2.0 * x + y, x, y) == out).all()


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (5,), (chunks.SIZE,)])
def test_small_arrays_are_passed_as_they_are(shape):
    x = np.ones(shape)
    given = []
    chunks.run(lambda *parts: given.append(parts), x, x)
    assert given[0][0] is x
    assert (chunks.mapped(np.negative, x) == -1.0).all()


def test_a_result_keeps_the_memory_order_and_takes_a_dtype():
    x = _orders()["images last"]
    y = chunks.mapped(lambda x: x > 0, x)
    assert y.dtype == bool
    assert y.transpose(2, 3, 1, 0).flags.c_contiguous
    assert (y == (x > 0)).all()
    z = chunks.mapped(lambda mask: mask * 2.0, y)
    assert z.dtype == float
    assert (z == y * 2.0).all()


def test_chunks_on_threads_have_the_same_bits():
    x = np.random.default_rng(0).standard_normal(1 << 19, "f4")
    results = []
    for count in 1, 2, 3:
        with tg.num_threads(count):
            results.append(chunks.mapped(lambda x: np.exp(np.sin(x)), x, work=64))
    assert (results[0] == results[1]).all()
    assert (results[0] == results[2]).all()
    assert (results[0] == np.exp(np.sin(x))).all()


@chunks.chunked(work=40)
def _scaled(x, y, *, factor, z=None):
    assert x.size <= chunks.SIZE
    values = factor * x + y
    return values if z is None else values - z


def test_a_decorated_function_cuts_what_has_the_shape_of_the_first_array():
    x, y, z = np.random.default_rng(0).standard_normal((3, 129, 7, 301))
    assert (_scaled(x, y, factor=2.0) == 2.0 * x + y).all()
    assert (_scaled(x, y, z=z, factor=np.float64(2.0)) == 2.0 * x + y - z).all()
    assert (_scaled(x, 1, factor=2.0, z=z.transpose(0, 1, 2)) == 2.0 * x + 1 - z).all()
    assert (
        _scaled.__wrapped__(x[:3], y[:3], factor=2.0) == _scaled(x[:3], y[:3], factor=2.0)
    ).all()


def test_a_decorated_function_takes_broadcasting_arguments_whole():
    @chunks.chunked()
    def difference(x, y):
        assert x.size == 129 * 7 * 301
        return x - y

    x = np.ones((129, 7, 301))
    assert (difference(x, np.ones(301)) == 0).all()
    assert (difference(x, [1.0]) == 0).all()


def test_flat_needs_one_memory_order():
    orders = _orders()
    x, last = orders["images first"], orders["images last"]
    assert chunks.flat(x, last) is None
    assert chunks.flat(orders["a slice"]) is None
    a, b = chunks.flat(last, last > 0)
    assert np.shares_memory(a, last)
    assert (b == (a > 0)).all()


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c16", "i4"])
@pytest.mark.parametrize("size", [0, 5, 1 << 12, 1 << 18])
def test_selection_is_that_of_numpy_to_the_bit(dtype, size):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((2, size)) * 9).astype(dtype)
    if a.dtype.kind == "f":
        a[::7], b[::5], b[::9] = np.nan, np.inf, -0.0
    mask = rng.random(size) < 0.5
    zero = np.zeros((), dtype)
    for x, y in ((a, b), (a, b[:1]), (a[:1], b), (a, zero), (zero, b), (a, zero + 1)):
        if x.size == size or y.size == size:
            found, expected = selection.where(mask, x, y), np.where(mask, x, y)
            assert found.dtype == expected.dtype
            assert found.tobytes() == expected.tobytes()
    if dtype in ("f4", "f8"):
        out = np.empty_like(a)
        selection.fill(out, mask, 1.0, -0.2)
        assert (out == np.where(mask, 1.0, -0.2).astype(dtype)).all()


@pytest.mark.parametrize("order", ["images last", "a slice"])
def test_activations_of_large_arrays_are_those_of_small_ones(order):
    x = _orders()[order].copy("K") * 20.0
    x.flat[:3] = np.nan, np.inf, -np.inf
    g = np.random.default_rng(1).standard_normal(x.shape)
    functions = [tg.sigmoid, tg.tanh, tg.relu, tg.leaky_relu, tg.softplus, tg.elu, tg.silu, tg.gelu,
                 tg.mish, lambda x: tg.leaky_relu(x, 1.5), lambda x: tg.leaky_relu(x, -0.5),
                 lambda x: tg.elu(x, 0.5), tg.hardtanh, tg.abs]  # fmt: skip
    for function in functions:
        for dtype, digits in (("f4", 1e-6), ("f8", 1e-14)):
            leaf = tg.Tensor._of(x.astype(dtype))
            leaf.requires_grad = True
            y = function(leaf)
            y.backward(g)
            for k in (0, 5):
                few = tg.Tensor(x[k, :3, :5, :5], True, dtype)
                small = function(few)
                small.backward(g[k, :3, :5, :5])
                for large, expected in ((y.numpy(), small.numpy()), (leaf.grad, few.grad)):
                    np.testing.assert_allclose(
                        large[k, :3, :5, :5], expected, rtol=digits, atol=digits
                    )


def test_a_large_array_of_bools_is_one_of_integers_like_a_small_one() -> None:
    for size in (5, 2 * chunks.SIZE):
        assert tg.relu(np.ones(size, bool)).dtype == np.maximum(np.ones(5, bool), 0).dtype
