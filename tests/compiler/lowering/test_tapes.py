"""Training steps on tapes, against the same steps in eager NumPy."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.machine import in_ci

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim
from tinygrad_cnn.compiler.program import StepInstruction, TapeCall

if not in_ci():
    pytest.importorskip("numba")

TOLERANCE = {"f4": 1e-5, "f8": 1e-12}  # relative to the largest value


class Training:
    """A network, an optimizer and a step, from a fixed seed."""

    def __init__(
        self,
        optimizer: Callable[..., Any] = lambda p: optim.SGD(p, lr=0.01, momentum=0.9),
        dtype: str = "f4",
        clear: str = "first",
        between: Callable[[Training], Any] = lambda _: None,
        ignored: int = -100,
    ) -> None:
        rng = np.random.default_rng(0)
        hidden = nn.Linear(6, 5, rng=rng)
        self.model = nn.Sequential(hidden, nn.ReLU(), nn.Linear(5, 3, rng=rng))
        if dtype == "f8":
            self.model = self.model.double()
        self.optimizer = optimizer(list(self.model.parameters()))
        self.clear, self.between, self.ignored = clear, between, ignored

    def step(self, x: Any, labels: Any) -> Any:
        if self.clear == "first":
            self.optimizer.zero_grad()
        loss = tg.cross_entropy(self.model(x), labels, ignore_index=self.ignored)
        if self.clear == "before backward":
            self.model.zero_grad()
        loss.backward()
        self.between(self)
        self.optimizer.step()
        if self.clear == "last":
            self.optimizer.zero_grad()
        return loss

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = {name: p.numpy() for name, p in self.model.named_parameters()}
        for name, p in self.model.named_parameters():
            found[f"{name}.grad"] = p.grad
        return found | self.optimizer.state_dict()


def batch(rng: np.random.Generator, n: int, dtype: str = "f4") -> tuple[Any, Any]:
    x = rng.standard_normal((n, 6)).astype(dtype)
    return tg.Tensor(x), rng.integers(0, 3, n)


def assert_close(a: dict[str, Any], b: dict[str, Any], tolerance: float) -> None:
    assert a.keys() == b.keys()
    for name, expected in b.items():
        if not isinstance(expected, np.ndarray):
            assert a[name] == expected, name
            continue
        scale = float(abs(expected).max(initial=0.0))
        np.testing.assert_allclose(a[name], expected, 0, tolerance * scale, err_msg=name)


def on_tapes(step: Any) -> list[StepInstruction]:
    """Return what a compiled step runs."""
    return list(step._latest[-1].runs.instructions.values())


def compared(
    dtype: str = "f4", calls: int = 6, n: int = 4, **options: Any
) -> tuple[Training, Training, Any]:
    """Train both ways, and compare all state after each call."""
    eager, compiled = Training(dtype=dtype, **options), Training(dtype=dtype, **options)
    step, rng = tg.compile(compiled.step), np.random.default_rng(1)
    for _ in range(calls):
        x, labels = batch(rng, n, dtype)
        a, b = eager.step(x, labels), step(x, labels)
        assert abs(a.item() - b.item()) <= 10 * TOLERANCE[dtype]
        assert_close(compiled.state(), eager.state(), 10 * TOLERANCE[dtype])
    return eager, compiled, step


OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "SGD": lambda p: optim.SGD(p, lr=0.01),
    "SGD with decay": lambda p: optim.SGD(p, lr=0.01, weight_decay=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=0.1),
    "dampening": lambda p: optim.SGD(p, lr=0.01, momentum=0.9, dampening=0.5),
    "Nesterov": lambda p: optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True),
    "Adam": lambda p: optim.Adam(p, lr=0.01, weight_decay=0.1),
    "AdamW": lambda p: optim.AdamW(p, lr=0.01),
    "groups": lambda p: optim.Adam([{"params": p[:1], "lr": 0.1}, {"params": p[1:]}]),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.01),  # has no rows
}


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimizer_trains_as_in_eager_mode(name: str, dtype: str) -> None:
    _, _, step = compared(dtype, optimizer=OPTIMIZERS[name])
    kinds = [type(i) for i in on_tapes(step)]
    assert kinds.count(TapeCall) == 1
    assert len(kinds) == (2 if name == "RMSprop" else 1)


@pytest.mark.parametrize("clear", ["first", "before backward", "last", "never"])
def test_gradients_add_up_unless_they_are_cleared(clear: str) -> None:
    compared("f8", clear=clear)


@pytest.mark.parametrize("n", [1, 2, 17, 64])
def test_batches_of_any_size(n: int) -> None:
    compared("f8", n=n)


def test_hyperparameters_are_read_in_each_call() -> None:
    eager, compiled, step = compared("f8")
    rng = np.random.default_rng(2)
    for each in (eager, compiled):
        each.optimizer.lr = 0.5
        each.optimizer.momentum = 0.25
    x, labels = batch(rng, 4, "f8")
    eager.step(x, labels)
    step(x, labels)
    assert_close(compiled.state(), eager.state(), 1e-12)
    for each in (eager, compiled):
        each.optimizer.momentum = 0.0  # another kernel: the optimizer's own step
    eager.step(x, labels)
    step(x, labels)
    assert_close(compiled.state(), eager.state(), 1e-12)


def test_eager_steps_and_replays_can_alternate() -> None:
    eager, compiled, step = compared("f8", optimizer=OPTIMIZERS["Adam"])
    rng = np.random.default_rng(2)
    for k in range(6):
        x, labels = batch(rng, 4, "f8")
        eager.step(x, labels)
        (step if k % 2 else compiled.step)(x, labels)
        assert_close(compiled.state(), eager.state(), 1e-12)
    for each in (eager, compiled):
        each.optimizer.load_state_dict(each.optimizer.state_dict())
        each.model.load_state_dict(each.model.state_dict())
    eager.step(x, labels)
    step(x, labels)
    assert_close(compiled.state(), eager.state(), 1e-12)


def test_clipping_between_backward_and_step() -> None:
    def clip(training: Training) -> None:
        optim.clip_grad_norm_(training.model.parameters(), 0.1)

    _, _, step = compared("f8", between=clip)
    assert [type(i).__name__ for i in on_tapes(step)] == ["TapeCall", "Effect", "TapeCall"]


def test_a_gradient_that_someone_holds_is_not_overwritten() -> None:
    _, compiled, step = compared("f8")
    p = next(iter(compiled.model.parameters()))
    held, view = p.grad, p.grad[:1]
    before = held.copy()
    step(*batch(np.random.default_rng(3), 4, "f8"))
    assert p.grad is not held
    assert np.array_equal(held, before)
    assert np.shares_memory(view, held)
    again = p.grad
    del held, view
    address = again.ctypes.data
    del again
    step(*batch(np.random.default_rng(4), 4, "f8"))
    assert p.grad.ctypes.data == address


def test_a_gradient_of_another_origin_is_added_to() -> None:
    eager, compiled, step = compared("f8", clear="never")
    for each in (eager, compiled):
        for p in each.model.parameters():
            p.grad = np.asfortranarray(np.full(p.shape, 2.0))
    x, labels = batch(np.random.default_rng(3), 4, "f8")
    eager.step(x, labels)
    step(x, labels)
    assert_close(compiled.state(), eager.state(), 1e-12)


def test_results_of_calls_are_arrays_of_their_own() -> None:
    _, _, step = compared()
    rng = np.random.default_rng(5)
    first = step(*batch(rng, 4))
    value = first.item()
    second = step(*batch(rng, 4))
    assert first.item() == value != second.item()


def test_a_wrong_label_raises_and_changes_nothing() -> None:
    eager, compiled, step = compared("f8", optimizer=OPTIMIZERS["Adam"])
    before = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in compiled.state().items()}
    x, labels = batch(np.random.default_rng(3), 4, "f8")
    messages = []
    for run in (eager.step, step):
        with pytest.raises(ValueError, match="label 3 at 2, expected 0 to 2") as caught:
            run(x, np.array([0, 1, 3, 2]))
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    after = compiled.state()
    cleared = {name: None for name in after if name.endswith(".grad")}
    assert_close(after, before | cleared, 0.0)
    eager.step(x, labels)
    step(x, labels)
    assert_close(compiled.state(), eager.state(), 1e-12)


def test_ignored_labels_have_no_loss() -> None:
    eager, compiled = Training(dtype="f8", ignored=1), Training(dtype="f8", ignored=1)
    step, rng = tg.compile(compiled.step), np.random.default_rng(1)
    for _ in range(5):
        x, labels = batch(rng, 9, "f8")
        np.testing.assert_allclose(step(x, labels).item(), eager.step(x, labels).item(), 1e-12)
        assert_close(compiled.state(), eager.state(), 1e-12)
    with pytest.raises(ValueError, match="nothing to average"):
        step(x, np.ones_like(labels))


def test_nothing_uninitialized_is_read() -> None:
    with tg.engine.options(poison=True):
        compared("f8", n=3)


def test_labels_and_images_of_any_memory() -> None:
    eager, compiled = Training(dtype="f8"), Training(dtype="f8")
    step, rng = tg.compile(compiled.step), np.random.default_rng(1)
    for n in (4, 2000):
        for _ in range(3):
            x = rng.standard_normal((6, 2 * n))[:, ::2].T
            labels = rng.integers(0, 3, (n, 2)).astype(np.uint8)[:, 0]
            a, b = eager.step(tg.Tensor(x), labels), step(tg.Tensor(x), labels)
            np.testing.assert_allclose(a.item(), b.item(), 1e-12)
            assert_close(compiled.state(), eager.state(), 1e-12)


@pytest.mark.parametrize("dtype", ["i4", "i8"])
def test_an_array_of_the_function_is_read_in_each_call(dtype: str) -> None:
    labels = np.zeros(4, dtype)
    factors = np.asfortranarray(np.ones((4, 3)))

    @tg.compile
    def step(x: Any) -> Any:
        return tg.cross_entropy(x * factors, labels)

    x = tg.Tensor(np.random.default_rng(0).standard_normal((4, 3)))
    for k in range(5):
        labels[...] = k % 3
        factors[...] = k
        expected = tg.cross_entropy(x * factors, labels).item()
        np.testing.assert_allclose(step(x).item(), expected, 1e-12)


def test_a_frozen_parameter_keeps_its_values() -> None:
    def freeze(p: list[tg.Tensor]) -> Any:
        p[0].requires_grad = False
        return optim.Adam(p)

    compared("f8", optimizer=freeze)


def test_several_threads_may_call_one_step() -> None:
    compiled = Training(dtype="f8", optimizer=lambda p: optim.SGD(p, lr=0.0))
    step, rng = tg.compile(compiled.step), np.random.default_rng(1)
    batches = [batch(rng, 4, "f8") for _ in range(4)]
    for x, labels in batches * 3:
        step(x, labels)
    expected = [compiled.step(x, labels).item() for x, labels in batches]
    found: dict[int, set[float]] = {}

    def work(k: int) -> None:
        found[k] = {round(step(*batches[k]).item(), 10) for _ in range(50)}

    workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == {k: {round(value, 10)} for k, value in enumerate(expected)}


def test_batch_norm_follows_its_batches() -> None:
    def make() -> tuple[nn.Module, Callable[..., Any]]:
        rng = np.random.default_rng(0)
        model = nn.Sequential(
            nn.Conv2d(2, 3, 3, bias=False, rng=rng), nn.BatchNorm2d(3), nn.ReLU(),
            nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 3, rng=rng),
        ).double()  # fmt: skip
        optimizer = optim.SGD(model.parameters(), lr=0.1)

        def step(x: Any, labels: Any) -> Any:
            optimizer.zero_grad()
            loss = tg.cross_entropy(model(x), labels)
            loss.backward()
            optimizer.step()
            return loss

        return model, step

    (eager, plain), (compiled, function) = make(), make()
    step, rng = tg.compile(function), np.random.default_rng(1)
    for _ in range(5):
        x, labels = tg.Tensor(rng.standard_normal((7, 2, 6, 6))), rng.integers(0, 3, 7)
        np.testing.assert_allclose(step(x, labels).item(), plain(x, labels).item(), 1e-12)
        assert_close(compiled.state_dict(), eager.state_dict(), 1e-11)
    assert [type(i) for i in on_tapes(step)] == [TapeCall]


def test_a_kernel_that_fails_leaves_its_instruction_to_numpy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tinygrad_cnn.engine.fast.linear import outer_product

    def fails(_: Any) -> int:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(outer_product, "address", fails)
    with pytest.warns(RuntimeWarning, match="kernel for the derivative of linear failed"):
        compared("f8")
