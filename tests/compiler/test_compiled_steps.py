"""`compile`: what is replayed, what captures again, and what its source says."""

from __future__ import annotations

import copy
import itertools
import os
import pickle
import threading
import traceback
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim
from tinygrad_cnn.core.effects import effect

X = np.linspace(-1.0, 1.0, 12, dtype="f4").reshape(4, 3)


@pytest.fixture(autouse=True)
def _numpy_only() -> Iterator[None]:
    with tg.engine.options(fast=False):
        yield


def layer() -> nn.Linear:
    return nn.Linear(3, 2, rng=np.random.default_rng(0))


def test_python_code_runs_in_the_first_two_calls_only(capsys: pytest.CaptureFixture[str]) -> None:
    """The second is compared with a replay."""

    @tg.compile
    def step(x: Any) -> Any:
        print("running")
        return tg.relu(tg.Tensor(x))

    for _ in range(4):
        step(X)
    assert capsys.readouterr().out == "running\n" * 2


def test_an_attribute_that_changes_captures_again() -> None:
    model = nn.Sequential(
        layer().requires_grad_(False), nn.Dropout(0.5, rng=np.random.default_rng(1))
    )
    step = tg.compile(model.train())
    step(X)
    model.eval()
    assert np.array_equal(step(X).numpy(), model(X).numpy())
    assert len(step.programs) == 2
    model.train()
    step(X)
    assert len(step.programs) == 2


def test_a_replaced_parameter_captures_again() -> None:
    model = layer()
    step = tg.compile(model)
    with tg.no_grad():
        for _ in range(3):
            step(X)
        model.bias = nn.Parameter(np.array([5.0, 6.0], "f4"))
        assert np.array_equal(step(X).numpy(), model(X).numpy())


def test_results_have_no_graph_and_memory_of_their_own() -> None:
    model = layer()

    @tg.compile
    def step(x: Any) -> Any:
        y = model(x)
        y.sum().backward()
        return y

    results = [step(X) for _ in range(4)]
    assert not any(y.requires_grad for y in results)
    assert not np.shares_memory(results[2].numpy(), results[3].numpy())
    with pytest.raises(RuntimeError, match="compiled step"):
        results[3].sum().backward()


def test_a_result_that_the_caller_could_differentiate_is_refused() -> None:
    """Its gradients would end at the compiled function, without a word."""
    body, head = layer(), nn.Linear(2, 1)
    for function in (body, lambda x: {"y": [body(x)]}, lambda x: (x, body(x).sum())):
        with pytest.raises(tg.CompileError, match=r"a gradient.* backward\(\) inside .* no_grad"):
            tg.compile(function)(X)
    x = tg.Tensor(X, requires_grad=True)
    with pytest.raises(tg.CompileError, match=r"detach\(\)"):
        tg.compile(tg.relu)(x)

    @tg.compile
    def split(x: Any) -> Any:  # the first loss has freed what the second one needs
        y = body(x)
        head(y).sum().backward()
        return y, (y * y).mean()

    @tg.compile
    def gradient(x: Any) -> Any:
        y = body(x)
        return y, tg.grad(y.sum(), body.weight)[0]

    for step in (split, gradient, tg.compile(lambda x: body(x).detach())):
        for _ in range(3):
            step(X)
    with tg.no_grad():
        assert np.array_equal(tg.compile(body)(X).numpy(), body(X).numpy())


def test_leaves_never_share_a_gradient() -> None:
    """The rule of addition hands one array to both."""
    a, b = nn.Parameter(np.zeros(3, "f4")), nn.Parameter(np.zeros(3, "f4"))

    @tg.compile
    def step(x: Any) -> None:
        ((a + b) * x).sum().backward()

    for _ in range(4):
        a.grad = b.grad = None
        step(X[0])
    assert a.grad is not None
    assert not np.shares_memory(a.grad, b.grad)
    a.grad *= 0
    step(X[0])
    assert np.array_equal(a.grad, X[0])


def test_a_stored_seed_is_not_that_of_the_next_call() -> None:
    a = nn.Parameter(np.float32(2.0))

    @tg.compile
    def step(x: Any) -> None:
        (a + x[0, 0:1].sum() if False else a + tg.sum(tg.Tensor(x))).backward()

    for _ in range(3):
        step(X)
        assert a.grad is not None
        a.grad[...] = 7.0
        a.grad = None
    step(X)
    assert a.grad == 1.0


def test_too_many_programs_warn_once_and_run_eagerly() -> None:
    step = tg.compile(lambda x, k: tg.Tensor(x) * k)
    for k in range(16):
        step(X, float(k))
    with pytest.warns(UserWarning, match=r"k: .* became"):
        step(X, 17.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert step(X, 18.0).numpy()[0, 0] == -18.0
    assert len(step.programs) == 16


def test_an_error_of_a_replay_names_the_line_of_the_call() -> None:
    @tg.compile
    def step(x: Any, labels: Any) -> Any:
        return tg.cross_entropy(tg.Tensor(x), labels)

    good = np.array([0, 1, 2, 0])
    for _ in range(3):
        step(X, good)
    with pytest.raises((ValueError, IndexError)) as caught:
        step(X, np.array([0, 1, 2, 9]))
    assert "test_compiled_steps.py" in "".join(getattr(caught.value, "__notes__", []))
    assert "cross_entropy" in "".join(traceback.format_exception(caught.value))
    assert np.isfinite(step(X, good).item())


def test_a_step_that_depends_on_something_hidden_is_found_by_the_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FACTOR", "1.0")
    step = tg.compile(lambda x: tg.Tensor(x) * float(os.environ["FACTOR"]))
    step(X)
    monkeypatch.setenv("FACTOR", "2.0")
    with pytest.raises(tg.CompileError, match="differs from the function itself in the result"):
        step(X)


def test_a_failed_check_is_repeated_in_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTOR", "1.0")
    step = tg.compile(lambda x: tg.Tensor(x) * float(os.environ["FACTOR"]))
    step(X)
    monkeypatch.setenv("FACTOR", "2.0")
    for _ in range(3):
        with pytest.raises(tg.CompileError, match="differs from the function itself"):
            step(X)


def test_an_error_in_the_second_call_leaves_the_program_to_be_checked() -> None:
    w = nn.Parameter(np.ones((3, 3), "f4"))
    factor = np.ones(1, "f4")

    @tg.compile
    def step(x: Any, labels: Any) -> Any:
        (w * w).sum().backward()
        loss = tg.cross_entropy(tg.Tensor(x) @ w * factor, labels)
        loss.backward()
        return loss

    good = np.array([0, 1, 2, 0])
    step(X, good)
    w.grad = None
    with pytest.raises((ValueError, IndexError)):
        step(X, np.array([0, 1, 2, 9]))
    assert w.grad is not None  # as the function leaves it
    np.testing.assert_array_equal(w.grad, np.full((3, 3), 2.0, "f4"))
    runs = itertools.count()
    watched = step._function

    def counted(*args: Any) -> Any:
        next(runs)
        return watched(*args)

    step._function = counted
    for _ in range(3):
        step(X, good)
    assert next(runs) == 1


def test_threads_that_call_at_once_make_one_program() -> None:
    model = layer().requires_grad_(False)
    step = tg.compile(model)
    start = threading.Barrier(8)

    def call(_: int) -> Any:
        with tg.engine.options(fast=False):
            start.wait()
            return step(X).numpy()

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(call, range(8)))
    for y in results:
        np.testing.assert_array_equal(y, model(X).numpy())
    assert len(step.programs) == 1


def test_a_check_leaves_the_state_of_one_call() -> None:
    """Two optimizers, whose states are both restored between the two ways."""

    def made() -> tuple[Any, list[nn.Linear]]:
        models = [layer(), layer()]
        optimizers = [optim.Adam(model.parameters(), 0.1) for model in models]

        def step(x: Any) -> Any:
            loss = sum((model(x) ** 2).mean() for model in models)
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            return loss

        return step, models

    (eager, ours), (step, theirs) = made(), made()
    step = tg.compile(step, check_every=2)
    for _ in range(5):
        assert eager(X).item() == step(X).item()
    for one, other in zip(ours, theirs, strict=True):
        assert np.array_equal(one.weight.numpy(), other.weight.numpy())


def test_an_effect_draws_again_in_each_replay() -> None:
    @effect
    def noise(rng: np.random.Generator) -> Any:
        return rng.standard_normal((4, 3), np.float32)

    def made() -> Any:
        rng = np.random.default_rng(3)
        return lambda x: tg.Tensor(x) + noise(rng)

    eager, step = made(), tg.compile(made())
    for _ in range(4):
        assert np.array_equal(eager(X).numpy(), step(X).numpy())


def test_observers_see_the_function_itself() -> None:
    step = tg.compile(layer())
    with tg.no_grad():
        step(X)

    class Names(tg.Observer):
        seen: list[str]

        def forward(self, event: tg.ForwardEvent) -> None:
            self.seen.append(event.op.name)

    names = Names()
    names.seen = []
    with tg.observe(names):
        y = step(X)
    assert names.seen == ["linear"]
    assert y.requires_grad


def test_the_source_frees_what_is_not_needed() -> None:
    x = np.zeros((64, 64), "f4")
    step = tg.compile(lambda x: tg.tanh(tg.relu(tg.Tensor(x) * 2.0)))
    step(x)
    text = step.source(x)
    assert "y3 = relu(y2)" in text
    assert text.index("del y2") < text.index("tanh(y3)") < text.index("del y3")


def test_a_copy_captures_programs_of_its_own() -> None:
    model = layer().requires_grad_(False)
    step = tg.compile(model, check_every=3)
    step(X)
    for other in (copy.deepcopy(step), pickle.loads(pickle.dumps(step))):
        model.bias.data[...] = 7.0
        assert not other.programs
        for _ in range(3):
            y = other(X)
        assert not np.array_equal(y.numpy(), model(X).numpy())
        model.bias.data[...] = 0.0


def test_a_function_may_have_the_name_of_an_op() -> None:
    compiled, x = tg.compile(tg.tanh), tg.Tensor([-1.0, 2.0])
    for _ in range(3):
        np.testing.assert_array_equal(compiled(x).numpy(), tg.tanh(x).numpy())
