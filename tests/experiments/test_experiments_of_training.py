"""Experiments on training, in little, and the training loop that they share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.experiments import answers_in_little, measured

import tinygrad_cnn as tg
from tinygrad_cnn.data import DataLoader
from tinygrad_cnn.experiments.experiment import Record
from tinygrad_cnn.experiments.gallery import activations, descent, find, rates
from tinygrad_cnn.experiments.gallery.common import normalize, prepared, train, updates
from tinygrad_cnn.nn import MLP
from tinygrad_cnn.optim import SGD
from tinygrad_cnn.train import TrainingDiverged


@pytest.mark.parametrize(
    ("name", "epochs"), [("activations", 2), ("batches", 1), ("rates", 2), ("warmup", 1)]
)
def test_an_experiment_in_little(name: str, epochs: int, few: str, tmp_path: Path) -> None:
    experiment = find(name)
    answers_in_little(experiment, measured(experiment, few, seeds=2, epochs=epochs), tmp_path)


def by_measure(record: Record) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for _, measure, value in record.rows:
        found.setdefault(measure, []).append(value)
    return found


def test_the_gradient_of_an_epoch_of_one_update_is_the_gradient(few: str) -> None:
    record = Record(few)
    model = MLP((784, 5, 10), "tanh", rng=np.random.default_rng(0))
    split = record.data
    images = (split.train.images / np.float32(255)).astype(np.float64)
    images = (images - images.mean()) / images.std()
    loss = tg.cross_entropy(model(images.astype(np.float32)), split.train.labels)
    weights = [layer.weight for layer in model.fc]
    norms = [float(np.linalg.norm(g)) for g in tg.grad(loss, weights)]
    optimizer = SGD(model.parameters(), 0.1)
    train(record, model, optimizer, epochs=1, batch_size=None, seed=0, gradients=True)
    found = by_measure(record)
    assert [found["gradient_1"][0], found["gradient_2"][0]] == pytest.approx(norms, rel=1e-3)
    assert found["loss"] == pytest.approx([loss.item()], rel=1e-4)
    assert record.rows[0][0] == 0.0
    assert len(found["test_accuracy"]) == 2


class Diverging(SGD):
    """Gradient descent with a huge learning rate after 16 updates."""

    updates = 0

    def step(self) -> None:
        self.updates += 1
        if self.updates > 16:
            self.lr = 1e38
        super().step()


def test_training_that_diverges_is_recorded_until_then(few: str) -> None:
    record = Record(few)
    model = MLP((784, 10), rng=np.random.default_rng(0))
    optimizer = Diverging(model.parameters(), 0.1)
    with pytest.raises(TrainingDiverged):
        train(record, model, optimizer, epochs=5, batch_size=50, seed=0)
    assert {step for step, *_ in record.rows} == {0.0, 1.0, 2.0}  # an epoch has 8 updates
    accuracy = by_measure(record)["test_accuracy"]
    assert accuracy[0] < 0.4 < accuracy[2]


def test_the_updates_to_be_timed_are_those_of_training(few: str) -> None:
    record = Record(few)
    trained, timed = (MLP((784, 5, 10), rng=np.random.default_rng(0)) for _ in range(2))
    train(record, trained, SGD(trained.parameters(), 0.1), epochs=1, batch_size=50, seed=3)
    update = updates(timed, SGD(timed.parameters(), 0.1), prepared(record, 50, seed=3))
    for _ in range(8):
        update()
    for found, expected in zip(timed.parameters(), trained.parameters(), strict=True):
        np.testing.assert_array_equal(found.numpy(), expected.numpy())


def test_gradients_vanish_through_sigmoids_and_not_through_relu(few: str) -> None:
    first = {}
    for activation in ("sigmoid", "relu"):
        record = Record(few)
        activations.run(record, seed=0, activation=activation, layers=8, epochs=1)
        found = by_measure(record)
        first[activation] = found["gradient_1"][0] / found["gradient_9"][0]
    assert first["sigmoid"] < 1e-3
    assert first["relu"] > 0.1


def test_a_harmonic_rate_is_half_after_so_many_updates() -> None:
    optimizer = SGD([tg.nn.Parameter([0.0])], lr=1.0)
    schedule = descent.Harmonic(optimizer, half=10)
    seen = []
    for _ in range(30):
        schedule.step()
        seen.append(optimizer.lr)
    assert seen[9] == pytest.approx(1 / 2)
    assert seen[29] == pytest.approx(1 / 4)


@pytest.mark.parametrize("batch_size", [None, 30])
def test_batches_are_evaluated_after_every_epoch_and_within_the_first(
    batch_size: int | None, few: str
) -> None:
    record = Record(few)
    descent.run(record, seed=0, batch_size=batch_size, rate=0.3, epochs=5)
    steps = [step for step, measure, _ in record.rows if measure == "accuracy"]
    assert [step for step in steps if step % 1 == 0] == [0, 1, 2, 3, 4, 5]
    within = [step for step in steps if step % 1 != 0]
    assert bool(within) == (batch_size is not None)
    assert all(step < descent.EARLY for step in within)


def test_full_batches_are_evaluated_as_plain_gradient_descent(few: str) -> None:
    record = Record(few)
    descent.run(record, seed=0, batch_size=None, rate=0.3, epochs=3)
    train_set, transform = record.data.train, normalize(record.data.train)
    ((images, labels),) = DataLoader(train_set, None, transform=transform)
    model = MLP(descent.SIZES, "sigmoid", rng=np.random.default_rng(0))
    expected = []
    for _ in range(4):
        logits = model(images)
        expected.append(float((logits.numpy().argmax(axis=1) == labels).mean()))
        weights = list(model.parameters())
        gradients = tg.grad(tg.cross_entropy(logits, labels), weights)
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.data = weight.numpy() - 0.3 * gradient
    assert by_measure(record)["accuracy"] == pytest.approx(expected, abs=1e-9)


def test_the_rate_finder_finds_a_rate_that_learns() -> None:
    accuracy = {}
    for label, rate in (("found", None), ("low", 1e-3), ("high", 10.0)):
        record = Record("digits")
        rates.run(record, seed=0, rate=rate, epochs=1)
        accuracy[label] = by_measure(record)["test_accuracy"][-1]
    assert accuracy["found"] > accuracy["low"] > accuracy["high"]


def found_rate(monkeypatch: pytest.MonkeyPatch, scale: float) -> tuple[float, int]:
    """Return the rate found for a scaled loss and check it against the losses recorded."""
    losses = []

    def loss(z: tg.Tensor, labels: NDArray[Any]) -> tg.Tensor:
        losses.append(tg.cross_entropy(z, labels) * scale)
        return losses[-1]

    monkeypatch.setattr(rates.ops, "cross_entropy", loss)
    record = Record("digits")
    model = MLP(rates.SIZES, "relu", rng=np.random.default_rng(0))
    rate, updates = rates.find_rate(record, model, seed=0)
    monkeypatch.undo()
    seen = {step: value for step, measure, value in record.rows if measure == "finder_loss"}
    assert rate == pytest.approx(min(seen, key=seen.__getitem__) / 10)
    assert updates == len(losses) == len(seen) + 1  # the last loss was too high
    return rate, updates


def test_the_rate_finder_takes_a_tenth_of_the_rate_at_the_lowest_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rate, updates = found_rate(monkeypatch, 1.0)
    steep, fewer = found_rate(monkeypatch, 10.0)
    assert steep < rate / 3
    assert fewer < updates
