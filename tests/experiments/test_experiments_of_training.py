"""Experiments on training, in little, and the training loop that they share."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from support.experiments import answers_in_little, measured

import tinygrad_cnn as tg
from tinygrad_cnn.experiments.experiment import Record
from tinygrad_cnn.experiments.gallery import activations, batches, find, rates
from tinygrad_cnn.experiments.gallery.common import prepared, train, updates
from tinygrad_cnn.nn import MLP
from tinygrad_cnn.optim import SGD
from tinygrad_cnn.train import TrainingDiverged


@pytest.mark.parametrize("name", ["activations", "batches", "rates"])
def test_an_experiment_in_little(name: str, few: str, tmp_path: Path) -> None:
    experiment = find(name)
    answers_in_little(experiment, measured(experiment, few, seeds=2, epochs=4), tmp_path)


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
    schedule = batches.Harmonic(optimizer, half=10)
    seen = []
    for _ in range(30):
        schedule.step()
        seen.append(optimizer.lr)
    assert seen[9] == pytest.approx(1 / 2)
    assert seen[29] == pytest.approx(1 / 4)


def test_the_rate_finder_finds_a_rate_that_learns() -> None:
    found = {}
    for label, rate in (("found", None), ("low", 1e-3), ("high", 10.0)):
        record = Record("digits")
        rates.run(record, seed=0, rate=rate, epochs=1)
        found[label] = by_measure(record)
    rate = found["found"]["found_rate"][0]
    assert rates.LOWEST / 10 <= rate <= rates.HIGHEST / 10
    accuracy = {label: measures["test_accuracy"][-1] for label, measures in found.items()}
    assert accuracy["found"] > accuracy["low"] > accuracy["high"]
    assert not math.isnan(accuracy["high"])
