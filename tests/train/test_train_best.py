"""The best epoch of a run: its weights, when training ends early, and what is reported."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from support.stopping import StopAt

from tinygrad_cnn.data import DataLoader
from tinygrad_cnn.train import (
    Callback,
    History,
    RunError,
    RunFolder,
    TrainingRun,
    TrainingSettings,
    evaluate,
    load_run,
)

Prepare = Callable[..., TrainingRun]
EPOCHS = 6


class Watch(Callback):
    """Keeps the weights after each epoch."""

    def __init__(self, run: TrainingRun) -> None:
        self.run = run
        self.after: list[dict[str, Any]] = []

    def epoch(self, history: History) -> None:
        self.after.append(self.run.model.state_dict())


def settings(**change: Any) -> dict[str, Any]:
    """Return settings with a rate so high that the last epoch is not the best."""
    usual = {"epochs": EPOCHS, "batch_size": 16, "val_split": 0.25, "seed": 1, "augment": "none"}
    return {**usual, "lr": 0.05, "schedule": "constant", **change}


def best_of(history: History, column: str, sign: int) -> int:
    values = [sign * value for value in history.column(column)]
    return 1 + values.index(max(values))


@pytest.fixture(scope="module")
def trained(
    few_file: str, net_file: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TrainingRun, RunFolder, Watch]:
    run = TrainingRun.new(few_file, net_file, TrainingSettings(**settings()))
    folder = RunFolder(tmp_path_factory.mktemp("best"))
    watch = Watch(run)
    run.train(folder, [watch])
    return run, folder, watch


@pytest.fixture
def copy(trained: tuple[TrainingRun, RunFolder, Watch], tmp_path: Path) -> RunFolder:
    for file in trained[1].path.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return RunFolder(tmp_path)


def same(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    assert found.keys() == expected.keys()
    return all(np.array_equal(found[name], array) for name, array in expected.items())


@pytest.mark.parametrize(
    ("monitor", "column", "sign"),
    [
        (None, "validation_loss", -1),
        ("accuracy", "validation_accuracy", 1),
        ("f1", "validation_f1", 1),
    ],
)
def test_the_best_weights_are_those_after_the_best_epoch(
    prepared: Prepare, tmp_path: Path, monitor: str | None, column: str, sign: int
) -> None:
    run, folder = prepared(**settings(monitor=monitor)), RunFolder(tmp_path)
    watch = Watch(run)
    history = run.train(folder, [watch])
    best = best_of(history, column, sign)
    with safe_open(folder.best, "numpy") as file:
        metadata = file.metadata()
        arrays = {name: file.get_tensor(name) for name in file.keys() if "/" not in name}  # noqa: SIM118
    assert same(arrays, watch.after[best - 1])
    assert (metadata["epoch"], metadata["metric"]) == (str(best), column)
    assert float(metadata["value"]) == history.column(column)[best - 1]
    assert best < EPOCHS, "or this test could not tell"


def test_the_test_set_is_used_only_at_the_end(prepared: Prepare, tmp_path: Path) -> None:
    class Forbidden(DataLoader):
        def __iter__(self) -> Iterator[Any]:
            raise AssertionError("the test set was used")

    run = prepared(**settings(epochs=2, patience=1))
    loader, run.test_loader = run.test_loader, Forbidden(run.split.test)
    run.train(RunFolder(tmp_path))
    with pytest.raises(AssertionError, match="the test set was used"):
        run.test()
    run.test_loader = loader
    assert run.test().confusion.sum() == 50


def test_the_validation_set_has_the_proportions_of_the_classes_and_is_drawn_by_the_seed(
    prepared: Prepare,
) -> None:
    first, again, other = (prepared(**settings(seed=seed)).split for seed in (1, 1, 2))
    counts = np.bincount(first.validation.labels, minlength=10)
    assert set(counts) <= {2, 3}  # a quarter of 9 images of each class
    assert np.array_equal(first.validation.images, again.validation.images)
    assert not np.array_equal(first.validation.images, other.validation.images)
    together = np.concatenate([first.train.images, first.validation.images])
    assert len(np.unique(together.reshape(len(together), -1), axis=0)) == 90, "none is in both"


def test_a_run_reports_the_best_weights_and_keeps_the_last(
    trained: tuple[TrainingRun, RunFolder, Watch],
) -> None:
    run, folder, watch = trained
    best = best_of(run.history, "validation_loss", -1)
    assert run.best is not None
    assert run.best.best_epoch == best
    for weights, epoch in {None: best, "best": best, "last": EPOCHS}.items():
        loaded = load_run(folder.path, weights)
        assert same(loaded.model.state_dict(), watch.after[epoch - 1])
        result = run.test() if weights is None else run.test(weights)
        assert result.loss == evaluate(loaded.model, run.test_loader).loss
    assert same(run.model.state_dict(), watch.after[-1]), "reporting changes nothing"


def test_a_run_without_a_validation_set_has_no_best_weights(
    prepared: Prepare, tmp_path: Path
) -> None:
    run, folder = prepared(epochs=1), RunFolder(tmp_path)
    run.train(folder)
    assert run.best is None
    assert not folder.best.exists()
    assert same(load_run(tmp_path).model.state_dict(), run.model.state_dict())
    with pytest.raises(RunError, match=r"best\.safetensors: .* the run has no validation set"):
        load_run(tmp_path, "best")
    with pytest.raises(ValueError, match="test: weights is 'best', but the run has no validation"):
        run.test("best")
    with pytest.raises(ValueError, match="load_run: weights is 'first', expected one of None, 'b"):
        load_run(tmp_path, "first")


@pytest.mark.parametrize("change", [{"patience": 2}, {"monitor": "f1"}])
def test_what_needs_a_validation_set_is_refused_without_one(
    prepared: Prepare, change: dict[str, Any]
) -> None:
    (name, value) = next(iter(change.items()))
    with pytest.raises(ValueError, match="there is no validation set") as raised:
        prepared(**change)
    assert str(raised.value).startswith(f"train: {name} is {value!r}, but there is no validation")
    assert "--val-split 0.1" in str(raised.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"patience": 0}, "patience is 0, expected an integer >= 1"),
        ({"monitor": "f2"}, "monitor is 'f2', expected one of 'loss', 'accuracy', 'top5'"),
    ],
)
def test_bad_settings_are_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match="train: ") as raised:
        TrainingSettings(**settings(**change))
    assert says in str(raised.value)


def epoch_of_patience(history: History, patience: int) -> int:
    losses = history.column("validation_loss")
    for e in range(1, len(losses) + 1):
        if e - (1 + int(np.argmin(losses[:e]))) == patience:
            return e
    return len(losses)


def test_training_ends_early_and_a_resumed_run_ends_with_the_same_bits(
    prepared: Prepare, trained: tuple[TrainingRun, RunFolder, Watch], tmp_path: Path
) -> None:
    whole = trained[0].history
    patience = 1 + (epoch_of_patience(whole, 1) == 2)  # so that it ends after epoch 2, at least
    last = epoch_of_patience(whole, patience)
    assert 2 < last < EPOCHS, "or this test could not tell"
    expected = prepared(**settings(patience=patience))
    expected.train(RunFolder(tmp_path / "whole"))
    assert len(expected.history) == last
    assert expected.history.column("validation_loss") == whole.column("validation_loss")[:last]
    files = {"best.safetensors", "weights.safetensors"}
    for epoch, batch in ((1, 2), (last, 1), (last, 4)):
        folder = RunFolder(tmp_path / f"{epoch}-{batch}")
        with pytest.raises(KeyboardInterrupt):
            run = prepared(**settings(patience=patience, checkpoint_every=2))
            run.train(folder, [StopAt(epoch, batch)])
        resumed = TrainingRun.resumed(folder)
        resumed.train(folder)
        assert len(resumed.history) == last
        assert resumed.complete
        for name in files:
            assert (folder.path / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), (
                name,
                epoch,
                batch,
            )
        assert resumed.test().loss == expected.test().loss
        again = TrainingRun.resumed(folder)
        assert again.complete
        assert len(again.train(folder)) == last
        assert again.test().loss == expected.test().loss


def test_missing_best_weights_are_named_and_written_again_by_resuming(copy: RunFolder) -> None:
    before = copy.best.read_bytes()
    copy.best.unlink()
    for weights in (None, "best"):
        with pytest.raises(RunError, match=r"best\.safetensors: there is no .* --resume .* writes"):
            load_run(copy.path, weights)
    load_run(copy.path, "last")
    TrainingRun.resumed(copy).train(copy)
    assert copy.best.read_bytes() == before


def test_damaged_best_weights_are_named(copy: RunFolder) -> None:
    copy.best.write_bytes(copy.best.read_bytes()[:-1])
    with pytest.raises(RunError, match=r"best\.safetensors: is damaged"):
        load_run(copy.path)


def test_a_run_of_an_earlier_version_without_best_weights_gives_the_last(
    copy: RunFolder, trained: tuple[TrainingRun, RunFolder, Watch]
) -> None:
    contents = json.loads(copy.settings.read_text())
    del contents["id"], contents["training"]["monitor"], contents["training"]["patience"]
    copy.settings.write_text(json.dumps(contents))
    copy.best.unlink()
    assert same(load_run(copy.path).model.state_dict(), trained[2].after[-1])


def test_a_resumed_run_can_have_another_patience(
    prepared: Prepare, trained: tuple[TrainingRun, RunFolder, Watch], tmp_path: Path
) -> None:
    whole = trained[0].history
    last = epoch_of_patience(whole, 2)
    first, second = RunFolder(tmp_path / "1"), RunFolder(tmp_path / "2")
    prepared(**settings(patience=2)).train(first)
    with pytest.raises(KeyboardInterrupt):
        prepared(**settings()).train(second, [StopAt(last, 1)])
    for folder, patience, epochs in ((first, 9, EPOCHS), (second, 2, last)):
        resumed = TrainingRun.resumed(folder, patience=patience)
        assert folder == second or not resumed.complete
        assert resumed.settings.changes[-1]["patience"][1] == patience
        history = resumed.train(folder)
        assert history.column("loss") == whole.column("loss")[:epochs]
        assert resumed.best is not None
        assert resumed.best.best_epoch == best_of(history, "validation_loss", -1)
