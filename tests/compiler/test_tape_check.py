"""The check of replays finds wrong kernels and frozen constants, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from support.machine import in_ci
from support.small_models import SMALL, drawn

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim
from tinygrad_cnn.compiler import snapshot
from tinygrad_cnn.compiler.lowering import tape
from tinygrad_cnn.compiler.lowering.elementwise import write_broadcast
from tinygrad_cnn.compiler.lowering.optimizers import OptimizerStep
from tinygrad_cnn.engine.fast import elementwise as kernels

if not in_ci():
    pytest.importorskip("numba")


def training(dtype: str = "f4", make: Any = optim.Adam) -> tuple[Callable[[Any], Any], list[Any]]:
    """Return a step with dropout, and what it changes."""
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, rng=rng), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Dropout(0.25, rng=rng), nn.Flatten(), nn.Linear(16, 3, rng=rng),
    )  # fmt: skip
    if dtype == "f8":
        model.double()
    optimizer = make(model.parameters(), lr=0.01)

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        y = model(x)
        loss = (y * y).mean()
        loss.backward()
        optimizer.step()
        return loss

    return step, [model, optimizer, rng]


def images(seed: int, dtype: str = "f4") -> Any:
    return np.random.default_rng(seed).standard_normal((5, 2, 6, 6)).astype(dtype)


def checked(dtype: str = "f4", make: Any = optim.Adam) -> None:
    """Capture a step, and check its first replay."""
    step, _ = training(dtype, make)
    compiled = tg.compile(step)
    for seed in range(2):
        compiled(images(seed, dtype))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_wrong_forward_is_found(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    def squared(writer: tape.Writer, call: Any) -> bool:
        x = call.arguments["x"]
        return write_broadcast(writer, kernels.mul, call.result, [x, x])

    monkeypatch.setitem(tape.FORWARD, "relu", squared)
    step = tg.compile(lambda x: tg.relu(tg.Tensor(x) * 2.0))
    with tg.engine.options(fast=True):
        step(images(0, dtype))
        with pytest.raises(tg.CompileError, match=r"kernels of .* differ .* in the result: by"):
            step(images(1, dtype))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_wrong_rule_is_found(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    def doubled(writer: tape.Writer, rule: Any) -> bool:
        return write_broadcast(writer, kernels.add, rule.parts[0], [rule.gradient] * 2)

    monkeypatch.setitem(tape.BACKWARD, ("tanh", "x"), doubled)
    w = nn.Parameter(np.linspace(-1, 1, 6).astype(dtype))

    compiled = tg.compile(lambda x: tg.grad(tg.tanh(w * x).sum(), w))
    compiled(images(0, dtype)[0, 0])
    with pytest.raises(tg.CompileError, match=r"kernels of .* in the result\[0\]: by"):
        compiled(images(1, dtype)[0, 0])


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_wrong_step_of_an_optimizer_is_found(
    monkeypatch: pytest.MonkeyPatch, make: Any, dtype: str
) -> None:
    """The learning rate, which changes a parameter by little, is a tenth too large."""
    factor = planted(monkeypatch)
    checked(dtype, make)
    factor[0] = 1.1
    with pytest.raises(tg.CompileError, match="differ from NumPy"):
        checked(dtype, make)


def planted(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let the kernels of optimizers multiply the learning rate by the number in a list."""
    factor, right = [1.0], OptimizerStep.begin

    def begin(self: OptimizerStep) -> bool:
        begun = right(self)
        for first, *_ in self._numbers:
            self._values[first] *= factor[0]
        return begun

    monkeypatch.setattr(OptimizerStep, "begin", begin)
    return factor


def test_each_kth_call_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    factor = planted(monkeypatch)
    step, _ = training("f8", optim.SGD)
    compiled = tg.compile(step, check_every=4)
    for seed in range(4):  # the first replay is the second call
        compiled(images(seed, "f8"))
        factor[0] = 1.0 if seed < 1 else 1.1
    with pytest.raises(tg.CompileError, match="differ from NumPy"):
        compiled(images(4, "f8"))


def test_a_failed_check_leaves_the_state_before_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    factor = planted(monkeypatch)
    step, roots = training("f8", optim.SGD)
    compiled = tg.compile(step)
    compiled(images(0, "f8"))
    of = snapshot.Snapshot(dict(zip(("model", "optimizer", "rng"), roots, strict=True)))
    before = of.current()
    factor[0] = 2.0
    with pytest.raises(tg.CompileError, match="differ from NumPy"):
        compiled(images(1, "f8"))
    assert not snapshot.difference(of.current(), before)


@pytest.mark.parametrize("fast", [False, True])
def test_a_constant_that_data_decided_is_found(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of the environment, which no guard looks at."""
    monkeypatch.setenv("MEAN", "1.0")
    w = nn.Parameter(np.ones(6, "f4"))

    @tg.compile
    def step(x: Any) -> Any:
        return tg.grad((w * x * float(os.environ["MEAN"])).sum(), w)

    with tg.engine.options(fast=fast):
        step(images(0)[0, 0])
        monkeypatch.setenv("MEAN", "1.001")
        with pytest.raises(tg.CompileError, match="differs from the function itself"):
            step(images(1)[0, 0])


def test_checks_leave_the_state_of_one_step() -> None:
    (eager, ours), (step, theirs) = training("f8"), training("f8")
    compiled = tg.compile(step, check_every=2)
    for seed in range(5):
        x = images(seed, "f8")
        np.testing.assert_allclose(compiled(x).item(), eager(x).item(), 1e-11)
        assert ours[2].bit_generator.state == theirs[2].bit_generator.state
        a, b = (each[0].state_dict() for each in (ours, theirs))
        for name, expected in a.items():
            np.testing.assert_allclose(b[name], expected, 1e-9, 1e-8, err_msg=name)
        counts = [list(each[1].state.values()) for each in (ours, theirs)]
        assert [s["steps"] for s in counts[0]] == [s["steps"] for s in counts[1]]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", SMALL)
def test_models_pass(name: str, dtype: str) -> None:
    """Also with Adam, which divides gradients that are only rounding by themselves."""
    build, shape = SMALL[name]
    model = build().double() if dtype == "f8" else build()
    optimizer = optim.Adam(model.parameters())

    def step(x: Any) -> Any:
        y = model(x)
        loss = (y * y).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    compiled = tg.compile(step, check_every=1)
    for seed in range(3):
        compiled(drawn((4, *shape), seed).astype(dtype))


@pytest.mark.parametrize("seed", range(4))
def test_kinks_pass(seed: int) -> None:
    """Results of rectifiers within a rounding of 0, and windows of values that are almost ties."""
    rng = np.random.default_rng(seed)
    layer = nn.Conv2d(3, 8, 3, bias=False, rng=rng)
    weight = np.round(layer.weight.numpy() * 4) / 4 * 0.1  # sums of tenths are nearly 0, or ties
    layer.weight.data[...] = weight
    last = nn.Linear(72, 2, rng=rng)

    def step(x: Any) -> Any:
        layer.zero_grad()
        y = last(tg.reshape(tg.maxpool(tg.relu(layer(x)), 2), (-1, 72)))
        y.sum().backward()
        return y

    compiled = tg.compile(partial(step), check_every=1)
    for _ in range(3):
        compiled(np.round(rng.standard_normal((4, 3, 8, 8))).astype("f4") * np.float32(0.1))


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_the_loss_of_logits_that_are_almost_certain_is_accepted(reduction: str) -> None:
    """It is the small difference of large numbers, of which few digits are right."""
    x, labels = tg.Tensor(np.array([[20.0, 0.0], [0.0, 19.0]])), np.arange(2)
    compiled = tg.compile(lambda x, t: tg.cross_entropy(x, t, reduction=reduction), check_every=1)
    for _ in range(3):
        loss = compiled(x, labels).item()
    exact = np.log1p(np.exp([-20.0, -19.0]))
    assert loss == pytest.approx(getattr(np, reduction)(exact), rel=1e-6)
