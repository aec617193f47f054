"""Runs: what a folder has, the same bits after a resumption, and the settings."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load_file
from support.stopping import StopAt, folder

import tinygrad_cnn as tg
from tinygrad_cnn.data import Dataset, Split, load
from tinygrad_cnn.nn import Parameter
from tinygrad_cnn.optim.optimizer import options_of
from tinygrad_cnn.train import (
    Callback,
    DataSettings,
    History,
    ModelSettings,
    RunError,
    RunFolder,
    RunSettings,
    TrainingDiverged,
    TrainingRun,
    TrainingSettings,
    evaluate,
    load_run,
)
from tinygrad_cnn.train.choices import AUGMENTATIONS, OPTIMIZERS, SCHEDULES

Prepare = Callable[..., TrainingRun]
FILES = ["checkpoint-00000003.safetensors", "checkpoint-00000006.safetensors", "history.csv",
         "log.jsonl", "settings.json", "weights.safetensors"]  # fmt: skip


def weights(run: RunFolder) -> bytes:
    return run.weights.read_bytes()


# --- what is left behind -----------------------------------------------------------------------


def test_a_run_is_whole(trained: tuple[TrainingRun, RunFolder], few_file: str) -> None:
    training_run, run = trained
    assert sorted(file.name for file in run.path.iterdir()) == sorted([".lock", *FILES, "model.py"])
    assert History.from_csv(run.history) == training_run.history
    settings = json.loads(run.settings.read_text())
    assert settings["format"] == 2
    assert settings["data"]["source"] == few_file
    assert settings["data"]["classes"] == list("0123456789")
    assert settings["data"]["input_shape"] == [1, 28, 28]
    assert settings["training"]["seed"] == 0
    assert settings["versions"]["numpy"] == np.__version__
    copied = (run.path / "model.py").read_bytes()
    assert settings["model"]["sha256"] == hashlib.sha256(copied).hexdigest()
    saved = load_file(run.weights)  # safetensors' own reader
    for name, array in training_run.model.state_dict().items():
        np.testing.assert_array_equal(saved[name], array)


def test_a_loaded_run_gives_what_the_trained_model_gave(
    trained: tuple[TrainingRun, RunFolder], few: Split
) -> None:
    training_run, run = trained
    loaded = load_run(run.path)
    assert loaded.settings == training_run.settings
    images = few.test.images
    scaled = np.divide(images, np.float32(255), dtype=np.float32)
    training_run.model.eval()
    logits = training_run.model(
        tg.Tensor(training_run.settings.data.normalize()(scaled, np.random.default_rng()))
    )
    expected = np.exp(logits.data) / np.exp(logits.data).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(loaded.probabilities(images), expected, rtol=1e-5, atol=1e-7)
    assert not loaded.model.training


@pytest.mark.parametrize(
    ("source", "preparation"),
    [
        ("digits", "mnist"),
        ("mnist", "mnist"),
        ("fashion-mnist", "image"),
        ("/data/some.npz", "image"),
        ("/data/pets", "image without alpha"),
    ],
)
def test_settings_that_do_not_say_how_images_were_prepared_get_how_it_was_then(
    copy: RunFolder, source: str, preparation: str
) -> None:
    settings = json.loads(copy.settings.read_text())
    settings["data"]["source"] = source
    assert settings["data"].pop("preparation") == "image"
    copy.settings.write_text(json.dumps(settings))
    read = copy.read_settings()
    assert read.data.preparation == preparation
    assert RunSettings.from_json(read.to_json(), "x") == read


def test_a_validation_set_is_measured_each_epoch_and_the_test_set_at_the_end(
    few_file: str, few: Split, tmp_path: Path
) -> None:
    training = TrainingSettings(epochs=2, batch_size=32, val_split=0.25, seed=3, metrics=("f1",))
    run = TrainingRun.new(few_file, "mlp", training)
    expected = few.with_validation(0.25, seed=3)
    assert [len(part) for part in run.split.parts().values()] == [70, 50, 20]
    for name, part in run.split.parts().items():
        np.testing.assert_array_equal(part.images, expected.parts()[name].images)
    with pytest.raises(KeyboardInterrupt):
        run.train(RunFolder(tmp_path), [StopAt(2, 1)])
    resumed = TrainingRun.resumed(RunFolder(tmp_path))
    assert resumed.settings == run.settings
    assert (run.settings.data.training_images, run.settings.data.validation_images) == (70, 20)
    history = resumed.train(RunFolder(tmp_path))
    assert resumed.validation_loader is not None
    result = evaluate(resumed.model, resumed.validation_loader)
    assert history[-1].validation_loss == result.loss
    assert resumed.test().confusion.sum() == 50
    assert resumed.test().metrics["f1"] > 0
    saved = History.from_csv(RunFolder(tmp_path).history)
    assert saved == history
    assert len([value for value in saved.column("validation_f1") if value >= 0]) == 2
    with pytest.raises(ValueError, match="and 0 for validation; the settings say 70 and 50 and 20"):
        TrainingRun(run.settings, Split(expected.train, few.test))
    changed = replace(expected, validation=few.train[:20])
    with pytest.raises(ValueError, match="the validation images or labels have changed"):
        TrainingRun(run.settings, changed)


def test_a_set_with_a_name_keeps_it(monkeypatch: pytest.MonkeyPatch, few: Split) -> None:
    monkeypatch.setattr(tg.data, "load", lambda source, **options: few)
    for name in ("shapes", "cifar10", "digits"):
        run = TrainingRun.new(name, "mlp", TrainingSettings(epochs=1))
        assert run.settings.data.source == name


def test_a_run_of_a_folder_is_resumed_with_the_preparation_that_it_began_with(
    tmp_path: Path,
) -> None:
    image_module = pytest.importorskip("PIL.Image", reason="needs the extra data")
    for i in range(6):
        path = tmp_path / "set" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image_module.new("LA", (4, 4), (40 * i, 255 - 40 * i)).save(path)
    source = str(tmp_path / "set")
    for preparation in ("image", "image without alpha"):
        split = load(source, preparation)
        settings = RunSettings(
            data=DataSettings.of(split, source),
            model=ModelSettings(name="mlp", options={"hidden": [2]}),
            training=TrainingSettings(epochs=1),
        )
        run = folder(tmp_path / preparation)
        TrainingRun(settings, split).train(run)
        if preparation != "image":  # as a run of an earlier version
            told = json.loads(run.settings.read_text())
            del told["data"]["preparation"]
            run.settings.write_text(json.dumps(told))
        resumed = TrainingRun.resumed(run)
        assert resumed.settings == settings
        np.testing.assert_array_equal(resumed.split.train.images, split.train.images)


def test_normalized_training_images_have_mean_0_and_deviation_1(
    few: Split, prepared: Prepare
) -> None:
    normalize = prepared().settings.data.normalize()
    pixels = normalize(few.train.images / np.float64(255), np.random.default_rng())
    assert pixels.mean() == pytest.approx(0.0, abs=1e-9)
    assert pixels.std() == pytest.approx(1.0)


def test_probabilities_refuse_other_images(trained: tuple[TrainingRun, RunFolder]) -> None:
    run = load_run(trained[1].path)
    with pytest.raises(ValueError, match=r"got float64 of shape \(1, 1, 28, 28\); expected uint8"):
        run.probabilities(np.zeros((1, 1, 28, 28)))
    with pytest.raises(ValueError, match=r"got uint8 of shape \(1, 3, 28, 28\)"):
        run.probabilities(np.zeros((1, 3, 28, 28), np.uint8))


# --- the same bits -----------------------------------------------------------------------------


def test_the_seed_decides_every_bit(prepared: Prepare, tmp_path: Path) -> None:
    runs = [folder(tmp_path) for _ in range(3)]
    for run, seed in zip(runs, (7, 7, 8), strict=True):
        prepared(seed=seed, augment="elastic").train(run)
    assert weights(runs[0]) == weights(runs[1])
    assert weights(runs[0]) != weights(runs[2])


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_resumed_training_gives_the_bits_of_one_that_was_not_interrupted(
    prepared: Prepare, tmp_path: Path, optimizer: str, schedule: str
) -> None:
    chosen = {"optimizer": optimizer, "schedule": schedule, "lr": 0.01, "weight_decay": 0.01}
    whole, broken = folder(tmp_path), folder(tmp_path)
    prepared(**chosen).train(whole)
    with pytest.raises(KeyboardInterrupt):
        prepared(**chosen).train(broken, [StopAt(epoch=3, batch=2)])
    resumed = TrainingRun.resumed(broken)
    assert len(resumed.history) == 2
    resumed.train(broken)
    assert weights(broken) == weights(whole)
    kept = ["epoch", "loss", "accuracy", "validation_loss", "learning_rate"]
    a, b = History.from_csv(whole.history), History.from_csv(broken.history)
    assert [a.column(name) for name in kept] == [b.column(name) for name in kept]


def test_a_training_that_ended_no_epoch_is_resumed_from_its_beginning(
    prepared: Prepare, tmp_path: Path
) -> None:
    whole, broken = folder(tmp_path), folder(tmp_path)
    prepared().train(whole)
    with pytest.raises(KeyboardInterrupt):
        prepared().train(broken, [StopAt(epoch=1, batch=2)])
    with pytest.raises(RunError, match="no epoch was finished; resume the run: tinygrad-cnn"):
        load_run(broken.path)
    TrainingRun.resumed(broken).train(broken)
    assert weights(broken) == weights(whole)


def test_an_interrupted_run_holds_the_last_complete_epoch(
    prepared: Prepare, tmp_path: Path
) -> None:
    run, shorter = folder(tmp_path), folder(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        prepared(schedule="constant").train(run, [StopAt(epoch=3, batch=1)])
    prepared(schedule="constant", epochs=2).train(shorter)
    assert weights(run) == weights(shorter)
    assert len(History.from_csv(run.history)) == 2


def test_a_training_that_diverges_leaves_the_last_good_epoch(
    prepared: Prepare, tmp_path: Path
) -> None:
    class Spoil(Callback):
        def epoch(self, history: History) -> None:
            if len(history) == 2:
                next(iter(training_run.model.parameters())).data[...] = np.nan

    training_run, run = prepared(), folder(tmp_path)
    with pytest.raises(TrainingDiverged, match="in epoch 3, batch 1"):
        training_run.train(run, [Spoil()])
    assert len(History.from_csv(run.history)) == 2
    assert all(np.isfinite(array).all() for array in load_run(run.path).model.state_dict().values())


@pytest.mark.parametrize("failing", ["checkpoint-", "history", "settings", "weights"])
def test_a_write_that_fails_leaves_a_run_that_can_be_resumed(
    prepared: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    whole, broken = folder(tmp_path), folder(tmp_path)
    prepared().train(whole)
    with pytest.raises(KeyboardInterrupt):
        prepared().train(broken, [StopAt(epoch=2, batch=1)])
    move = os.replace

    def full(source: str, target: str) -> None:
        if Path(target).name.startswith(failing):
            raise OSError(28, "No space left on device")
        move(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(OSError, match="No space"):
            TrainingRun.resumed(broken).train(broken)
    load_run(broken.path)
    assert not list(broken.path.glob(".*.tmp"))
    TrainingRun.resumed(broken).train(broken)
    assert weights(broken) == weights(whole)


def permuted(array: NDArray[Any], axis: int = 0) -> NDArray[Any]:
    order = np.random.default_rng(0).permutation(array.shape[axis])
    return array.take(order, axis)


CHANGES: dict[str, Callable[[dict[str, NDArray[Any]]], dict[str, NDArray[Any]]]] = {
    "shuffled labels": lambda d: {"y_train": permuted(d["y_train"])},
    "shuffled images": lambda d: {"x_train": permuted(d["x_train"])},
    "permuted pixels": lambda d: {"x_train": permuted(d["x_train"], axis=-1)},
    "blank test images": lambda d: {"x_test": d["x_test"] * 0},
    "shuffled test labels": lambda d: {"y_test": permuted(d["y_test"])},
    "other examples": lambda d: {"x_train": d["x_train"][::2], "y_train": d["y_train"][::2]},
}


@pytest.mark.parametrize("change", CHANGES)
def test_data_that_have_changed_are_not_resumed_with(
    few_file: str, tmp_path: Path, change: str
) -> None:
    source = tmp_path / "own.npz"
    with np.load(few_file) as file:
        arrays = dict(file)
    np.savez(source, **arrays)
    run = folder(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        TrainingRun.new(str(source), "mlp", TrainingSettings(epochs=1)).train(run, [StopAt(1, 1)])
    TrainingRun.resumed(run)
    np.savez(source, **{**arrays, **CHANGES[change](arrays)})
    with pytest.raises(RunError, match=r"own\.npz has changed since the run: "):
        TrainingRun.resumed(run)
    with pytest.raises(RunError, match=r"settings\.json: the run used other data: "):
        TrainingRun.resumed(run, split=load(str(source)))


@given(st.data(), st.sampled_from(["train", "test"]))
def test_settings_tell_one_pixel_and_one_label_from_another(
    few: Split, data: st.DataObject, part: str
) -> None:
    settings = DataSettings.of(few, "few")
    dataset: Dataset = getattr(few, part)
    i = data.draw(st.integers(0, len(dataset) - 1))
    arrays = {"images": dataset.images.copy(order="F"), "labels": dataset.labels[::-1][::-1]}
    same = replace(dataset, **arrays)
    settings.check_split(replace(few, **{part: same}))  # however they lie in memory
    if data.draw(st.booleans()):
        pixel = tuple(data.draw(st.integers(0, n - 1)) for n in dataset.images.shape[1:])
        arrays["images"][(i, *pixel)] ^= 1
    else:
        arrays["labels"] = dataset.labels.copy()
        arrays["labels"][i] = (arrays["labels"][i] + 1) % 10
    with pytest.raises(ValueError, match="images or labels have changed: their SHA-256 is"):
        settings.check_split(replace(few, **{part: replace(dataset, **arrays)}))


# --- the choices -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_option_of_an_optimizer_can_be_set_and_is_an_attribute(name: str) -> None:
    row = OPTIMIZERS[name]
    settings = TrainingSettings(optimizer=name, optimizer_options=row.options)
    optimizer = settings.make_optimizer([Parameter([0.0])])
    assert type(optimizer) is row.factory
    assert {option: getattr(optimizer, option) for option in row.options} == row.options
    assert row.options.keys() | {"lr", "weight_decay"} == options_of(row.factory).keys()


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_option_of_a_schedule_can_be_set_and_is_an_attribute(name: str) -> None:
    row = SCHEDULES[name]
    given = {option: 3 if value is None else value for option, value in row.options.items()}
    settings = TrainingSettings(schedule=name, schedule_options=given)
    schedule = settings.make_schedule(settings.make_optimizer([Parameter([0.0])]), updates=9)
    assert {option: getattr(schedule, option) for option in given} == given


def test_settings_with_options_are_read_back_equal(prepared: Prepare) -> None:
    chosen = {"optimizer_options": {"betas": (0.5, 0.9)}, "schedule_options": {"pct_start": 0.1}}
    settings = prepared(**chosen).settings
    assert RunSettings.from_json(settings.to_json(), "settings") == settings


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_every_augmentation_takes_images(prepared: Prepare, augment: str) -> None:
    training_run = prepared(augment=augment)
    images, _ = next(iter(training_run.loader))
    assert images.shape == (16, 1, 28, 28)
    assert images.dtype == np.float32


def test_batch_size_0_is_the_whole_set(prepared: Prepare, few: Split) -> None:
    assert len(prepared(batch_size=0).loader) == 1
    assert len(next(iter(prepared(batch_size=0).loader))[0]) == len(few.train)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("epochs", 0, "epochs is 0, expected an integer >= 1"),
        ("batch_size", -1, "batch_size is -1, expected an integer >= 0"),
        ("optimizer", "adamm", "optimizer is 'adamm', expected one of 'sgd', 'momentum'"),
        ("lr", 0.0, "lr is 0.0, expected a finite number > 0"),
        ("lr", float("nan"), "lr is nan, expected a finite number > 0"),
        ("schedule", "x", "schedule is 'x', expected one of 'constant', 'step'"),
        ("augment", "x", "augment is 'x', expected one of 'none', 'shift'"),
        ("weight_decay", -1.0, "weight_decay is -1.0, expected a finite number >= 0"),
        ("seed", -1, "seed is -1, expected an integer >= 0"),
        ("seed", True, "seed is True, expected an integer"),
        ("metrics", ["f2"], "metrics[0] is 'f2', expected one of 'top5', 'precision'"),
        ("val_split", 1.0, "val_split is 1.0, expected a finite number >= 0 and < 1"),
        ("threads", 0, "threads is 0, expected an integer >= 1"),
        ("optimizer_options", {"beta": 1}, "adam has no option 'beta'; it has betas=(0.9, 0.999)"),
        ("schedule_options", {"T_max": 1}, "onecycle has no option 'T_max'; it has total_steps"),
        ("optimizer_options", [1], "optimizer_options is [1], expected options by name"),
    ],
)
def test_settings_out_of_range_are_refused(field: str, value: Any, says: str) -> None:
    with pytest.raises(ValueError, match="train: ") as raised:
        TrainingSettings(**{field: value})
    assert says in str(raised.value)
