"""The commands: what they print, write and refuse."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file
from typer.testing import Result

from tinygrad_cnn.cli import display, training
from tinygrad_cnn.data import as_mnist, digits
from tinygrad_cnn.train import History, RunFolder, TrainingRun, load_run
from tinygrad_cnn.train import Progress as BatchProgress

Call = Callable[..., Result]
TEST = digits().test

NET = """
from tinygrad_cnn import nn, relu

class Net(nn.Module):
    def __init__(self, classes, rng):
        self.fc1 = nn.Linear(784, 16, rng=rng)
        self.fc2 = nn.Linear(16, classes, rng=rng)

    def forward(self, x):
        return self.fc2(relu(self.fc1(x.reshape(x.shape[0], -1))))
"""


def ok(result: Result) -> str:
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


def refused(result: Result) -> str:
    """Return the one line on stderr of a call that was refused."""
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output
    return result.stderr


# --- train -------------------------------------------------------------------------------------


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
    assert "Going on in epoch 3, after batch 2 of 3, at learning rate " in out
    assert re.findall(r"^  (\d)/3", out, re.M) == ["3"]
    assert Path("run/weights.safetensors").read_bytes() == (
        Path("whole/weights.safetensors").read_bytes()
    )
    Path("run/curves.png").unlink()
    assert "The run is complete: 3 epochs are trained." in ok(call("train", "--resume", "run"))
    assert Path("run/curves.png").exists()
    out = ok(call("train", "--resume", "run", "--epochs", 4))
    assert "Changed: epochs from 3 to 4." in out
    assert "Going on in epoch 4, from its beginning, at learning rate 0.00" in out


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


# --- evaluate and predict ----------------------------------------------------------------------


def test_evaluate_measures_what_training_measured(call: Call, run: Path) -> None:
    history = History.from_csv(run / "history.csv")
    out = ok(call("evaluate", run))
    assert f"{history[-1].validation_accuracy * 100:.2f} % accuracy on 2,000 test images" in out
    assert f"loss {history[-1].validation_loss:.4f}" in out
    assert re.search(r"\d → \d +\d+ times", out)


def test_evaluate_takes_other_data_of_the_same_kind(call: Call, run: Path, few_file: str) -> None:
    assert "accuracy on 50 test images" in ok(call("evaluate", run, "--data", few_file))


def test_evaluate_notices_that_the_test_images_of_a_run_are_others(
    call: Call, few_file: str
) -> None:
    with np.load(few_file) as file:
        arrays = dict(file)
    np.savez("own.npz", **arrays)
    ok(call("train", "--data", "own.npz", "--epochs", "1", "--model", "mlp", "--out", "run"))
    np.savez("own.npz", **{**arrays, "x_test": arrays["x_test"] * 0})
    message = refused(call("evaluate", "run"))
    assert "own: the test images or labels have changed: their SHA-256 is" in message
    assert "to evaluate on the current ones: --data " in message
    assert "accuracy on 50 test images" in ok(call("evaluate", "run", "--data", "own.npz"))


def clear_digits(run: Path, count: int) -> list[int]:
    """Return test images that the run is sure of and right about, one a class."""
    probabilities = load_run(run).probabilities(TEST.images)
    sure = probabilities[np.arange(len(TEST)), TEST.labels]
    return [int(np.argmax(np.where(TEST.labels == k, sure, 0.0))) for k in range(count)]


def test_a_digit_enlarged_and_inverted_is_still_that_digit(call: Call, run: Path) -> None:
    chosen = clear_digits(run, 10)
    for k, index in enumerate(chosen):
        digit = Image.fromarray(TEST.images[index, 0]).resize((180, 180))
        page = Image.new("L", (200, 300), 255)
        page.paste(Image.eval(digit, lambda v: 255 - v), (10, 100))
        page.save(f"{k}.png")
        Image.fromarray(TEST.images[index, 0]).resize((200, 300)).save(f"{k}.jpg")
    out = ok(call("predict", run, *(f"{k}.png" for k in range(10))))
    assert re.findall(r"^(\d)\.png: (\d)", out, re.M) == [(str(k), str(k)) for k in range(10)]
    out = ok(call("predict", run, *(f"{k}.jpg" for k in range(10))))
    same = [a == b for a, b in re.findall(r"^(\d)\.jpg: (\d)", out, re.M)]
    assert sum(same) >= 9  # stretched to 2 : 3, which may make a digit another


def test_predict_prints_every_probability_with_a_bar(call: Call, run: Path) -> None:
    index = clear_digits(run, 4)[3]
    Image.fromarray(TEST.images[index, 0]).save("three.png")
    head, *rows = ok(call("predict", run, "three.png")).splitlines()
    assert re.fullmatch(r"three\.png: 3  \d\d\.\d\d %", head)
    shares = [float(re.search(r"(\d+\.\d\d) %$", row).group(1)) for row in rows]
    assert [row.split()[0] for row in rows] == list("0123456789")
    assert sum(shares) == pytest.approx(100.0, abs=0.2)
    longest = max(rows, key=lambda row: row.count("█"))
    assert longest.split()[0] == "3"


def test_on_a_terminal_predict_shows_what_the_model_sees(
    call: Call, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    Image.fromarray(TEST.images[0, 0]).save("digit.png")
    assert ok(call("predict", run, "digit.png")).count("▀") == 28 * 14


@pytest.mark.parametrize("ink", ["black on white", "black on nothing"])
def test_predict_is_as_good_on_the_files_of_a_folder_as_evaluate_on_the_folder(
    call: Call, few_file: str, ink: str
) -> None:
    files = []
    with np.load(few_file) as few:
        for part in ("train", "test"):
            pairs = zip(few[f"x_{part}"][:, 0], few[f"y_{part}"], strict=True)
            for i, (digit, label) in enumerate(pairs):
                path = Path("own", part, str(label), f"{i}.png")
                path.parent.mkdir(parents=True, exist_ok=True)
                picture = Image.fromarray(255 - digit)
                if ink == "black on nothing":
                    picture = Image.merge("LA", (Image.new("L", (28, 28)), Image.fromarray(digit)))
                picture.save(path)
                files.append(path)
    ok(call("train", "--data", "own", "--epochs", 8, "--model", "mlp", "--out", "run"))
    tested = [path for path in files if path.parts[1] == "test"]
    answers = re.findall(r"^(.*\.png): (\d) ", ok(call("predict", "run", *tested)), re.M)
    assert [name for name, _ in answers] == [str(path) for path in tested]
    right = sum(Path(name).parent.name == taken for name, taken in answers)
    assert f"accuracy on 50 test images, {50 - right} wrong" in ok(call("evaluate", "run"))
    assert right > 25


def test_a_folder_of_images_of_many_sizes_is_trained_on(call: Call, tmp_path: Path) -> None:
    for label, color in enumerate(("red", "blue")):
        (tmp_path / "pets" / color).mkdir(parents=True)
        for i in range(10):
            picture = Image.new("RGB", (12 + i, 9 + label), color)
            picture.save(tmp_path / "pets" / color / f"{i}.png")
    train = ["train", "--data", str(tmp_path / "pets"), "--model", "mlp", "--epochs", "1"]
    assert "--size HxW on the command line" in refused(call(*train))
    options = ["--size", "8x10", "--grayscale", "--val-split", "0.25", "--out", "out"]
    options += ["--metrics", "top5,f1"]
    text = ok(call(*train, *options))
    assert "12 training images, 4 validation images, 4 test images, 1 × 8 × 10" in text
    assert "val loss   val accuracy" in text
    assert re.search(r"\ntop5 1\.0000  f1 [01]\.", text)
    settings = json.loads(Path("out", "settings.json").read_text(encoding="utf-8"))
    assert (settings["data"]["size"], settings["data"]["grayscale"]) == ([8, 10], True)
    measured = ok(call("evaluate", "out"))
    assert measured.strip() in text
    assert "accuracy on 4 test images" in measured
    ok(call("predict", "out", str(tmp_path / "pets" / "red" / "0.png")))
    message = refused(call("train", "--resume", "out", "--size", "8", "--color"))
    assert message.endswith("leave out --size, --grayscale\n")
    assert "expected 32x32; only" in refused(call("train", "--size", "32"))


def test_predict_prepares_as_mnist_when_asked(call: Call, few_file: str) -> None:
    ok(call("train", "--data", few_file, "--epochs", 8, "--model", "mlp", "--out", "run"))
    picture = Image.fromarray(255 - TEST.images[0, 0]).resize((90, 90))
    picture.save("a.png")
    Image.fromarray(as_mnist(np.asarray(picture) / 255, "a")).save("b.png")
    asked = ok(call("predict", "run", "a.png", "--as-mnist"))
    assert asked == ok(call("predict", "run", "b.png")).replace("b.png", "a.png")
    assert asked != ok(call("predict", "run", "a.png"))


def test_a_model_that_gives_nan_is_said_to(call: Call, run: Path) -> None:
    shutil.copytree(run, "copy")
    arrays = {name: np.full_like(array, np.nan) for name, array in load_file(
        "copy/weights.safetensors").items()}  # fmt: skip
    save_file(arrays, "copy/weights.safetensors")
    Image.fromarray(TEST.images[0, 0]).save("digit.png")
    for arguments, what in (
        (("evaluate", "copy"), "images of digits"),
        (("predict", "copy", "digit.png"), "digit.png"),
    ):
        result = call(*arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == f"error: copy: the model returns NaN for {what}\n"


def test_a_warning_is_one_line(call: Call) -> None:
    images = np.random.default_rng(0).integers(256, size=(20, 8, 8), dtype=np.uint8)
    np.savez("one.npz", images=images, labels=np.arange(20) % 2 + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        result = call("train", "--data", "one.npz", "--epochs", 1, "--model", "mlp")
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: one.npz: no training image has the label 0: 1 of the")
    assert result.stderr.count("\n") == 1


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("trian", "No such command 'trian'"),
        ("train --epoch 3", "No such option: --epoch"),
        ("train --epochs three", "'--epochs': 'three', expected an integer >= 1"),
        ("train --epochs 0", "'--epochs': '0', expected an integer >= 1"),
        ("train --batch-size some", "'some', expected an integer >= 0, or all"),
        ("train --batch-size -2", "'-2', expected an integer >= 0, or all"),
        ("train --optimizer adamm", "'adamm', expected one of sgd, momentum, nesterov"),
        ("train --lr 0", "'--lr': '0', expected a finite number > 0"),
        ("train --lr nan", "'--lr': 'nan', expected a finite number > 0"),
        ("train --schedule x", "'x', expected one of constant, step, cosine"),
        ("train --augment x", "'x', expected one of none, shift, rotate"),
        ("train --option lr=1", "'lr=1', expected PART.NAME=VALUE with a PART of model, opt"),
        (
            "train --option optimizer.beta=1",
            "adamw has no option 'beta'; it has betas=(0.9, 0.999)",
        ),
        ("train --option optimizer.betas=0,1", "AdamW: betas[1] is 1, expected a finite number"),
        ("train --option optimizer.lr=1", "adamw has no option 'lr'; it has betas"),
        ("train --option schedule.gamma=1", "onecycle has no option 'gamma'; it has total_steps,"),
        ("train --option model.depth=1", "lenet5 has no option 'depth'; it has activation=relu"),
        ("train --resume RUN --option model.a=1", "leave out --option"),
        ("train --seed -1", "'--seed': '-1', expected an integer >= 0"),
        ("train --threads 0", "'--threads': '0', expected an integer >= 1"),
        (
            "train --data nowhere",
            "'nowhere' is not a known name or an existing path; expected 'digits'",
        ),
        ("train --data bad.npz", "bad.npz: cannot be read as a .npz archive"),
        ("train --model resnet", "model is 'resnet', expected mlp, lenet5, vgg, resnet20, "),
        ("train --model net.py:Net", "net.py: cannot be read: No such file or directory"),
        ("train --model empty.py:Net", "empty.py: has no class 'Net'; it has none"),
        ("train --out full", "full: is not empty; expected a new folder, or --resume full"),
        ("train --out empty.py", "empty.py: is a file; expected a new folder"),
        ("train --resume nowhere", "nowhere: there is no such folder; expected a run folder"),
        ("train --resume RUN --lr 1 --seed 2", "leave out --lr, --seed"),
        ("evaluate", "Missing argument 'RUN'"),
        ("evaluate nowhere", "nowhere: there is no such folder; expected a run folder"),
        ("draw runs/nowhere", "runs/nowhere: there is no such folder; expected a run folder"),
        ("derive a/b --wrt w", "a/b: there is no such folder; expected a run folder"),
        ("evaluate full", "full: is not a run folder: it has no settings.json"),
        ("evaluate RUN --data small.npz", "has images of shape (1, 8, 8); the model was trained"),
        ("evaluate RUN --data two.npz", "has the classes 0, 1; the model was trained with 0, 1, 2"),
        ("predict RUN", "Missing argument"),
        ("predict RUN nowhere.png", "nowhere.png: there is no such file"),
        ("predict RUN bad.npz", "bad.npz: cannot be read as an image"),
        ("predict RUN good.png blank.png", "blank.png: is blank"),
    ],
)
def test_bad_calls_are_refused_in_one_line_and_nothing_is_written(
    call: Call, run: Path, arguments: str, says: str
) -> None:
    Path("bad.npz").write_text("no archive")
    Path("empty.py").touch()
    Path("full").mkdir()
    Path("full/file").touch()
    labels = np.arange(10) % 2
    np.savez("small.npz", images=np.zeros((10, 8, 8), np.uint8), labels=labels)
    np.savez("two.npz", images=np.zeros((10, 28, 28), np.uint8), labels=labels)
    Image.new("L", (30, 30)).save("blank.png")
    Image.fromarray(TEST.images[0, 0]).save("good.png")
    before = sorted(Path().rglob("*"))
    words = [str(run) if word == "RUN" else word for word in arguments.split()]
    result = call(*words)
    assert says.lower() in refused(result).lower()
    assert result.stdout == ""
    assert sorted(Path().rglob("*")) == before


def test_debug_shows_the_traceback(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    result = call("evaluate", "nowhere", "--debug")
    assert type(result.exception).__name__ == "RunError"
    monkeypatch.setenv("TINYGRAD_CNN_DEBUG", "1")
    result = call("evaluate", "nowhere")
    assert type(result.exception).__name__ == "RunError"


def test_an_error_in_ones_own_model_is_told_with_its_kind(call: Call, few_file: str) -> None:
    Path("net.py").write_text(NET.replace("relu(", "[][0]("))
    result = call("train", "--data", few_file, "--model", "net.py:Net")
    assert result.exit_code == 1
    assert result.stderr == "error: IndexError: list index out of range (--debug shows where)\n"


# --- help, start, other processes --------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["--help"], ["train", "-h"], ["evaluate", "-h"]])
def test_help_fits_a_terminal(call: Call, arguments: list[str]) -> None:
    out = ok(call(*arguments))
    assert "Usage: " in out
    assert max(map(len, out.splitlines())) <= 100


def test_version(call: Call) -> None:
    import tinygrad_cnn

    assert ok(call("--version")) == f"tinygrad-cnn {tinygrad_cnn.__version__}\n"


def python(code: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )


MAIN = "from tinygrad_cnn.cli import main; main()"


def test_help_imports_nothing_that_only_some_need() -> None:
    code = f"""
import sys
try:
    {MAIN}
finally:
    unwanted = {{"matplotlib", "PIL", "hypothesis", "pooch", "graphviz", "safetensors"}}
    print(sorted(unwanted & set(sys.modules)), file=sys.stderr)
"""
    done = python(code, "--help")
    assert (done.returncode, done.stderr) == (0, "[]\n")


def test_two_processes_give_the_same_bits_and_one_line_an_epoch(
    tmp_path: Path, few_file: str
) -> None:
    options = ["train", "--data", few_file, "--epochs", "2", "--augment", "elastic"]
    for out in ("a", "b"):
        done = python(MAIN, *options, "--out", out, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert len(re.findall(r"^  \d/2 ", done.stdout, re.M)) == 2
    for name in ("weights.safetensors", "settings.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_saves_what_there_is(tmp_path: Path, few_file: str) -> None:
    root = Path(__file__).parents[2]
    options = ["train", "--data", few_file, "--epochs", "2000", "--batch-size", "10", "--out", "a"]
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    with subprocess.Popen(  # a shell lets what it runs in the background ignore Ctrl-C
        [sys.executable, "-u", "-c", listen + MAIN, *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONIOENCODING": "utf-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "2/2000" in line:
                break
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")
    found = re.search(r"Interrupted\. a has (\d+) finished epochs(, and \d of 9 batches of)?", out)
    assert found is not None
    assert out.endswith("; to continue:\n  tinygrad-cnn train --resume a\n")
    assert len(History.from_csv(tmp_path / "a" / "history.csv")) == int(found.group(1))
    load_run(tmp_path / "a")
