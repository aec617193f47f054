"""A sweep: runs of training that resume, and their comparison."""

from __future__ import annotations

import csv
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.datasets import save

from tinygrad_cnn.data import digits
from tinygrad_cnn.experiments.experiment import Record
from tinygrad_cnn.experiments.results import Measurement, Results
from tinygrad_cnn.experiments.sweep import ranking, run, runs_to_csv, sweep, table
from tinygrad_cnn.train import RunFolder, TrainingSettings, load_run

SETTINGS = TrainingSettings(epochs=3, batch_size=16, val_split=0.25, monitor="accuracy", seed=4)


@pytest.fixture(scope="module")
def few_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """90 digits to train with and 50 to test with."""
    split = digits()
    path = tmp_path_factory.mktemp("data") / "few.npz"
    return str(save(path, split.train.balanced(9), split.test.balanced(5)))


def trained(
    folder: Path, data: str, settings: TrainingSettings = SETTINGS, **chosen: Any
) -> Record:
    record = Record(folder=folder, **chosen)
    run(record, seed=2, data=data, model="mlp", training=settings)
    return record


def timeless(record: Record) -> list[Any]:
    return [row for row in record.rows if row[1] not in ("seconds", "images_per_second")]


def test_an_interrupted_run_goes_on_and_has_the_same_measures(
    few_file: str, tmp_path: Path
) -> None:
    whole = trained(tmp_path / "whole", few_file)
    shares: list[float] = []

    def interrupt(share: float) -> None:
        shares.append(share)
        if share >= 0.6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "a", few_file, on_progress=interrupt)
    assert shares[0] < 0.1
    assert shares == sorted(shares)
    again = trained(tmp_path / "a", few_file)
    assert timeless(again) == timeless(whole)
    assert [row[0] for row in again.rows if row[1] == "loss"] == [1, 2, 3]
    runs = [RunFolder(tmp_path / name) for name in ("whole", "a")]
    assert runs[0].weights.read_bytes() == runs[1].weights.read_bytes()
    assert load_run(tmp_path / "a").settings.training.seed == 2, "its own"
    with pytest.raises(ValueError, match=r"a: is a run with other settings; move it away"):
        trained(tmp_path / "a", few_file, replace(SETTINGS, lr=0.5))


def test_a_run_is_measured_in_the_best_epoch_and_by_the_test_images(
    few_file: str, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, epochs=5, lr=0.2, schedule="constant")  # goes up and down
    rows = trained(tmp_path / "a", few_file, settings).rows
    measures = {measure: value for _, measure, value in rows}
    validation = [value for _, measure, value in rows if measure == "validation_accuracy"]
    assert measures["best"] == max(validation)
    assert measures["best_epoch"] == validation.index(max(validation)) + 1
    assert 0 <= measures["test_accuracy"] <= 1
    settings = replace(SETTINGS, val_split=0.0, monitor=None)
    with pytest.raises(ValueError, match="sweep: val_split is 0: settings would be compared by"):
        trained(tmp_path / "b", few_file, settings)


def test_a_run_that_diverges_is_a_result(few_file: str, tmp_path: Path) -> None:
    settings = replace(SETTINGS, optimizer="sgd", lr=3e38, schedule="constant")
    rows = trained(tmp_path / "a", few_file, settings).rows
    assert rows == [(1.0, "diverged", 1.0)]


shares = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=5)


@given(st.lists(shares, min_size=1, max_size=4), st.sampled_from(["accuracy", "loss"]), st.data())
def test_the_best_mean_comes_first_with_its_standard_deviation(
    values: list[list[float]], metric: str, data: st.DataObject
) -> None:
    rows = []
    bad = data.draw(st.sets(st.integers(0, len(values) - 1)), label="diverged")
    for i, of_variant in enumerate(values):
        for seed, value in enumerate(of_variant):
            measures = {"best": value, "best_epoch": 2.0, "test_accuracy": value}
            rows += [Measurement(f"v{i}", seed, 3.0, k, v) for k, v in measures.items()]
        if i in bad:
            rows.append(Measurement(f"v{i}", 9, 1.0, "diverged", 1.0))
    results = Results("sweep", rows)
    means = {f"v{i}": statistics.fmean(v) for i, v in enumerate(values) if i not in bad}
    order = ranking(results, metric)
    assert set(order) == set(results.variants)
    good = order[: len(means)]
    assert set(good) == means.keys()
    ordered = [means[variant] for variant in good]
    assert ordered == pytest.approx(sorted(ordered, reverse=metric == "accuracy"))
    _, *lines = table(results, metric, {"v0": 3, "w": 2})
    assert lines.pop() == ["w", "–", "–", "–", "0", "2 failed"]
    for k, (variant, best, *_, runs, note) in enumerate(lines):
        i = int(variant[1:])
        mean, _, std = best.removesuffix(" %").partition(" ± ")
        scale = 1.0 if metric == "loss" else 100.0
        assert float(mean) == pytest.approx(scale * statistics.fmean(values[i]), abs=0.0051)
        if len(values[i]) > 1:
            assert float(std) == pytest.approx(scale * statistics.stdev(values[i]), abs=0.0051)
        assert int(runs) == len(values[i]) + (i in bad)
        assert ("1 diverged" in note) == (i in bad)
        assert ("3 failed" in note) == (variant == "v0")
        assert "tied" in note or ("best" in note) == (k == 0 and i not in bad)


def test_of_equal_settings_all_are_tied_for_best() -> None:
    found = {"a": 0.5, "b": 0.75, "c": 0.75}
    rows = [Measurement(v, 0, 1.0, "best", value) for v, value in found.items()]
    _, *lines = table(Results("sweep", rows), "accuracy")
    assert [(line[0], line[-1]) for line in lines] == [
        ("b", "tied for best"),
        ("c", "tied for best"),
        ("a", ""),
    ]


def test_each_run_is_a_row_with_what_varies(tmp_path: Path) -> None:
    rows = [
        Measurement("lr 0.1", 0, 1.0, "loss", 2.0),
        Measurement("lr 0.1", 0, 2.0, "loss", 1.0),
        Measurement("lr 9", 0, 1.0, "diverged", 1.0),
    ]
    runs_to_csv(
        Results("sweep", rows),
        {"lr 0.1": {"lr": "0.1"}, "lr 9": {"lr": "9"}},
        tmp_path / "runs.csv",
    )
    with (tmp_path / "runs.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"lr": "0.1", "seed": "0", "loss": "1.0", "diverged": ""},
            {"lr": "9", "seed": "0", "loss": "", "diverged": "1.0"},
        ]


def test_variants_with_different_monitors_are_refused() -> None:
    variants = {
        monitor: {"data": "digits", "model": "mlp", "training": replace(SETTINGS, monitor=monitor)}
        for monitor in ("loss", "f1")
    }
    with pytest.raises(ValueError, match="sweep: the monitors are f1, loss; expected one"):
        sweep(variants)
    variants = {
        str(seed): {"data": "digits", "model": "mlp", "training": replace(SETTINGS, seed=seed)}
        for seed in (0, 1)
    }
    with pytest.raises(ValueError, match="sweep: the seeds are 0, 1; expected one"):
        sweep(variants)
    with pytest.raises(ValueError, match="sweep: variants is empty"):
        sweep({})
