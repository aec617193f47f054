"""``tinygrad-cnn train``: what it prints and writes, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from support.cli_results import NET, ok, refused
from typer.testing import Result

from tinygrad_cnn.cli import display, training
from tinygrad_cnn.train import History, RunFolder, TrainingRun
from tinygrad_cnn.train import Progress as BatchProgress

Call = Callable[..., Result]


def test_train_prints_a_line_an_epoch_and_leaves_a_run(call: Call, few_file: str) -> None:
    out = ok(call("train", "--data", few_file, "--epochs", 3))
    assert "lenet5  61,706 parameters, 416,520 multiply-adds per image" in out
    assert "few     90 training images, 50 test images, 1 × 28 × 28, 10 classes" in out
    lines = re.findall(r"^  \d/3 +\d\.\d{4} +\d+\.\d\d % +\d\.\d{4} +\d+\.\d\d % .*$", out, re.M)
    assert len(lines) == 3
    assert lines[-1].endswith("0:00")
    assert "\x1b" not in out
    run = Path("runs/lenet5-few-0")
    assert sorted(path.name for path in run.iterdir()) == [
        ".lock",
        "checkpoint-00000004.safetensors",
        "checkpoint-00000006.safetensors",
        "curves.png",
        "history.csv",
        "log.jsonl",
        "settings.json",
        "weights.safetensors",
    ]
    history = History.from_csv(run / "history.csv")
    right = round(history[-1].validation_accuracy * 50)
    assert f"{right * 2}.00 % accuracy on 50 test images, {50 - right} wrong" in out
    assert "Most common confusions:" in out
    assert str(run) in out
    with Image.open(run / "curves.png") as curves:
        curves.load()
        assert curves.width > 1000


def test_runs_are_numbered_and_the_default_is_repeated_to_the_bit(
    call: Call, few_file: str
) -> None:
    for _ in range(2):
        ok(call("train", "--data", few_file, "--epochs", 1, "--augment", "affine", "--quiet"))
    first, second = (Path(f"runs/lenet5-few-{i}/weights.safetensors") for i in range(2))
    assert first.read_bytes() == second.read_bytes()


def test_quiet_prints_the_result_alone(call: Call, few_file: str) -> None:
    out = ok(call("train", "--data", few_file, "--epochs", 1, "-q", "--out", "here"))
    assert re.fullmatch(r"\d+\.\d\d %  here\n", out)


def test_the_choices_reach_the_settings(call: Call, few_file: str) -> None:
    pytest.importorskip("tensorboardX", reason="needs the extra tensorboard")
    choices = {
        "epochs": 2,
        "batch-size": "all",
        "optimizer": "nesterov",
        "lr": 0.125,
        "schedule": "cosine",
        "augment": "shift",
        "weight-decay": 0.5,
        "seed": 9,
        "threads": 1,
        "val-split": 0.25,
        "metrics": "recall",
        "checkpoint-every": "40s",
        "monitor": "accuracy",
        "patience": 7,
        "log": "tensorboard",
        "log-every": 3,
    }
    options = [text for name, value in choices.items() for text in (f"--{name}", value)]
    options += ["--no-sync-batch-norm", "--compile"]
    ok(call("train", "--data", few_file, "--model", "mlp", "--out", "run", *options))
    settings = json.loads(Path("run/settings.json").read_text())
    expected = {name.replace("-", "_"): value for name, value in choices.items()}
    none = {"optimizer_options": {}, "schedule_options": {}, "sync_batch_norm": False}
    none["compile"] = True
    assert settings["training"] == {
        **expected, **none, "batch_size": 0, "metrics": ["recall"], "log": ["tensorboard"]
    }  # fmt: skip
    assert settings["model"]["name"] == "mlp"


def test_options_reach_the_model_the_optimizer_and_the_schedule(call: Call, few_file: str) -> None:
    given = {
        "model.hidden": "9,8", "model.activation": "leaky_relu", "optimizer.betas": "0.8,0.95",
        "optimizer.eps": "1e-6", "schedule.cycle_momentum": "true",
    }  # fmt: skip
    options = [text for name, value in given.items() for text in ("--option", f"{name}={value}")]
    first = ["--data", few_file, "--model", "mlp", "--optimizer", "adam", "--epochs", 2]
    ok(call("train", *first, "--out", "run", *options))
    settings = RunFolder(Path("run")).read_settings()
    assert settings.model.options == {"hidden": [9, 8], "activation": "leaky_relu"}
    assert settings.training.optimizer_options == {"betas": (0.8, 0.95), "eps": 1e-6}
    assert settings.training.schedule_options == {"cycle_momentum": True}
    run = TrainingRun.resumed(RunFolder(Path("run")))
    assert (run.optimizer.eps, run.optimizer.betas[1]) == (1e-6, 0.95)
    assert run.optimizer.betas[0] == pytest.approx(0.95)  # the momentum at the end of the cycle
    assert run.model.sizes == (784, 9, 8, 10)


def test_a_model_of_ones_own_is_copied_and_used(call: Call, few_file: str) -> None:
    Path("net.py").write_text(NET)
    options = ["--data", few_file, "--epochs", 2, "--out", "run"]
    assert "12,730 parameters, 12,704 multiply-adds per image" in ok(
        call("train", "--model", "net.py:Net", *options)
    )
    assert Path("run/model.py").read_text() == NET
    Path("net.py").unlink()
    first = ok(call("evaluate", "run"))
    assert "accuracy on 50 test images" in first
    Path("run/model.py").write_text(NET + "\n")
    assert "model.py: has changed since the run" in refused(call("evaluate", "run"))


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_training_says_so_and_is_resumed(
    call: Call, few_file: str, monkeypatch: pytest.MonkeyPatch, signum: int, status: int
) -> None:
    options = ["train", "--data", few_file, "--epochs", 3, "--batch-size", 30]
    ok(call(*options, "--out", "whole"))

    def interrupt(lines: display.EpochLines, progress: BatchProgress) -> None:
        if (progress.epoch, progress.batch) == (3, 2):
            signal.raise_signal(signum)

    with monkeypatch.context() as patched:
        patched.setattr(display.EpochLines, "batch", interrupt)
        result = call(*options, "--out", "run")
    assert result.exit_code == status
    assert "Interrupted. run has 2 finished epochs, and 2 of 3 batches of the next" in result.stdout
    assert "; to continue:\n  tinygrad-cnn train --resume run\n" in result.stdout
    assert Path("run/curves.png").exists()
    out = ok(call("train", "--resume", "run"))
    assert "Continuing in epoch 3, after batch 2 of 3, at learning rate " in out
    assert re.findall(r"^  (\d)/3", out, re.M) == ["3"]
    assert Path("run/weights.safetensors").read_bytes() == (
        Path("whole/weights.safetensors").read_bytes()
    )
    Path("run/curves.png").unlink()
    assert "The run is complete: 3 epochs are trained." in ok(call("train", "--resume", "run"))
    assert Path("run/curves.png").exists()
    out = ok(call("train", "--resume", "run", "--epochs", 4))
    assert "Changed: epochs from 3 to 4." in out
    assert "Continuing in epoch 4, from its beginning, at learning rate 0.00" in out


def test_a_training_that_diverges_says_what_to_try(call: Call, few_file: str) -> None:
    options = ["--optimizer", "sgd", "--lr", 1e30, "--schedule", "constant", "--out", "run"]
    result = call("train", "--data", few_file, *options)
    assert result.exit_code == 1
    assert re.fullmatch(
        r"error: training diverged: the loss is (nan|inf) in epoch 1, batch 2, at learning rate "
        r"1e\+30; try a smaller learning rate, such as 1e\+29; run has no finished epoch\n",
        result.stderr,
    )
    assert "no such file: no epoch was finished" in refused(call("evaluate", "run"))


def test_without_matplotlib_training_goes_on(
    call: Call, few_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    out = ok(call("train", "--data", few_file, "--epochs", 1, "--out", "run"))
    assert 'pip install "tinygrad_cnn[plots]"' in out
    assert "accuracy on 50 test images" in out
    assert not Path("run/curves.png").exists()


def test_a_full_disk_is_a_failure_of_one_line(
    call: Call, few_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "runs/x")

    monkeypatch.setattr(training.RunFolder, "write_settings", full)
    result = call("train", "--data", few_file)
    assert (result.exit_code, result.stderr) == (
        1,
        "error: runs/x: No space left on device; runs/lenet5-few-0 has no finished epoch\n",
    )


@pytest.mark.parametrize("name", ["best", "weights", "history", "checkpoint-00000010"])
def test_a_disk_that_fills_up_names_the_file_the_epoch_and_what_is_kept(
    call: Call, few_file: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The second epoch cannot be saved; when there is room, the run goes on from the first."""
    monkeypatch.setattr(training, "plot_history", lambda *_, **__: None)
    options = ["--data", few_file, "--model", "mlp", "--val-split", "0.2", "--epochs", 2]
    options += ["--batch-size", 15, "--optimizer", "sgd", "--schedule", "constant"]
    ok(call("train", *options, "--out", "whole"))
    full, written, sync = False, 0, os.fsync

    def fsync(descriptor: int) -> None:
        nonlocal full, written
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        written += f".{name}." in path and path.endswith(".tmp")
        full |= written == (1 if name.startswith("checkpoint") else 2)
        if full:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        result = call("train", *options, "--out", "run")
    assert result.exit_code == 1
    assert re.fullmatch(
        rf"error: run/{name}\.(safetensors|csv): No space left on device; fit: raised at the end "
        r"of epoch 2, at .*; run has 1 finished epoch(, and \d of 5 batches of the next)?\n",
        result.stderr,
    )
    assert not list(Path("run").glob(".*.tmp"))
    ok(call("train", "--resume", "run"))
    for file in ("best.safetensors", "weights.safetensors"):
        assert Path("run", file).read_bytes() == Path("whole", file).read_bytes()


def test_an_exception_of_ones_own_model_has_its_line_and_what_is_kept(
    call: Call, few_file: str
) -> None:
    broken = NET.replace("return", "if self.training: self.count(x)\n        return")
    broken += "\n    calls = 0\n\n    def count(self, x):\n        self.calls += 1\n"
    broken += "        if self.calls == 9:\n            raise RuntimeError('nine')\n"
    Path("net.py").write_text(broken)
    options = ["--data", few_file, "--epochs", 3, "--batch-size", 15, "--out", "run"]
    result = call("train", "--model", "net.py:Net", *options)
    assert result.exit_code == 1
    line = 1 + broken.splitlines().index("            raise RuntimeError('nine')")
    assert result.stderr == (
        f"error: RuntimeError: nine; fit: raised in epoch 2, batch 3, at net.py:{line}, in count: "
        "raise RuntimeError('nine'); run has 1 finished epoch (--debug shows where)\n"
    )


@pytest.mark.filterwarnings("default")
def test_a_model_that_cannot_be_resumed_to_the_bit_is_told_at_the_start(
    call: Call, few_file: str
) -> None:
    Path("net.py").write_text(
        "from tinygrad_cnn import nn\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, rng):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(784, 10, rng=rng))\n"
        "        self.count = iter(range(9))\n"
    )
    model = ("--model", "net.py:Net", "--data", few_file)
    out = ok(call("train", *model, "--epochs", "1", "--out", "run"))
    warned, epoch = (out.index(text) for text in ("Warning: Net: the state of count (", "  1/1 "))
    assert warned < epoch
