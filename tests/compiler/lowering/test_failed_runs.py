"""Tapes that end early, whose optimizers get parameters, and in forked processes."""

from __future__ import annotations

import contextvars
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim

pytest.importorskip("numba")

Body = Callable[[nn.Module, optim.Optimizer, Any, Any], tg.Tensor]


def first(m: Any, o: Any, x: Any, y: Any) -> tg.Tensor:
    o.zero_grad()
    loss = tg.cross_entropy(m(x), y)
    loss.backward()
    o.step()
    return loss


def after(m: Any, o: Any, x: Any, y: Any) -> tg.Tensor:
    loss = tg.cross_entropy(m(x), y)
    o.zero_grad()
    loss.backward()
    o.step()
    return loss


def last(m: Any, o: Any, x: Any, y: Any) -> tg.Tensor:
    loss = tg.cross_entropy(m(x), y)
    loss.backward()
    o.step()
    o.zero_grad()
    return loss


def two_sweeps(m: Any, o: Any, x: Any, y: Any) -> tg.Tensor:
    for p in m.parameters():
        (p * p).sum().backward()
    loss = tg.cross_entropy(m(x), y)
    loss.backward()
    return loss


def second_is_wrong(m: Any, o: Any, x: Any, y: Any) -> tg.Tensor:
    o.zero_grad()
    (m(x) ** 2).mean().backward()
    loss = tg.cross_entropy(m(x), y)
    o.zero_grad()
    loss.backward()
    o.step()
    return loss


BODIES: list[Body] = [first, after, last, two_sweeps, second_is_wrong]


def run(body: Body, compiled: bool, count: int) -> list[Any]:
    """Return what each call leaves; the labels of the fourth and fifth are wrong."""
    rng = np.random.default_rng(0)
    hidden = nn.Linear(4, 5, bias=False, rng=rng)
    m = nn.Sequential(hidden, nn.BatchNorm1d(5), nn.Linear(5, 3, rng=rng))
    o = optim.SGD(m.parameters(), lr=0.01, momentum=0.9)
    step: Any = lambda x, y: body(m, o, x, y)  # noqa: E731
    step = tg.compile(step) if compiled else step
    found: list[Any] = []
    for k in range(8):
        labels = rng.integers(0, 3, count)
        x = tg.Tensor(rng.normal(size=(count, 4)).astype("f4"))
        if k in (3, 4):
            labels[-1] = 7
            with pytest.raises(ValueError, match="7"):
                step(x, labels)
        else:
            step(x, labels)
        gradients = [None if p.grad is None else np.array(p.grad) for p in m.parameters()]
        found.append([*gradients, *[np.array(v.data) for v in m.state_dict().values()]])
        found[-1].append(next(iter(o.state.values())).get("steps", 0))
    return found


@pytest.mark.parametrize("count", [6, 1000])  # larger labels are read where they are
@pytest.mark.parametrize("body", BODIES)
def test_an_error_leaves_what_it_leaves_in_eager_mode(body: Body, count: int) -> None:
    with tg.engine.options(fast=False):
        expected = run(body, False, count)
    with tg.engine.options(fast=True):
        got = run(body, True, count)
    for k, (ours, theirs) in enumerate(zip(got, expected, strict=True)):
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            assert (a is None) == (b is None), f"call {k}, {i}"
            if b is not None:
                np.testing.assert_allclose(a, b, 1e-3, 2e-5, err_msg=f"call {k}, {i}")


def test_a_parameter_that_an_optimizer_gets_later_is_cleared_too() -> None:
    def made(compiled: bool) -> list[float]:
        a, b = (nn.Parameter(np.ones((2, 2), "f4")) for _ in "ab")
        optimizer = optim.SGD([a], lr=0.1)

        def step(x: Any) -> tg.Tensor:
            optimizer.zero_grad()
            loss: tg.Tensor = ((a @ b) * x).sum()
            loss.backward()
            optimizer.step()
            return loss

        run: Any = tg.compile(step) if compiled else step
        found = []
        for k in range(7):
            if k == 4:
                optimizer.add_param_group({"params": [b]})
            found.append(run(tg.Tensor(np.ones((2, 2), "f4"))).item())
            found.append(float(b.grad[0, 0]))  # type: ignore[index]
        return found

    with tg.engine.options(fast=True):
        np.testing.assert_allclose(made(True), made(False), 1e-5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_another_thread_runs_a_tape() -> None:
    x = tg.Tensor(np.ones((256, 64), "f4"))
    with tg.engine.options(fast=True), tg.num_threads(1):
        layer = nn.Linear(64, 64, rng=np.random.default_rng(0))
        step = tg.compile(lambda x: tg.relu(layer(x)).detach())
        for _ in range(3):
            step(x)
        (captured,) = step._programs.values()
        memory = captured[0]._memory
        assert memory is not None
        inside, ends = threading.Event(), threading.Event()

        def hold() -> None:
            with memory.lock:
                inside.set()
                ends.wait()

        thread = threading.Thread(target=contextvars.copy_context().run, args=(hold,))
        thread.start()
        inside.wait()
        child = os.fork()
        if child == 0:
            import faulthandler

            faulthandler.dump_traceback_later(20, exit=True)
            step(x)
            os._exit(0)
        ends.set()
        thread.join()
        assert os.waitpid(child, 0)[1] == 0
