"""``tinygrad-cnn sweep``: combinations by seeds, kept, and compared."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from tinygrad_cnn.train import RunFolder

Call = Callable[..., Result]


def test_only_what_is_missing_is_trained_and_all_is_compared(call: Call, few_file: str) -> None:
    Path("run.toml").write_text(f"data = {few_file!r}\nmodel = 'mlp'\nepochs = 2\nbatch-size = 16")
    command = ["sweep", "--config", "run.toml", "--seeds", "1", "--out", "s"]
    first = call(*command, "--vary", "lr=0.001", "--vary", "optimizer.eps=1e-8")
    assert first.exit_code == 0, first.output
    assert first.output.startswith("1 runs, 0 of them already done; 1 in parallel; results in s\n")
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
    assert "comes from other code or arguments of the experiment; runs are never" in third.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--vary lr", "--vary is 'lr', expected KEY=VALUE,VALUE,...\n"),
        ("--vary epoch=1,2", "--vary is 'epoch=1,2', with an unknown KEY; did you mean 'epochs'?"),
        ("--vary seed=1,2", "--vary is 'seed=1,2', with an unknown KEY"),
        ("--vary lr=0.1,0.1", "expected different values"),
        ("--vary lr=0.1 --vary lr=0.2", "--vary has a KEY twice"),
        ("--vary lr=0.1,x", "invalid value for '--lr': 'x', expected a finite number > 0"),
        ("--vary grayscale=1", "--vary grayscale is '1', expected true or false"),
        ("--vary optimizer=adam,sgd --option optimizer.betas=0.5,0.9", "for optimizer sgd"),
        ("--vary model=mlp,other", "model is 'other', expected mlp"),
        ("--vary lr=0.1 --epoch 3", "no such option: --epoch"),
        ("--vary lr=0.1 --resume run", "--resume is no option of a sweep; leave it out"),
    ],
)
def test_a_bad_combination_is_refused_before_anything_is_trained(
    call: Call, options: str, says: str
) -> None:
    result = call("sweep", *options.split())
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert not Path("sweeps").exists()
