"""Experiments beside published figures and PyTorch: the recipes, and what comes of them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar, Self

import numpy as np
import pytest
from support.experiments import answers_in_little, measured

import tinygrad_cnn as tg
from tinygrad_cnn.bench.worker import with_tinygrad_cnn
from tinygrad_cnn.bench.worker.course import WARM_UP, Course, Learner
from tinygrad_cnn.data import DataError, Split, digits, load
from tinygrad_cnn.experiments import times
from tinygrad_cnn.experiments.experiment import Record, Unavailable
from tinygrad_cnn.experiments.gallery import (
    frameworks,
    lenets,
    mnist,
    nielsen,
    published,
    recipes,
)
from tinygrad_cnn.experiments.results import Measurement, Results

RNG = np.random.default_rng


def parameters(model: tg.nn.Module) -> int:
    return sum(parameter.size for parameter in model.parameters())


# --- networks and costs --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (nielsen.perceptron(RNG(0), 30), 784 * 30 + 30 + 30 * 10 + 10),
        (nielsen.convolutional(RNG(0), ()), 784 * 100 + 100 + 1010),
        (nielsen.convolutional(RNG(0), (20,)), 520 + 2880 * 100 + 100 + 1010),
        (nielsen.convolutional(RNG(0), (20, 40)), 520 + 20_040 + 640 * 100 + 100 + 1010),
        (lenets.lenet1(RNG(0)), 104 + 1212 + 1930),
        (lenets.lenet5(RNG(0)), 61_706),
        (lenets.two_convolutions(RNG(0)), 83_466),
    ],
)
def test_a_network_has_the_size_that_its_source_tells(model: tg.nn.Module, expected: int) -> None:
    assert parameters(model) == expected
    assert model(np.zeros((2, 1, 28, 28), "f4")).shape == (2, 10)


def test_first_values_of_chapter_6() -> None:
    kernels = nielsen.fan_out_normal((20, 1, 50, 50), RNG(0))
    assert kernels.std() == pytest.approx(1 / math.sqrt(20 * 50 * 50 / 4), rel=0.02)
    weights = nielsen.fan_out_normal((100, 2880), RNG(0))
    assert weights.std() == pytest.approx(0.1, rel=0.02)
    assert weights.dtype == np.float32
    images = RNG(0).standard_normal((3, 1, 28, 28), "f4")
    np.testing.assert_array_equal(nielsen.convolutional(RNG(0), (20,))(images).numpy(), 0.0)


def test_costs_are_those_of_the_book() -> None:
    z, labels = RNG(0).standard_normal((5, 10)), np.array([0, 3, 9, 9, 1])
    a, y = 1 / (1 + np.exp(-z)), np.eye(10)[labels]
    squared = (0.5 * (a - y) ** 2).sum(axis=1).mean()
    crossed = -(y * np.log(a) + (1 - y) * np.log(1 - a)).sum(axis=1).mean()
    assert nielsen.quadratic(tg.Tensor(a), labels).item() == pytest.approx(squared)
    assert nielsen.binary_cross_entropy(tg.Tensor(z), labels).item() == pytest.approx(crossed)
    leaf = tg.Tensor(z, requires_grad=True)
    (gradient,) = tg.grad(nielsen.binary_cross_entropy(leaf, labels), [leaf])
    np.testing.assert_allclose(gradient, (a - y) / 5, atol=1e-12)


def test_decay_takes_from_the_weights_alone() -> None:
    layer = tg.nn.Linear(2, 2, rng=RNG(0), bias_init=tg.nn.init.constant(1.0))
    before = layer.weight.numpy().copy()
    (layer(np.zeros((1, 2), "f4")).sum() * 0.0).backward()
    nielsen.DecayedWeights(layer.parameters(), lr=0.5, weight_decay=0.1).step()
    np.testing.assert_allclose(layer.weight.numpy(), 0.95 * before, rtol=1e-6)
    np.testing.assert_array_equal(layer.bias.numpy(), 1.0)


# --- published figures ---------------------------------------------------------------------------


def few() -> Split:
    return Split(digits().train.balanced(15), digits().test.balanced(10))


@pytest.fixture
def few_of_any(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every recipe train with few digits, whatever it asks for."""
    monkeypatch.setattr(recipes, "load", lambda source: few())


def small(recipe: recipes.Recipe) -> recipes.Recipe:
    return replace(recipe, held_out=min(recipe.held_out, 50))


def dropping(rng: np.random.Generator) -> tg.nn.Module:
    layers = tg.nn.Flatten(), tg.nn.Dropout(0.5, rng=rng), tg.nn.Linear(784, 10, rng=rng)
    return tg.nn.Sequential(*layers)


DROPPING = recipes.Recipe(model=dropping, epochs=3, lr=0.1)


def taken(label: str, epochs: int, record: Record | None = None) -> Record:
    record = record or Record()
    recipe = DROPPING if label == "dropout" else published.ROWS[label].recipe
    recipes.run(record, 0, small(recipe), epochs=epochs)
    return record


@pytest.mark.usefixtures("few_of_any")
def test_published_figures_in_little(tmp_path: Path) -> None:
    rows = [
        Measurement(label, 0, *row)
        for label in published.ROWS
        for row in taken(label, epochs=1).rows
    ]
    found = answers_in_little(published.experiment, Results("published", rows), tmp_path)
    lines = [line for line in found.text.split("\n") if line.startswith("| [")]
    assert len(lines) == len(published.ROWS)


@pytest.mark.usefixtures("few_of_any")
@pytest.mark.parametrize(
    "label",
    ["Nielsen 3: cross-entropy", "Nielsen 6: 1 convolution", "Fashion: perceptron", "dropout"],
)
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(label: str, tmp_path: Path) -> None:
    class Interrupted(Record):
        def __call__(self, step: float, **measures: float) -> None:
            if step == 2:
                raise KeyboardInterrupt
            super().__call__(step, **measures)

    whole = taken(label, epochs=3)
    path = tmp_path / "state"
    with pytest.raises(KeyboardInterrupt):
        taken(label, epochs=3, record=Interrupted(saved=path))
    resumed = taken(label, epochs=3, record=Record(saved=path))
    assert resumed.state is not None
    assert resumed.rows == whole.rows


def test_data_that_cannot_be_had_are_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(source: str) -> Split:
        raise DataError(f"{source} cannot be downloaded")

    monkeypatch.setattr(recipes, "load", load)
    with pytest.raises(Unavailable, match="mnist cannot be downloaded"):
        taken("LeCun: linear", epochs=1)


def test_the_last_images_are_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load("digits")
    monkeypatch.setattr(recipes, "load", lambda source: whole)
    recipe = replace(published.ROWS["Nielsen 1: 30 hidden"].recipe, held_out=1000)
    train, held_out, test = recipes._data(recipe)
    assert held_out is not None
    assert (len(train), len(held_out), len(test)) == (9000, 1000, 2000)
    np.testing.assert_array_equal(held_out.images, whole.train.images[9000:])


# --- PyTorch -------------------------------------------------------------------------------------


def course(network: str, source: str, epochs: int = 1) -> Course:
    rate = frameworks.LEARNING_RATE
    return frameworks._course(Record(source), 0, network, epochs, rate, decay=False)


@pytest.mark.parametrize("network", frameworks.NETWORKS)
def test_a_course_is_what_was_written(network: str, few: str, tmp_path: Path) -> None:
    whole = course(network, few)
    whole.write(tmp_path / "course.npz")
    again = Course.read(tmp_path / "course.npz")
    assert [list(layer) for layer in again.task.layers] == [list(x) for x in whole.task.layers]
    assert again.updates_per_epoch == whole.updates_per_epoch
    for a, b in zip(again.task.weights, whole.task.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(again.batches, whole.batches)
    np.testing.assert_array_equal(again.rates, whole.rates)
    np.testing.assert_array_equal(again.task.images, whole.task.images)


def test_a_course_is_plain_training(few: str) -> None:
    whole = course(frameworks.SMOOTH, few, epochs=2)
    found = list(whole.epochs(with_tinygrad_cnn.learner(whole.task)))
    model = tg.nn.LeNet5(activation="tanh", pooling="average", rng=RNG(0))
    optimizer = tg.optim.SGD(model.parameters(), frameworks.LEARNING_RATE)
    losses = []
    for batch in whole.batches:
        loss = tg.cross_entropy(model(whole.task.images[batch]), whole.task.targets[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert [len(epoch.losses) for epoch in found] == [whole.updates_per_epoch] * 2
    assert [loss for epoch in found for loss in epoch.losses] == pytest.approx(losses, rel=1e-6)
    guesses = model(whole.test_images).numpy().argmax(axis=1)
    assert found[-1].accuracy == pytest.approx((guesses == whole.test_labels).mean())
    assert found[0].accuracy != found[-1].accuracy
    assert all(epoch.seconds > 0 for epoch in found)


def test_a_course_moves_images_alike_for_all(few: str) -> None:
    whole = course(frameworks.SMOOTH, few)._replace(shift=2)
    seen: list[list[Any]] = []
    for _ in range(2):
        batches: list[Any] = []

        def step(images: Any, labels: Any, rate: float, to: list[Any] = batches) -> float:
            to.append(images)
            return 0.0

        next(whole.epochs(Learner(step, lambda images: np.zeros((len(images), 10)))))
        seen.append(batches[WARM_UP:])
    for one, other in zip(*seen, strict=True):
        np.testing.assert_array_equal(one, other)
    first = whole.task.images[whole.batches[0]]
    border = [(0, 0), (0, 0), (2, 2), (2, 2)]
    padded = np.pad(first, border, constant_values=first.min())
    places = set()
    for k, moved in enumerate(seen[0][0]):
        found = {
            (i, j)
            for i, j in np.ndindex(5, 5)
            if np.array_equal(padded[k, :, i : i + 28, j : j + 28], moved)
        }
        assert found
        places |= found
    assert len(places) > 5


def test_a_course_is_followed_epoch_by_epoch(few: str) -> None:
    whole = course(frameworks.SMOOTH, few, epochs=2)
    steps: list[float] = []

    def step(images: Any, labels: Any, rate: float) -> float:
        steps.append(rate)
        return 0.0

    epochs = whole.epochs(Learner(step, lambda images: np.zeros((len(images), 10))))
    next(epochs)
    assert steps == [0.0] * WARM_UP + [frameworks.LEARNING_RATE] * whole.updates_per_epoch


def test_every_example_comes_once_an_epoch(few: str) -> None:
    batches = course(frameworks.SMOOTH, few).batches
    assert len(np.unique(batches)) == batches.size


@pytest.mark.parametrize("network", frameworks.NETWORKS)
def test_pytorch_learns_the_same(start: Any, few: str, tmp_path: Path, network: str) -> None:
    path = tmp_path / "course.npz"
    course(network, few).write(path)
    found = []
    for framework in frameworks.SIDES:
        worker = start(framework)
        worker.ask("start", path=str(path), threads=1)
        found.append(worker.ask("epoch"))
    ours, theirs = found
    assert ours["losses"] == pytest.approx(theirs["losses"], rel=1e-5)
    assert ours["accuracy"] == theirs["accuracy"]


class MadeUp:
    """A worker whose epochs take as many seconds as their number, and twice that for PyTorch."""

    asked: ClassVar[list[tuple[str, str]]] = []

    def __init__(self, framework: str, python: str, threads: int) -> None:
        self.framework, self.epochs = framework, 0
        assert threads == 1

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        self.asked.append((do, self.framework))
        if do == "epoch":
            self.epochs += 1
            k = self.epochs * (2 if self.framework == frameworks.THEIRS else 1)
            return {"losses": [k, 3 * k], "accuracy": k / 10, "seconds": float(k)}
        return {"installed": True}

    def close(self) -> None:
        self.asked.append(("close", self.framework))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def test_frameworks_take_turns_in_a_changing_order(
    monkeypatch: pytest.MonkeyPatch, few: str
) -> None:
    loads = iter([0.0, 0.1, 0.0, 0.9, 0.0, 0.1])  # of others: before an epoch, and in it
    monkeypatch.setattr(frameworks, "Worker", MadeUp)
    monkeypatch.setattr(frameworks, "OtherLoad", lambda: SimpleNamespace(lap=lambda: next(loads)))
    monkeypatch.setattr(MadeUp, "asked", [])
    shares: list[float] = []
    record = Record(few, on_progress=shares.append)
    frameworks.run(record, seed=0, network=frameworks.KINKED, epochs=3)
    turns = [framework for do, framework in MadeUp.asked if do == "epoch"]
    ours, theirs = frameworks.SIDES
    assert turns == [ours, theirs, theirs, ours, ours, theirs]
    assert [framework for do, framework in MadeUp.asked[-2:]] == [theirs, ours]
    assert shares[-1] == 1.0
    assert max(share for share in shares if not math.isnan(share)) == 1.0
    results = Results("frameworks", [Measurement("run", 0, *row) for row in record.rows])
    assert results.curve("run", f"first loss of {theirs}").values.tolist() == [[2.0, 6.0]]
    assert results.curve("run", f"loss of {ours}").values.tolist() == [[2.0, 4.0, 6.0]]
    assert results.curve("run", f"test accuracy of {theirs}").values.tolist() == [[0.2, 0.4, 0.6]]
    assert times.busy_rounds(results) == 1
    assert times.seconds(results, ours, "run").tolist() == [2.0]  # of 1 and 3
    assert times.ratios(results, ours, theirs, "run").tolist() == [0.5]


@pytest.mark.parametrize("module", [frameworks, mnist])
def test_experiments_beside_pytorch_in_little(
    start: Any, few: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType
) -> None:
    start(frameworks.THEIRS)  # skips where there is none
    unknown = SimpleNamespace(lap=lambda: math.nan)  # so that seconds count on a busy machine
    monkeypatch.setattr(frameworks, "OtherLoad", lambda: unknown)
    results = measured(module.experiment, few, seeds=1, epochs=2)
    answers_in_little(module.experiment, results, tmp_path)


@pytest.mark.parametrize("python", ["/nowhere/python", "a python without torch"])
def test_without_pytorch_a_run_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, few: str, tmp_path: Path, python: str
) -> None:
    if not python.startswith("/"):
        made = tmp_path / "python"
        made.write_text("#!/bin/sh\nread line\necho '{\"installed\": false}'\n", encoding="utf-8")
        made.chmod(0o755)
        python = str(made)
    monkeypatch.setenv(frameworks.VARIABLE, python)
    with pytest.raises(Unavailable, match=frameworks.VARIABLE):
        frameworks.run(Record(few), seed=0, network=frameworks.SMOOTH, epochs=1)
