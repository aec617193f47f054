"""Compiled steps take and return what eager ones do, with the same bits, and share no memory."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from support.both_ways import Batch, Trained, assert_same_bits, run_of, same_bits

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim


@pytest.fixture(autouse=True)
def numpy_only() -> Iterator[None]:
    """Run programs of NumPy calls."""
    with tg.engine.options(fast=False):
        yield


def data(count: int, seed: int) -> Batch:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 2, 6, 6)).astype("f4"), rng.integers(0, 3, count)


BATCHES = [data(5, seed) for seed in range(5)]


def training() -> Trained:
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)

    def step(x: Any, labels: Any) -> tg.Tensor:
        optimizer.zero_grad()
        loss: tg.Tensor = tg.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    return Trained(step, [model], [optimizer])


def test_gradients_of_inputs() -> None:
    def make() -> Trained:
        model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh()).requires_grad_(False)

        def step(x: Any) -> tuple[tg.Tensor, Any]:
            given = tg.Tensor(x, requires_grad=True)
            loss = (model(given) ** 2).sum()
            return loss, tg.grad(loss, [given])

        return Trained(step, [model])

    assert_same_bits(make, [(x,) for x, _ in BATCHES])


def test_inputs_that_get_a_gradient() -> None:
    """It is added to the ``.grad`` of each call's own Tensor."""
    weight = nn.Parameter(np.ones((3, 2), "f4"))

    def step(x: tg.Tensor) -> None:
        tg.tanh(tg.linear(x, weight)).sum().backward()

    compiled, found = tg.compile(step), []
    for called in (step, compiled):
        weight.grad = None
        inputs = [tg.Tensor(np.eye(2, dtype="f4") * k, requires_grad=True) for k in range(4)]
        for x in (*inputs, inputs[-1], inputs[0]):
            called(x)
        found.append([weight.grad, *(x.grad for x in inputs)])
    assert all(map(same_bits, *found))


def test_arguments_and_results_of_every_kind() -> None:
    def make() -> Trained:
        weight = nn.Parameter(np.ones((3, 2), "f4"))

        def step(pair: Any, scale: float, kind: str = "a", flag: bool = False) -> Any:
            y = tg.linear(pair["x"], weight) * scale
            if flag:
                y = y[pair["rows"]]
            (y * y).sum().backward()
            return {"y": y, "none": None, "kind": kind, "parts": (y[0], [pair["x"], 3])}

        return Trained(step, leaves=[weight])

    x = np.random.default_rng(0).normal(size=(4, 2)).astype("f4")
    pairs = [{"x": x * k, "rows": rows} for k, rows in enumerate(([0, 2], [0, 2], [1, 3], [0]))]
    options = [(0.5, "a", False), (0.5, "a", True), (2.0, "b", True), (0.5, "a", True)]
    assert_same_bits(make, [(pair, *each) for pair, each in zip(pairs, options, strict=True)])


class Named(NamedTuple):
    x: Any
    scale: float


class Row(list[Any]):
    pass


def test_arguments_of_subclasses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Named tuples, kinds of dicts and lists, and arrays in a file."""

    def step(parts: Any, x: Any) -> Any:
        print(type(parts).__name__)
        first = parts.x if isinstance(parts, Named) else next(iter(_values(parts)))
        return tg.Tensor(first) * 2.0 + x

    compiled = tg.compile(step)
    np.save(tmp_path / "x.npy", np.arange(12, dtype="f4").reshape(4, 3))
    stored = np.load(tmp_path / "x.npy", mmap_mode="r")
    for make in (
        lambda x: Named(x, 2.0), lambda x: OrderedDict(x=x), lambda x: defaultdict(list, x=x),
        lambda x: Row([x]), lambda x: (x,),
    ):  # fmt: skip
        for k in range(4):
            x = stored[k]
            y = compiled(make(x + np.float32(k)), x)
            assert same_bits(y.numpy(), (x + np.float32(k)) * 2 + x)
    kinds = (Named, OrderedDict, defaultdict, Row, tuple)
    assert capsys.readouterr().out.split() == [kind.__name__ for kind in kinds for _ in "12"]
    assert len(compiled.programs) == 5


def _values(parts: Any) -> Any:
    return parts.values() if isinstance(parts, dict) else parts


def test_arguments_by_name() -> None:
    def step(x: Any, *, scale: float = 2.0, **others: Any) -> tg.Tensor:
        y: tg.Tensor = tg.Tensor(x) * scale + others["y"]
        return y

    compiled, x = tg.compile(step), np.arange(3.0)
    for k in range(3):
        assert same_bits(compiled(x, y=x * k).numpy(), x * 2.0 + x * k)
        assert same_bits(compiled(y=x * k, scale=0.5, x=x).numpy(), x * 0.5 + x * k)


def test_results_and_gradients_of_earlier_calls_stay() -> None:
    """A replay does not write to memory that the caller got in an earlier call."""
    trained = training()
    step = tg.compile(trained.step)
    held: list[tuple[Any, Any]] = []
    for x, labels in BATCHES:
        loss = step(x, labels)
        arrays = [loss.data, *(p.grad for p in trained.models[0].parameters())]
        held += [(array, array.copy()) for array in arrays]
        x[...], labels[...] = np.nan, 0  # nor does it read that of earlier arguments
    assert all(same_bits(array, copied) for array, copied in held)


def test_inputs_are_not_changed_and_may_alias() -> None:
    x, _ = data(5, 0)
    trained = Trained(lambda a, b: (tg.Tensor(a) * b + a, tg.relu(tg.Tensor(b))))
    before = x.copy()
    found, _ = run_of(lambda: trained, [(x, x), (x, x), (x, x + 1), (x, x)], True)
    expected, _ = run_of(lambda: trained, [(x, x), (x, x), (x, x + 1), (x, x)], False)
    for got, right in zip(found, expected, strict=True):
        assert all(same_bits(got[name], right[name]) for name in right)
    assert same_bits(x, before)
