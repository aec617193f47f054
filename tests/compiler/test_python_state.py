"""Python state around a compiled step: each change gives what the function itself gives."""

from __future__ import annotations

import functools
import inspect
import itertools
import random
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim
from tinygrad_cnn.core.effects import effect

X = np.linspace(-1.0, 1.0, 12, dtype="f4").reshape(4, 3)

Made = tuple[Callable[..., Any], Callable[[], Any]]
"""A step, and a change between two of its calls."""


@pytest.fixture(autouse=True)
def _numpy_only() -> Iterator[None]:
    with tg.engine.options(fast=False), tg.no_grad():
        yield


def layer(seed: int = 0) -> nn.Linear:
    return nn.Linear(3, 3, rng=np.random.default_rng(seed))


def a_list_of_layers() -> Made:
    layers = [layer()]
    step = lambda x: functools.reduce(lambda y, one: one(y), layers, tg.Tensor(x))  # noqa: E731
    return step, lambda: layers.append(layer(1))


def a_layer_that_moves_to_another_list() -> Made:
    first, second = [layer(), layer(1)], [layer(2)]

    def step(x: Any) -> Any:
        for one in first:
            x = one(x)
        x = tg.relu(x)
        for one in second:
            x = one(x)
        return x

    return step, lambda: second.insert(0, first.pop())


class Nested(nn.Module):
    factor = 1.0

    def __init__(self) -> None:
        self.blocks = nn.ModuleList([layer()])
        self.named = nn.ModuleDict({"a": layer()})
        self.child = layer()
        self.options = types.SimpleNamespace(k=1.0)

    def act(self, x: Any) -> Any:
        return tg.relu(x)

    def forward(self, x: Any) -> Any:
        for one in self.blocks:
            x = one(x)
        x = self.act(self.named["a"](x)) * self.options.k * self.factor
        return tg.linear(x, self.child.weight, self.child.bias)


def of_a_module(change: Callable[[Nested], Any]) -> Callable[[], Made]:
    def made() -> Made:
        model = Nested()
        return model, lambda: change(model)

    return made


class Trainer:
    scale = 1.0

    def __init__(self) -> None:
        self.alpha, self.model, self.table = 1.0, layer(), {"k": 1.0}

    def factor(self) -> float:
        return self.alpha * self.table["k"] * self.scale

    def __call__(self, x: Any) -> Any:
        return self.model(x) * self.factor()


def of_an_object(change: Callable[[Trainer], Any]) -> Callable[[], Made]:
    def made() -> Made:
        trainer = Trainer()
        return lambda x: trainer(x), lambda: change(trainer)

    return made


def a_list_of_functions() -> Made:
    functions = [tg.relu]
    return lambda x: functions[0](tg.Tensor(x)), lambda: functions.__setitem__(0, tg.tanh)


def a_list_of_numbers() -> Made:
    mean = [1.0, 2.0, 3.0]
    return lambda x: tg.Tensor(x) - mean, lambda: mean.__setitem__(0, 9.0)


def a_variable_of_a_helper() -> Made:
    k = 1.0

    def helper(x: Any) -> Any:
        return tg.Tensor(x) * k

    def change() -> None:
        nonlocal k
        k = 2.0

    return lambda x: helper(x), change


SCALE = 1.0


def scale() -> float:
    return SCALE


def a_global_of_a_helper() -> Made:
    globals()["SCALE"] = 1.0
    return lambda x: tg.Tensor(x) * scale(), lambda: globals().__setitem__("SCALE", 3.0)


def a_default() -> Made:
    def step(x: Any, options: dict[str, float] = {"k": 1.0}) -> Any:  # noqa: B006
        return tg.Tensor(x) * options["k"]

    return step, lambda: step.__defaults__[0].update(k=4.0)  # type: ignore[index]


def an_attribute_of_a_module_of_python() -> Made:
    config = types.ModuleType("configuration_of_a_test")
    config.k = 1.0  # type: ignore[attr-defined]
    return lambda x: tg.Tensor(x) * config.k, lambda: setattr(config, "k", 2.0)


def a_compiled_function_inside() -> Made:
    k = [1.0]
    inner = tg.compile(lambda x: tg.relu(x) * k[0])
    return lambda x: inner(tg.Tensor(x)) * 2.0, lambda: k.__setitem__(0, 5.0)


def an_optimizer_whose_step_is_replaced() -> Made:
    model = layer()
    optimizer = optim.SGD(model.parameters(), 0.1)

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        with tg.enable_grad():
            loss = (model(x) ** 2).mean()
            loss.backward()
        optimizer.step()
        return loss

    return step, lambda: setattr(optimizer, "step", lambda: None)


@dataclass
class Options:
    k: float = 1.0
    parts: set[float] = field(default_factory=lambda: {1.0})


def an_argument() -> Made:
    options = Options()
    step = lambda x, options=options: tg.Tensor(x) * options.k * sum(options.parts)  # noqa: E731
    return functools.partial(step, options=options), lambda: options.parts.add(5.0)


CHANGES: dict[str, Callable[[], Made]] = {
    name: made
    for name, made in list(globals().items())
    if inspect.isfunction(made) and made.__annotations__.get("return") == "Made"
} | {
    "a module list": of_a_module(lambda m: m.blocks.append(layer(1))),
    "a module dict": of_a_module(lambda m: m.named.__setitem__("a", layer(1))),
    "a parameter that is read": of_a_module(
        lambda m: setattr(m.child, "weight", nn.Parameter(np.ones((3, 3), "f4")))
    ),
    "a namespace": of_a_module(lambda m: setattr(m.options, "k", 3.0)),
    "a method": of_a_module(lambda m: setattr(m, "act", tg.tanh)),
    "an attribute over that of a class": of_a_module(lambda m: setattr(m, "factor", 2.0)),
    "a number of an object": of_an_object(lambda t: setattr(t, "alpha", 2.0)),
    "a model of an object": of_an_object(lambda t: setattr(t, "model", layer(1))),
    "a dict of an object": of_an_object(lambda t: t.table.update(k=7.0)),
    "a method of an object": of_an_object(lambda t: setattr(t, "factor", lambda: 5.0)),
}


@pytest.mark.parametrize("made", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_before_the_fourth_call_is_seen(made: Callable[[], Made]) -> None:
    (eager, change), (function, change_too) = made(), made()
    step = tg.compile(function)
    for call in range(6):
        if call == 3:
            change_too()
        got = step(X).numpy()
        if call == 3:
            change()
        assert np.array_equal(got, eager(X).numpy()), call


def test_an_attribute_of_a_class_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer()
    step = tg.compile(lambda x: trainer(x))
    for _ in range(3):
        step(X)
    monkeypatch.setattr(Trainer, "scale", 2.0)
    assert np.array_equal(step(X).numpy(), trainer(X).numpy())


# --- refused ------------------------------------------------------------------------------------


def counted() -> Callable[..., Any]:
    counts = {"n": 0}

    def step(x: Any) -> Any:
        counts["n"] += 1
        return tg.Tensor(x) * (1.0 if counts["n"] < 5 else 0.1)

    return step


def drawn(draw: Callable[[], float]) -> Callable[..., Any]:
    return lambda x: tg.relu(tg.Tensor(x)) if draw() < 0.8 else tg.Tensor(x)


def kept() -> Callable[..., Any]:
    results: list[Any] = []

    def step(x: Any) -> Any:
        y = tg.relu(tg.Tensor(x))
        results.append(y)
        return y * 2.0

    return step


def kept_in_a_new_attribute() -> Callable[..., Any]:
    results = types.SimpleNamespace()

    def step(x: Any) -> Any:
        results.latest = tg.relu(tg.Tensor(x))
        return results.latest * 2.0

    return step


def kept_in_a_new_attribute_of_a_function() -> Callable[..., Any]:
    def step(x: Any) -> Any:
        scale.latest = tg.relu(tg.Tensor(x))  # type: ignore[attr-defined]
        return tg.relu(tg.Tensor(x))

    vars(scale).pop("latest", None)
    return step


def kept_in_a_new_attribute_of_a_class() -> Callable[..., Any]:
    class Results:
        latest: Any

    def step(x: Any) -> Any:
        Results.latest = tg.relu(tg.Tensor(x))
        return tg.relu(tg.Tensor(x))

    return step


def kept_in_a_new_variable() -> Callable[..., Any]:
    def step(x: Any) -> Any:
        global new_variable
        new_variable = tg.relu(tg.Tensor(x))  # type: ignore[name-defined]
        return tg.relu(tg.Tensor(x))

    globals().pop("new_variable", None)
    return step


def kept_by_a_hook() -> Callable[..., Any]:
    model, seen = layer(), dict[str, Any]()
    model.register_forward_hook(lambda module, args, y: seen.update(y=y.detach()))
    return lambda x: model(x)


@pytest.mark.parametrize(
    ("made", "named"),
    [
        (counted, r"counts\['n'\]"),
        (lambda: drawn(np.random.default_rng(0).random), "draws from"),
        (lambda: drawn(random.random), "draws from"),
        (lambda: drawn(np.random.rand), "draws from"),
        (kept, r"keeps results\[0\]"),
        (kept_in_a_new_attribute, r"keeps results\.latest"),
        (kept_in_a_new_attribute_of_a_function, r"keeps scale\.latest"),
        (kept_in_a_new_attribute_of_a_class, r"keeps Results\.latest"),
        (kept_in_a_new_variable, r"keeps the variable new_variable"),
        (kept_by_a_hook, r"keeps seen\['y'\]"),
    ],
)
def test_state_that_each_run_changes_is_refused(
    made: Callable[[], Callable[..., Any]], named: str
) -> None:
    step = tg.compile(made())
    with pytest.raises(tg.CompileError, match=named):
        step(X)


def twice(values: Any) -> Iterator[float]:
    for value in values:
        yield value
        yield value


ITERATORS: dict[str, Callable[[], Iterator[Any]]] = {
    "generator": lambda: twice([1.0, 2.0]),
    "list": lambda: iter([1.0, 1.0, 2.0]),
    "range": lambda: iter(range(4)),
    "dict": lambda: iter({1.0: 0, 2.0: 0}),
    "map": lambda: map(float, [1, 1, 2]),
    "zip": lambda: zip([1.0, 1.0], [1.0, 1.0], strict=True),
    "enumerate": lambda: enumerate([1.0, 2.0]),
    "chain": lambda: itertools.chain([1.0, 1.0], [2.0]),
    "islice": lambda: itertools.islice(itertools.repeat(1.0, 9), 3),
    "count": lambda: itertools.count(),
    "cycle": lambda: itertools.cycle([1.0, 1.0]),
    "tee": lambda: itertools.tee([1.0, 1.0, 2.0])[0],
    "generator over a generator": lambda: (value for value in twice([1.0, 2.0])),
    "batches": lambda: iter(tg.data.DataLoader(tg.data.digits().test, batch_size=2)),
}


UNSEEN = {"cycle", "tee"} if sys.version_info >= (3, 14) else set[str]()
"""Iterators whose position nothing shows: each step that names one is refused."""


@pytest.mark.parametrize("name", ITERATORS)
def test_an_iterator_that_moves_is_refused_and_no_other(name: str) -> None:
    values = ITERATORS[name]()

    def moving(x: Any) -> Any:
        next(values, None)
        return tg.relu(tg.Tensor(x))

    with pytest.raises(tg.CompileError, match="moves values"):
        tg.compile(moving)(X)
    if name in UNSEEN:
        return

    still = tg.compile(lambda x: tg.relu(tg.Tensor(x)) if values else None)
    for _ in range(3):
        assert np.array_equal(still(X).numpy(), np.maximum(X, 0.0))
        next(values, None)
    assert len(still.programs) == 1


# --- effects ------------------------------------------------------------------------------------


def test_effects_count_once_in_each_call() -> None:
    counts, average = [0], np.zeros(3, "f4")
    rng = np.random.default_rng(0)
    names = iter(range(1000))

    @effect
    def tick(x: Any) -> None:
        counts[0] += 1
        average[...] = 0.9 * average + 0.1 * tg.core.variable.array_of(x)[0]

    @effect
    def noise() -> Any:
        drawn = rng.random() + random.random() + np.random.rand()  # noqa: NPY002
        return np.full(3, drawn, "f4")

    @effect
    def following() -> Any:
        return np.full(3, next(names), "f4")

    def function(x: Any) -> Any:
        y = tg.Tensor(x) * noise()
        tick(y)
        return y

    def run(step: Callable[..., Any]) -> tuple[Any, ...]:
        nonlocal rng
        rng = np.random.default_rng(0)
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        counts[0], average[...] = 0, 0.0
        results = [step(X).numpy().tolist() for _ in range(5)]
        return results, counts[0], average.tolist()

    assert run(tg.compile(function)) == run(function)
    step = tg.compile(lambda x: tg.Tensor(x) * following())
    assert [step(X).numpy()[0, 0] for _ in range(5)] == [-0.0, -1.0, -2.0, -3.0, -4.0]


# --- captured as before -------------------------------------------------------------------------


def test_a_slice_of_what_an_effect_returns_is_used_and_returned() -> None:
    counts, seen = [0], list[slice]()

    @effect
    def count() -> float:
        counts[0] += 1
        return float(counts[0])

    @effect
    def use(part: slice) -> None:
        seen.append(part)

    def function(x: Any) -> Any:
        part = slice(count(), None)
        use(part)
        return tg.relu(tg.Tensor(x)), part

    step = tg.compile(function)
    returned = [step(X)[1] for _ in range(4)]
    assert returned == [slice(float(k), None) for k in range(1, 5)]
    assert seen[-4:] == returned


def test_a_cache_that_the_first_run_fills_is_no_change() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            self.masks: dict[int, Any] = {}

        @functools.cached_property
        def factor(self) -> float:
            return 2.0

        def forward(self, x: Any) -> Any:
            if len(x) not in self.masks:
                self.masks[len(x)] = np.ones((len(x), 1), "f4")
            return tg.Tensor(x) * self.masks[len(x)] * self.factor

    model = Masked()
    step = tg.compile(model)
    for _ in range(5):
        assert np.array_equal(step(X).numpy(), 2 * X)
    assert len(step.programs) == 1


def test_what_the_step_does_not_name_may_change() -> None:
    class Loop:
        def __init__(self) -> None:
            self.model, self.epoch, self.losses = layer(), 0, list[float]()

        def step(self, x: Any) -> Any:
            return self.model(x)

    loop = Loop()
    step = tg.compile(loop.step)
    for epoch in range(5):
        loop.epoch = epoch
        loop.losses.append(float(step(X).sum()))
    assert len(step.programs) == 1


def test_a_step_that_names_too_many_values_runs_eagerly() -> None:
    table = list(range(100_000))
    step = tg.compile(lambda x: tg.Tensor(x) * table[1])
    with pytest.warns(UserWarning, match="runs eagerly"):
        assert np.array_equal(step(X).numpy(), X)
    assert not step.programs


def test_a_step_makes_a_layer_with_attributes() -> None:
    step = tg.compile(lambda x: tg.nn.LeakyReLU(0.5)(x))
    for x in ([1.0, -1.0], [-2.0, 3.0], [4.0, -4.0]):
        expected = np.where(np.array(x) > 0, x, 0.5 * np.array(x))
        assert step(tg.Tensor(x)).numpy().tolist() == expected.tolist()
    assert len(step.programs) == 1


def test_what_modules_assign_is_refused_wherever_they_are_kept() -> None:
    class Box:
        __slots__ = ("model",)
        model: Any

    class Counting(tg.nn.Module):
        def __init__(self) -> None:
            self.count = 0

        def forward(self, x: Any) -> Any:
            return tg.relu(x)

    def counted(model: Counting, x: Any) -> Any:
        model.count += 1
        return model(x)

    box, kept = Box(), {"models": [Counting()]}
    box.model = Counting()
    for step in (lambda x: counted(box.model, x), lambda x: counted(kept["models"][0], x)):
        with pytest.raises(tg.CompileError, match="count"):
            tg.compile(step)(tg.Tensor([1.0]))
