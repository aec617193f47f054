"""Views of parameters, buffers and arguments in steps on tapes: as live as in eager mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim
from tinygrad_cnn.core.effects import effect
from tinygrad_cnn.core.variable import array_of

pytest.importorskip("numba")

VIEWS: dict[str, Callable[[Any], Any]] = {
    "transpose": lambda w: w.T,
    "reshape": lambda w: tg.reshape(w, (6, 1)),
    "chain": lambda w: tg.expand_dims(w.T[1:], 0),
    "slice": lambda w: w[:, 1:],
    "broadcast": lambda w: tg.broadcast_to(w, (4, 2, 3)),
    "flip": lambda w: tg.flip(w, 1),
    "diagonal": lambda w: tg.diagonal(w),
    "copy": lambda w: w * 1.0,
}


def assert_as_eager(make: Callable[[], Any], batch: Callable[[int], Any], fast: bool) -> None:
    """Assert equal results at once, and after all calls, when they may show later changes."""
    found = []
    for compiled in (False, True):
        with tg.engine.options(fast=fast and compiled):
            step = tg.compile(make()) if compiled else make()
            kept, seen = [], []
            for k in range(5):
                kept.append(step(batch(k)))
                seen.append([y.numpy().copy() for y in kept[-1]])
            found.append((seen, [[y.numpy().copy() for y in each] for each in kept]))
    for got, expected in zip(found[1], found[0], strict=True):
        for k, pair in enumerate(zip(got, expected, strict=True)):
            for i, (a, b) in enumerate(zip(*pair, strict=True)):
                np.testing.assert_allclose(a, b, 1e-5, 1e-6, err_msg=f"call {k}, result {i}")


def ones(k: int) -> tg.Tensor:
    return tg.Tensor(np.full((2, 3), 1.0 + k, "f4"))


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("name", VIEWS)
def test_a_view_of_a_parameter_before_its_update(name: str, fast: bool) -> None:
    view = VIEWS[name]

    def make() -> Any:
        w = nn.Parameter(np.arange(6.0, dtype="f4").reshape(2, 3))
        optimizer = optim.SGD([w], lr=0.1)

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            with tg.no_grad():
                before = view(w)
                used = before * 2.0
            (w * x).sum().backward()
            optimizer.step()
            with tg.no_grad():
                return before * 1.0 + (before - view(w)) * 10.0, used, before, view(w)

        return step

    assert_as_eager(make, ones, fast)


@pytest.mark.parametrize("name", VIEWS)
def test_views_of_running_statistics_and_of_arguments(name: str) -> None:
    view = VIEWS[name]

    def make() -> Any:
        norm = nn.BatchNorm1d(3)

        def step(x: Any) -> Any:
            first, turned = norm(x), view(x)
            before = norm.running_mean[1:]
            y = norm(x * 3.0) + first
            with tg.no_grad():
                return before + 1.0, turned + 1.0, norm.running_var[:1], y.detach() * 2.0

        return step

    x = np.random.default_rng(0).normal(size=(5, 2, 3)).astype("f4")
    assert_as_eager(make, lambda k: tg.Tensor(x[k]), True)


def test_an_effect_that_writes_to_an_argument_and_to_a_parameter() -> None:
    @effect
    def doubled(w: Any, x: Any) -> None:
        w._array *= 2.0
        array_of(x)[...] += 1.0

    def make() -> Any:
        layer = nn.Linear(3, 2, rng=np.random.default_rng(0))

        def step(x: Any) -> Any:
            with tg.no_grad():
                first, part, y = layer.weight.T, x[:, 1:], tg.tanh(x * 2.0)
                doubled(layer.weight, x)
                z = tg.tanh(x * 3.0) + y
                return tg.relu(first) - 1.0, tg.relu(part), z, tg.tanh(x), x[0] * 2.0

        return step

    assert_as_eager(make, ones, True)


@pytest.mark.parametrize("name", VIEWS)
def test_results_are_no_views_of_the_arena(name: str) -> None:
    """NumPy computes what has no row, as a view of memory that the next call writes to."""
    kept: list[Any] = []

    @effect
    def keep(y: Any) -> None:
        kept.append(y)

    w = nn.Parameter(np.ones((2, 3), "f4"))

    def f(x: Any) -> Any:
        y = tg.tanh(x * w)
        part = tg.diagonal(y)
        keep(part)
        return y.detach(), part.detach(), VIEWS[name](y).detach(), tg.grad(y.sum(), w)

    with tg.engine.options(fast=True):
        step = tg.compile(f)
        found = [step(ones(k)) for k in range(4)]
        before = [[np.array(tg.Tensor(a).numpy()) for a in each] for each in found]
        shown = [np.array(tg.Tensor(y).numpy()) for y in kept]
        step(ones(7))
    for each, values in zip(found, before, strict=True):
        for a, b in zip(each, values, strict=True):
            np.testing.assert_array_equal(tg.Tensor(a).numpy(), b)
    for y, values in zip(kept, shown, strict=False):
        np.testing.assert_array_equal(tg.Tensor(y).numpy(), values)
