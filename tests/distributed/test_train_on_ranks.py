"""``tinygrad-cnn train --distributed``: the history of one process, by any number of ranks."""

from __future__ import annotations

import csv
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support.datasets import save
from support.machine import lengthy
from support.ranks import launch

from tinygrad_cnn.data import digits
from tinygrad_cnn.train import RunFolder, TrainingRun

MODEL = """
import os, signal
import numpy as np
from tinygrad_cnn import nn, ops

step = 0

class Net(nn.Sequential):
    def __init__(self, classes, rng):
        super().__init__(
            nn.Conv2d(1, 4, 5, stride=3, bias=False, rng=rng), nn.BatchNorm2d(4), nn.ReLU(),
            nn.Dropout(float(os.environ.get("DROPOUT", 0)), rng=rng),
            nn.Flatten(), nn.Linear(4 * 8 * 8, classes, rng=rng))

    def forward(self, x):
        global step
        step += self.training and len(x) > 2  # the run first tries it with 2 images
        if os.environ.get("PMI_RANK") == "1" and str(step) == os.environ.get("STEP"):
            if os.environ["FAULT"] == "SIGTERM" and self.training:
                os.kill(os.getpid(), signal.SIGTERM)
            if os.environ["FAULT"] == "NaN":
                x = x * np.nan
        return super().forward(x)
"""
WITHOUT_CURVES = (  # importing matplotlib takes longer than all the rest
    "import sys; sys.modules['matplotlib'] = None; from tinygrad_cnn.cli import main; main()"
)
OPTIONS = ("--epochs", "3", "--batch-size", "32", "--lr", "0.01", "--augment", "none")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with data and a model that has a fault at a step."""
    monkeypatch.chdir(tmp_path)
    split = digits()
    save(Path("few.npz"), split.train[:109], split.test[:41])
    Path("net.py").write_text(MODEL)
    return tmp_path


def train(size: int, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return launch(size, "-c", WITHOUT_CURVES, "train", "--distributed", *options, **environment)


def new(size: int, out: str, *options: str, **environment: str) -> None:
    ended = train(
        size, "--data", "few.npz", "--model", "net.py:Net", "--out", out, *OPTIONS, *options,
        "-q", **environment,
    )  # fmt: skip
    assert ended.returncode in (0, 128 + signal.SIGTERM), ended.stderr


def history(run: str) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return what the history says but for times."""
    with Path(run, "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    return np.array([[float(v) for k, v in row.items() if "second" not in k] for row in rows])


@pytest.mark.parametrize("further", [(), pytest.param((3,), marks=lengthy)])
def test_another_number_of_ranks_goes_on_from_a_step(
    further: tuple[int, ...], folder: Path
) -> None:
    ended = train(
        2, "--data", "few.npz", "--model", "net.py:Net", "--out", "run", *OPTIONS,
        FAULT="SIGTERM", STEP="6",
    )  # fmt: skip
    assert ended.returncode == 128 + signal.SIGTERM, ended.stderr
    assert ended.stdout.count("Interrupted. run has 1 finished epoch, and 2 of 4 batches") == 1
    assert {each.name for each in folder.iterdir()} == {"few.npz", "net.py", "run"}
    for size in further:
        ended = train(size, "--resume", "run", "-q", FAULT="SIGTERM", STEP="4")
        assert ended.returncode == 128 + signal.SIGTERM, ended.stderr
    resumed = TrainingRun.resumed(RunFolder(Path("run")))
    assert (len(resumed.history), resumed.batches_done) == (1 + len(further), 2)
    resumed.train(RunFolder(Path("run")))

    alone = TrainingRun(resumed.settings, resumed.split, resumed.model_file)
    alone.train(RunFolder(Path("alone")))
    np.testing.assert_allclose(history("run"), history("alone"), rtol=1e-4)


def test_a_nan_of_one_rank_ends_all_with_one_message(folder: Path) -> None:
    ended = train(
        2, "--data", "few.npz", "--model", "net.py:Net", "--out", "run", *OPTIONS, "-q",
        "--no-sync-batch-norm", FAULT="NaN", STEP="6",
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.count("the loss is nan in epoch 2, batch 2") == 1
    assert "raised by rank 1 of 2" in ended.stderr
    assert "; run has 1 finished epoch" in ended.stderr
    assert len(history("run")) == 1


@lengthy
def test_the_same_number_of_ranks_gives_the_same_bits(folder: Path) -> None:
    options = ("--augment", "shift")
    new(2, "whole", *options, DROPOUT="0.3")
    new(2, "run", *options, DROPOUT="0.3", FAULT="SIGTERM", STEP="6")
    assert train(2, "--resume", "run", "-q", DROPOUT="0.3").returncode == 0
    for name in ("weights.safetensors", "checkpoint-00000012.safetensors"):
        whole, run = Path("whole", name).read_bytes(), Path("run", name).read_bytes()
        assert name.startswith("checkpoint") or whole == run
    assert (history("whole") == history("run")).all()


@lengthy
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "none.npz"], "error: load: 'none.npz' is not a known name"),
        (["--epochs", "0"], "error: invalid value for '--epochs'"),
        (["--data", "few.npz", "--out", "few.npz"], "error: few.npz: is a file"),
        (["--resume", "none"], "error: none: there is no such folder"),
        (["--data", "few.npz", "--lr", "1e30", "--out", "run"], "error: training diverged"),
    ],
)
def test_an_error_of_all_ranks_is_printed_once(
    options: list[str], message: str, folder: Path
) -> None:
    ended = train(3, *options, "-q")
    assert ended.returncode == 1 + (message != "error: training diverged")
    assert ended.stdout == ""
    assert ended.stderr.count("error: ") == 1
    assert message in ended.stderr


@lengthy
def test_another_rank_without_the_data_is_named(folder: Path) -> None:
    code = (
        "import os, sys; from tinygrad_cnn.cli import main; "
        "os.environ['PMI_RANK'] == '1' and os.chdir('/'); "
        "sys.argv[1:] = ['train', '--distributed', '--data', 'few.npz']; main()"
    )
    ended = launch(2, "-c", code)
    assert ended.returncode == 2
    assert ended.stderr.count("error: ") == 1
    assert "raised by rank 1 of 2" in ended.stderr


@lengthy
def test_a_wrong_option_of_another_rank_ends_all(folder: Path) -> None:
    code = (
        "import os, sys; from tinygrad_cnn.cli import main; "
        "wrong = ['--config', 'none.toml'] * (os.environ['PMI_RANK'] == '1'); "
        "sys.argv[1:] = ['train', *wrong, '--distributed', '--data', 'few.npz']; main()"
    )
    ended = launch(2, "-c", code)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "rank 1 of 2" in ended.stderr
    assert "error: none.toml: No such file" in ended.stderr


@lengthy
def test_a_full_disk_of_rank_0_ends_all(folder: Path) -> None:
    code = (
        "import resource, sys; from tinygrad_cnn.distributed import rank; "
        "rank() or resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)); "
        "from tinygrad_cnn.cli import main; main()"
    )
    ended = launch(
        2, "-c", code, "train", "--distributed", "--data", "few.npz", "--out", "run", "-q"
    )
    assert ended.returncode == 1
    assert ended.stderr.count("error: ") == 1
    assert "File too large" in ended.stderr
