"""Experiments with data and weights that are given in code: learning on, and going on with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.stopping import StopAt

import tinygrad_cnn as tg
from tinygrad_cnn.data import Split
from tinygrad_cnn.train import (
    DataSettings,
    ModelSettings,
    RunError,
    RunFolder,
    RunSettings,
    TrainingRun,
    TrainingSettings,
    load_run,
)
from tinygrad_cnn.train.state import read_state

Prepare = Callable[..., TrainingRun]
TRAINING = TrainingSettings(epochs=3, batch_size=16, lr=0.01, seed=5)
MODEL = ModelSettings(name="mlp", options={"hidden": [6]})


@pytest.fixture(scope="module")
def base(few: Split) -> TrainingRun:
    """A model, untrained, and the settings that it would have been trained with."""
    settings = RunSettings(data=DataSettings.of(few, "few"), model=MODEL, training=TRAINING)
    return TrainingRun(settings, few)


@pytest.fixture(scope="module")
def more(few: Split) -> Split:
    """Other data than the base model's: darker, and fewer."""
    dark = replace(few.train, images=few.train.images // 2)
    return Split(dark[::2], few.test)


@pytest.fixture
def learn_on(base: TrainingRun, more: Split) -> Callable[[], TrainingRun]:
    def make() -> TrainingRun:
        told = base.settings.data.of_split(more)
        settings = replace(base.settings, data=told, training=replace(TRAINING, seed=6))
        return TrainingRun(settings, more, weights=base.model.state_dict())

    return make


def test_a_model_begins_with_the_given_weights(
    base: TrainingRun, learn_on: Callable[[], TrainingRun]
) -> None:
    training_run = learn_on()
    for name, array in base.model.state_dict().items():
        np.testing.assert_array_equal(training_run.model.state_dict()[name], array)
    drawn = TrainingRun(training_run.settings, training_run.split)  # from seed 6, not the base's 5
    assert (drawn.model.fc[0].weight.data != base.model.fc[0].weight.data).any()


def test_the_given_weights_are_copied(
    base: TrainingRun, learn_on: Callable[[], TrainingRun]
) -> None:
    before = base.model.fc[0].weight.data.copy()
    learn_on().model.fc[0].weight.data[...] = 7.0
    np.testing.assert_array_equal(base.model.fc[0].weight.data, before)


def test_images_are_normalized_as_the_settings_say_not_as_the_data_would(
    base: TrainingRun, more: Split, learn_on: Callable[[], TrainingRun]
) -> None:
    told, own = base.settings.data, DataSettings.of(more, "more")
    assert told.mean != own.mean
    shown = np.concatenate([images for images, _ in learn_on().loader])
    scaled = (more.train.images / 255 - told.mean[0]) / told.std[0]
    np.testing.assert_allclose(np.sort(shown.ravel()), np.sort(scaled.ravel()), rtol=1e-4)


@pytest.mark.parametrize(("epoch", "batch"), [(1, 1), (1, 3), (2, 1), (3, 2)])
def test_a_resumed_learning_on_gives_the_bits_of_one_that_was_not_interrupted(
    learn_on: Callable[[], TrainingRun], more: Split, tmp_path: Path, epoch: int, batch: int
) -> None:
    whole, broken = (RunFolder.create("run", parent=tmp_path) for _ in range(2))
    learn_on().train(whole)
    with pytest.raises(KeyboardInterrupt):
        learn_on().train(broken, [StopAt(epoch, batch)])
    resumed = TrainingRun.resumed(broken, split=more)
    assert len(resumed.history) == epoch - 1
    resumed.train(broken)
    assert broken.weights.read_bytes() == whole.weights.read_bytes()


def test_a_folder_that_can_be_resumed_holds_the_weights_that_it_began_with(
    learn_on: Callable[[], TrainingRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, training_run = RunFolder.create("run", parent=tmp_path), learn_on()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(RunFolder, "write_settings", killed)
    with pytest.raises(KeyboardInterrupt):
        training_run.train(run)
    assert {file.name for file in run.path.iterdir()} == {run.checkpoints[-1].name, ".lock"}
    held = read_state(run.checkpoints[-1])["model"]
    for name, array in training_run.model.state_dict().items():
        np.testing.assert_array_equal(held[name], array)


def test_learning_on_can_be_used_as_any_run(
    learn_on: Callable[[], TrainingRun], tmp_path: Path
) -> None:
    run = RunFolder.create("run", parent=tmp_path)
    training_run = learn_on()
    training_run.train(run)
    loaded = load_run(run.path)
    assert loaded.settings == training_run.settings
    images = training_run.split.test.images
    hits = loaded.probabilities(images).argmax(axis=1) == training_run.split.test.labels
    assert hits.mean() == pytest.approx(training_run.test().accuracy)


def test_only_data_as_the_settings_tell_are_gone_on_with(
    learn_on: Callable[[], TrainingRun], more: Split, few: Split, tmp_path: Path
) -> None:
    run = RunFolder.create("run", parent=tmp_path)
    learn_on().train(run)
    with pytest.raises(RunError, match=r"settings\.json: the run used other data: .* has 90"):
        TrainingRun.resumed(run, split=few)
    cut = replace(more.train, images=more.train.images[:, :, 2:])
    small = Split(cut, replace(more.test, images=more.test.images[:, :, 2:]))
    with pytest.raises(RunError, match=r"has images of shape \(1, 26, 28\)"):
        TrainingRun.resumed(run, split=small)


def test_data_that_the_settings_do_not_tell_of_are_refused(base: TrainingRun, more: Split) -> None:
    with pytest.raises(ValueError, match="has 45 training and 50 test images; the settings say"):
        TrainingRun(base.settings, more)


def test_weights_of_another_model_are_refused(base: TrainingRun, few: Split) -> None:
    other = tg.nn.MLP((784, 7, 10), rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"fc\.0\.weight is float32 of shape \(7, 784\), expected"):
        TrainingRun(base.settings, few, weights=other.state_dict())
