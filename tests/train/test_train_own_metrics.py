"""Metrics from the file of a user's own model."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

from tinygrad_cnn.train import (
    Callback,
    Epoch,
    History,
    JSONLines,
    Progress,
    RunFolder,
    TrainingRun,
    plot_history,
)

OWN = """
import numpy as np
from tinygrad_cnn import nn
from tinygrad_cnn.train import Metric


class Net(nn.Sequential):
    def __init__(self, classes, rng):
        super().__init__(nn.Flatten(), nn.Linear(784, classes, rng=rng))


def margin(outputs, labels):
    return np.ptp(outputs, axis=1).mean()


class Hits(Metric):
    def count(self, outputs, labels):
        return np.array([(outputs.argmax(axis=1) == labels).sum(), len(labels)])

    def value(self, counts):
        return float(counts[0] / counts[1])


hits = Hits()
number = 3
"""


def test_own_metrics_are_columns_everywhere_and_survive_a_resumption(
    prepared: Any, tmp_path: Path
) -> None:
    file = tmp_path / "net.py"
    file.write_text(OWN)
    metrics = (f"{file}:margin", "f1", f"{file}:hits")
    run = prepared(f"{file}:Net", metrics=metrics, epochs=2)
    assert run.settings.training.metrics == ("model.py:margin", "f1", "model.py:hits")
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()

    class Stops(Callback):
        def batch(self, progress: Progress) -> None:
            if progress.epoch == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.train(folder, [Stops()])
    file.unlink()  # the run has its copy
    run = TrainingRun.resumed(folder)
    history = run.train(folder)
    assert history.columns[8:] == (
        "margin", "f1", "hits", "validation_margin", "validation_f1", "validation_hits"
    )  # fmt: skip
    assert history.column("hits") == history.column("accuracy")
    assert run.test().metrics["hits"] == history[-1].validation_accuracy
    assert JSONLines.history(folder.log) == history == History.from_csv(folder.history)


@pytest.mark.parametrize(
    ("metrics", "says"),
    [
        (["own.py:margin"], "own.py:margin is not in the file of the model, "),
        (["net.py:nothing"], "net.py: has no metric 'nothing'; expected an instance of M"),
        (["net.py:number"], "net.py: has no metric 'number'"),
        (["net.py:Hits"], "net.py: has no metric 'Hits'"),
        (["net.py:margin", "net.py:margin", "f1", "net.py:f1"], "two metrics with the name 'f1'"),
        (["f2"], "train: metrics[0] is 'f2', expected one of 'top5'"),
    ],
)
def test_an_own_metric_that_does_not_exist_is_refused(
    prepared: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metrics: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(OWN)
    with pytest.raises(ValueError, match=re.escape(says)):
        prepared("net.py:Net", metrics=metrics)
    with pytest.raises(ValueError, match=r"model\.py:margin is not in the file of the model, mlp"):
        prepared("mlp", metrics=["model.py:margin"])


def test_every_metric_has_a_panel_among_the_curves(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra plots")
    image = pytest.importorskip("PIL.Image", reason="needs the extra data")
    heights = []
    for further in ({}, {"a": 1.0, "validation_a": 2.0, "b": math.nan, "c": 1.0, "d": 1.0}):
        plot_history(History([Epoch(1, 0.5, 0.5, metrics=further)]), tmp_path / "curves.png")
        with image.open(tmp_path / "curves.png") as picture:
            heights.append(picture.height)
    assert heights[1] == 3 * heights[0]  # two panels a row; none for b
