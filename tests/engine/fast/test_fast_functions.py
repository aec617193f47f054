"""Kernels of functions: exp, log, tanh, sigmoid, softmax, cross-entropy, optimizer updates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import tinygrad_cnn as tg
from tinygrad_cnn.engine.softmax import log_softmax as log_softmax_by_numpy

pytest.importorskip("numba")

from tinygrad_cnn.engine.fast import exponential, optimizers, softmax
from tinygrad_cnn.engine.fast.eager.running import run
from tinygrad_cnn.engine.fast.kernel import Kernel, Reals, Whole, kernel

SPECIAL = [np.inf, -np.inf, np.nan, 0.0, -0.0, -1.0, 1e-45, 5e-324, 88.8, 89.5, -103.2, -104.5,
           -710.0, -745.2, -746.0, 709.8, 710.0, 1e30, -1e30]  # fmt: skip


@kernel
def exp_of(x: Reals, y: Reals, count: Whole) -> None:
    for i in range(count):
        y[i] = exponential.exp(x[i])


@kernel
def log_of(x: Reals, y: Reals, count: Whole) -> None:
    for i in range(count):
        y[i] = exponential.log(x[i])


@kernel
def log1p_of(x: Reals, y: Reals, count: Whole) -> None:
    for i in range(count):
        y[i] = exponential.log1p(x[i])


@kernel
def tanh_of(x: Reals, y: Reals, count: Whole) -> None:
    for i in range(count):
        y[i] = exponential.tanh(x[i])


@kernel
def sigmoid_of(x: Reals, y: Reals, count: Whole) -> None:
    for i in range(count):
        y[i] = exponential.sigmoid(x[i])


def exact_sigmoid(x: NDArray[Any]) -> NDArray[Any]:
    power = np.exp(-abs(x))
    return np.where(x >= 0, 1, power) / (1 + power)


@kernel
def silu_of(x: Reals, y: Reals, count: Whole) -> None:
    for i in range(count):
        y[i] = exponential.times_sigmoid(max(x[i], -1000), x[i])


def exact_silu(x: NDArray[Any]) -> NDArray[Any]:
    return np.where(np.isneginf(x), -0.0, x) * exact_sigmoid(x)


FUNCTIONS = {
    "exp": (exp_of, np.exp, 1.0),
    "log": (log_of, np.log, 1.0),
    "log1p": (log1p_of, np.log1p, 2.5),
    "tanh": (tanh_of, np.tanh, 2.5),
    "sigmoid": (sigmoid_of, exact_sigmoid, 2.5),
    "silu": (silu_of, exact_silu, 3.0),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["f", "d"])
def test_functions_are_exact_to_their_last_places(name: str, dtype: str) -> None:
    function, exact, places = FUNCTIONS[name]
    rng = np.random.default_rng(0)
    small = 10.0 ** rng.uniform(-44 if dtype == "f" else -320, 2, 20_001)
    wide = rng.uniform(-110, 90, 20_001) * (1 if dtype == "f" else 7)
    signs = rng.choice([-1, 1], small.size)
    x = np.concatenate([small * signs, wide, rng.standard_normal(20_001), SPECIAL])
    with np.errstate(all="ignore"):
        x = x.astype(dtype)
        y = np.full_like(x, np.nan)
        run(function, x, y, x.size)
        expected = exact(x.astype(np.longdouble))
        rounded = expected.astype(dtype)
        inside = np.isfinite(rounded)
        np.testing.assert_array_equal(y[~inside], rounded[~inside])
        error = abs(y.astype(np.longdouble) - expected)[inside] / np.spacing(abs(rounded[inside]))
    assert error.max() <= places
    signed = inside & ~np.isnan(x)
    np.testing.assert_array_equal(np.signbit(y[signed]), np.signbit(rounded[signed]))


@pytest.mark.parametrize(("dtype", "start"), [("f4", -103.0), ("f8", -745.0)])
def test_silu_and_its_gradient_where_the_sigmoid_is_denormal(dtype: str, start: float) -> None:
    def step(x: Any) -> Any:
        y = tg.silu(x)
        return y, tg.grad(y.sum(), x)[0]

    x = np.linspace(start, -20.0, 9_001).astype(dtype)
    given = tg.Tensor(x, requires_grad=True)
    compiled = tg.compile(step)
    for _ in range(3):
        found = compiled(given)
    wide = x.astype(np.longdouble)
    s = exact_sigmoid(wide)
    for y, exact in zip(found, (wide * s, s * (1 + wide * (1 - s))), strict=True):
        rounded = exact.astype(dtype)
        error = abs(np.asarray(y).astype(np.longdouble) - exact) / np.spacing(abs(rounded))
        assert error.max() <= 5


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_tanh_of_minus_0_is_minus_0(dtype: str) -> None:
    compiled = tg.compile(lambda x: tg.tanh(x))
    for _ in range(3):
        y = compiled(tg.Tensor(np.full(12_000, -0.0, dtype)))
    assert np.signbit(y.numpy()).all()


CUBES = [(1, 10, 64), (1, 3, 1), (5, 4, 1), (300, 10, 1), (2, 70, 1), (7, 21, 8), (1, 5, 1500),
         (3, 1, 17), (64, 33, 40), (0, 3, 4), (2, 3, 0)]  # fmt: skip


def cube(shape: tuple[int, int, int], dtype: str) -> NDArray[Any]:
    rng = np.random.default_rng(sum(shape))
    x = rng.standard_normal(shape) * 3
    if x.size > 20:
        x.flat[7], x.flat[-5] = 40, -200  # a power close to the sum, and none
    return x.astype(dtype)


def by_kernel(function: Kernel, *arrays: Any, shape: tuple[int, int, int], **named: Any) -> None:
    step, width, pieces = softmax.pieces_of(*shape)
    more = named.get("more", ())
    found = []
    for n in (1, 2):
        for array in arrays[named["results"] :]:
            array.fill(np.nan)
        with tg.num_threads(n):
            run(function, *arrays, *shape, step, width, *more, pieces=pieces, work=1 << 30,
                scratch=3 * width)  # fmt: skip
        found.append([array.copy() for array in arrays[named["results"] :]])
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)


def assert_close(found: NDArray[Any], expected: NDArray[Any]) -> None:
    if found.size:
        limit = 1e-12 if found.dtype == np.float64 else 2e-6
        assert abs(found - expected).max() <= limit * max(1.0, float(abs(expected).max()))


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("shape", CUBES)
def test_softmax_and_its_logarithm(shape: tuple[int, int, int], dtype: str) -> None:
    x = cube(shape, dtype)
    g = np.random.default_rng(9).standard_normal(shape).astype(dtype)
    y, dx = np.empty_like(x), np.empty_like(x)
    wide = x.astype(np.longdouble)
    powers = np.exp(wide - wide.max(1, keepdims=True, initial=-1e9))
    exact = powers / powers.sum(1, keepdims=True)
    by_kernel(softmax.softmax, x, y, shape=shape, results=1)
    assert_close(y, exact)
    by_kernel(softmax.softmax_gradient, g, y, dx, shape=shape, results=2)
    assert_close(dx, exact * (g - (g * exact).sum(1, keepdims=True)))
    by_kernel(softmax.log_softmax, x, y, shape=shape, results=1)
    assert_close(
        y, wide - wide.max(1, keepdims=True, initial=-1e9) - np.log(powers.sum(1, keepdims=True))
    )
    by_kernel(softmax.log_softmax_gradient, g, y, dx, shape=shape, results=2)
    assert_close(dx, g - exact * g.sum(1, keepdims=True))


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("shape", CUBES)
def test_cross_entropy_and_its_gradient(shape: tuple[int, int, int], dtype: str) -> None:
    x = cube(shape, dtype)
    outer, classes, inner = shape
    rng = np.random.default_rng(3)
    labels = rng.integers(0, classes, (outer, inner))
    g = rng.standard_normal((outer, inner)).astype(dtype)
    powers, losses, dx = np.empty_like(x), np.empty((outer, inner), dtype), np.empty_like(x)
    by_kernel(softmax.cross_entropy, x, labels, powers, losses, shape=shape, results=2)
    wide = x.astype(np.longdouble)
    exact = np.exp(wide - wide.max(1, keepdims=True, initial=-1e9))
    totals = exact.sum(1, keepdims=True)
    at = labels[:, np.newaxis]
    logarithms = np.take_along_axis(wide - wide.max(1, keepdims=True, initial=-1e9), at, 1)[:, 0]
    expected = np.log(totals)[:, 0] - logarithms
    assert_close(losses, expected)
    assert np.all(abs(losses - expected) <= 1e-4 * expected + 1e-30)  # small ones too
    assert_close(powers, exact)
    one_hot = np.zeros(shape)
    np.put_along_axis(one_hot, at, 1, 1)
    for apart in (0, 1):
        factor = g[:, np.newaxis] if apart else (g[0, 0] if g.size else 0)
        by_kernel(softmax.cross_entropy_gradient, g, labels, powers, dx, shape=shape, results=3,
                  more=(apart, 0.25))  # fmt: skip
        assert_close(dx, (exact / totals - one_hot) * factor * 0.25)


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_logit_makes_its_example_nan_and_no_other(bad: float, rows: bool) -> None:
    shape = (20, 7, 1) if rows else (1, 7, 20)
    x = cube(shape, "f")
    examples = x[..., 0] if rows else x[0].T
    examples[4, 3], examples[6, 0], examples[9] = bad, -np.inf, -np.inf
    y = np.empty_like(x)
    by_kernel(softmax.softmax, x, y, shape=shape, results=1)
    with np.errstate(invalid="ignore"):
        expected = np.exp(log_softmax_by_numpy(x.astype("d"), 1))
    np.testing.assert_allclose(y, expected, 1e-5, 1e-7)
    found = y[..., 0] if rows else y[0].T
    assert np.isnan(found).all(1).nonzero()[0].tolist() == [4, 9]
    assert np.isnan(found).any(1).nonzero()[0].tolist() == [4, 9]


def stepped(kind: Any, options: dict[str, Any], dtype: str) -> list[NDArray[Any]]:
    """Return a parameter and its state after three steps by NumPy, and the same by the kernel."""
    rng = np.random.default_rng(1)
    start = rng.standard_normal(10_007).astype(dtype)
    gradients = [rng.standard_normal(10_007).astype(dtype) for _ in range(3)]
    gradients[1][5], gradients[1][6] = np.nan, np.inf
    with tg.engine.options(fast=False), np.errstate(all="ignore"):
        p = tg.nn.Parameter(start.copy(), dtype=dtype)
        optimizer = kind([p], **options)
        for g in gradients:
            p.grad = g
            optimizer.step()
    found = [p.numpy(), *[a for name, a in optimizer.state[p].items() if name != "steps"]]
    q, arrays = start.copy(), [np.zeros_like(start) for _ in found[1:]]
    lr, decay = optimizer.lr, optimizer.weight_decay
    arrays = arrays if kind is not tg.optim.SGD or optimizer.momentum else []
    for t, g in enumerate(gradients, 1):
        sizes = (q.size, 1024)
        if kind is tg.optim.SGD:
            mu = optimizer.momentum
            if mu:
                kept = 1.0 - optimizer.dampening if t > 1 else 1.0
                function, more = (
                    optimizers.descend_with_momentum,
                    (int(optimizer.nesterov), lr, mu, kept, decay),
                )
            else:
                function, more = optimizers.descend, (lr, decay)
        else:
            (b1, b2), root = optimizer.betas, np.sqrt(1.0 - optimizer.betas[1] ** t)
            is_apart = kind is tg.optim.AdamW
            keep, inside = (1.0 - lr * decay, 0.0) if is_apart else (1.0, decay)
            function, more = optimizers.adam, (
                lr * root / (1.0 - b1**t), keep, inside, 1.0 - b1, b2, 1.0 - b2,
                root * optimizer.eps,
            )  # fmt: skip
        run(function, q, g, *arrays, *sizes, *more, pieces=10)
    return [*found[: len(arrays) + 1], q, *arrays]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (tg.optim.SGD, {"lr": 0.1}),
        (tg.optim.SGD, {"lr": 0.1, "weight_decay": 0.01}),
        (tg.optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
        (tg.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
        (tg.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
        (tg.optim.Adam, {"weight_decay": 0.01}),
        (tg.optim.Adam, {}),
        (tg.optim.AdamW, {}),
    ],
)
def test_updates_have_the_bits_of_numpy(kind: Any, options: dict[str, Any], dtype: str) -> None:
    arrays = stepped(kind, options, dtype)
    half = len(arrays) // 2
    for by_numpy, ours in zip(arrays[:half], arrays[half:], strict=True):
        np.testing.assert_array_equal(by_numpy, ours, strict=True)
