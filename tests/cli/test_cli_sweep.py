"""``tinygrad-cnn sweep``: combinations by seeds, kept, and compared."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from tinygrad_cnn.experiments.running import Outcome
from tinygrad_cnn.experiments.runs import ExperimentRun, FinishedRuns
from tinygrad_cnn.train import RunFolder, TrainingRun

Call = Callable[..., Result]


def test_only_what_is_missing_is_trained_and_all_is_compared(call: Call, few_file: str) -> None:
    Path("run.toml").write_text(f"data = {few_file!r}\nmodel = 'mlp'\nepochs = 2\nbatch-size = 16")
    command = ["sweep", "--config", "run.toml", "--seeds", "1", "--out", "s"]
    first = call(*command, "--vary", "lr=0.001", "--vary", "optimizer.eps=1e-8")
    assert first.exit_code == 0, first.output
    assert first.output.startswith("1 run, 0 of them already done; 1 in parallel; results in s\n")
    second = call(*command, "--vary", "lr=0.001,3e38", "--vary", "optimizer.eps=1e-8")
    assert second.output.startswith("2 runs, 1 of them already done; 1 in parallel; results in s\n")
    assert "sweep: lr 3e38, optimizer.eps 1e-8, seed 0" in second.output
    shown = second.output.partition("validation accuracy")[2]
    header, best, other, *_ = shown.splitlines()
    assert " ".join(header.split()) == "test accuracy best epoch runs"
    assert best.startswith("lr 0.001, optimizer.eps 1e-8 ")
    assert best.split()[-2:] == ["1", "best"]
    assert other.startswith("lr 3e38, ")
    assert other.split()[-6:] == ["–", "–", "–", "1", "1", "diverged"]
    with open("s/runs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["lr"], row["optimizer.eps"], row["diverged"]) for row in rows] == [
        ("0.001", "1e-8", ""),
        ("3e38", "1e-8", "1.0"),
    ]
    settings = RunFolder(Path("s/sweep/lr-0.001-optimizer.eps-1e-8--seed0")).read_settings()
    assert settings.training.optimizer_options == {"eps": 1e-8}
    assert (settings.training.val_split, settings.training.monitor) == (0.1, "accuracy")
    Path("run.toml").write_text(f"data = {few_file!r}\nmodel = 'mlp'\nepochs = 3")
    third = call(*command, "--vary", "lr=0.001", "--vary", "optimizer.eps=1e-8")
    assert third.exit_code == 2
    assert "epochs was 2, and is 3; batch-size was 16, and is 64; choose another" in third.stderr


NET = """
from tinygrad_cnn import nn

class Net(nn.Sequential):
    def __init__(self, classes, rng):
        super().__init__(nn.Flatten(), nn.Linear(784, classes, rng=rng))
"""


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs that a sweep would do, each in a process of its own: here it begins them."""
    names: list[str] = []

    def begin(runs: Sequence[ExperimentRun], folder: FinishedRuns, **_: Any) -> list[Outcome]:
        for each in runs:
            names.append(folder.path(each).name)
            training = replace(each.arguments["training"], seed=each.seed)
            new = TrainingRun.new(each.arguments["data"], each.arguments["model"], training)
            path = folder.path(each).with_suffix("")
            path.mkdir(parents=True)
            RunFolder(path).write_settings(new.settings, new.model_file)
        return []

    monkeypatch.setattr("tinygrad_cnn.cli.experimenting.perform", begin)
    return names


def test_runs_have_the_seeds_asked_for_and_equal_values_are_one(
    call: Call, few_file: str, begun: list[str]
) -> None:
    command = ["sweep", "--data", few_file, "--model", "mlp", "--seed", "5", "--out", "s"]
    result = call(*command, "--seeds", "2", "--vary", "lr=0.001,1e-3,0.01")
    assert result.output.startswith("4 runs, 0 of them already done"), result.output
    labels = ["lr-0.001", "lr-0.01"]
    assert begun == [f"{label}--seed{seed}.csv" for seed in (5, 6) for label in labels]
    for name in begun:
        settings = RunFolder(Path("s/sweep", name.removesuffix(".csv"))).read_settings()
        assert f"seed{settings.training.seed}.csv" in name


def test_options_of_a_file_hold_beside_varied_ones(
    call: Call, few_file: str, begun: list[str]
) -> None:
    Path("run.toml").write_text("[option.optimizer]\nbetas = [0.5, 0.75]\neps = 1.0")
    command = ["sweep", "--config", "run.toml", "--data", few_file, "--model", "mlp", "--out", "s"]
    assert call(*command, "--seeds", "1", "--vary", "optimizer.eps=1e-7").exit_code == 0
    settings = RunFolder(Path("s/sweep/optimizer.eps-1e-7--seed0")).read_settings()
    assert settings.training.optimizer_options == {"betas": (0.5, 0.75), "eps": 1e-7}


def test_a_changed_model_file_is_named(call: Call, few_file: str, begun: list[str]) -> None:
    Path("net.py").write_text(NET)
    command = ["sweep", "--data", few_file, "--model", "net.py:Net", "--seeds", "1"]
    assert call(*command).exit_code == 0
    assert call(*command, "--vary", "lr=0.5", "--out", "other").exit_code == 0
    Path("net.py").write_text(NET + "# corrected")
    result = call(*command)
    assert result.exit_code == 2
    assert "the file of the model Net has changed; choose another folder with" in result.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--vary lr", "--vary is 'lr', expected KEY=VALUE,VALUE,...\n"),
        ("--vary epoch=1,2", "--vary is 'epoch=1,2', with an unknown KEY; did you mean 'epochs'?"),
        ("--vary seed=1,2", "--vary is 'seed=1,2', with an unknown KEY"),
        ("--vary lr=0.1,,0.2", "with an empty value"),
        ("--vary lr=0.1,0.2 --seeds 501", "are 1,002 runs, expected 1,000 at most; leave out"),
        ("--vary sync-batch-norm=true", "with an unknown KEY"),
        ("--val-split 0", "val_split is 0: settings would be compared by the test images"),
        ("--val-split 0 --monitor f1", "monitor is 'f1', but there is no validation set"),
        ("--vary patience=1,2 --val-split 0", "patience is 1, but there is no validation set"),
        ("--vary model.nope=3", "lenet5 has no option 'nope'"),
        ("--vary size=30", "only the images of a folder are scaled"),
        ("--vary lr=0.1 --color", "only the images of a folder are scaled and converted"),
        ("--lr 3 --vary lr=0.1,0.2", "lr is given and varied; leave out one of the two"),
        (
            "--option optimizer.eps=1 --vary optimizer.eps=1e-8",
            "optimizer.eps is given and varied; leave out one of the two",
        ),
        ("--vary lr=0.1 --quiet", "--quiet is not an option of a sweep; leave it out"),
        ("--config out.toml", "out.toml: out is not an option of a sweep; leave it out"),
        ("--config quiet.toml", "quiet.toml: quiet is not an option of a sweep; leave it out"),
        ("--config ranks.toml", "ranks.toml: distributed is not an option of a sweep; leave it"),
        ("--vary lr=0.1 --vary lr=0.2", "--vary has a KEY twice"),
        ("--vary lr=0.1,x", "invalid value for '--lr': 'x', expected a finite number > 0"),
        ("--vary grayscale=1", "--vary grayscale is '1', expected true or false"),
        ("--vary optimizer=adam,sgd --option optimizer.betas=0.5,0.9", "for optimizer sgd"),
        ("--vary model=mlp,other", "model is 'other', expected mlp"),
        ("--vary lr=0.1 --epoch 3", "no such option: --epoch"),
        ("--vary lr=0.1 --resume run", "--resume is not an option of a sweep; leave it out"),
    ],
)
def test_a_bad_combination_is_refused_before_anything_is_trained(
    call: Call, options: str, says: str
) -> None:
    Path("out.toml").write_text("out = 'x'")
    Path("quiet.toml").write_text("quiet = true")
    Path("ranks.toml").write_text("distributed = true")
    result = call("sweep", *options.split())
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert not Path("sweeps").exists()
