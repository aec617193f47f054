"""What the tests of training share: a few digits, and runs on them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.datasets import save
from support.stopping import folder

from tinygrad_cnn.data import Split, digits
from tinygrad_cnn.train import RunFolder, TrainingRun, TrainingSettings

MODEL_SOURCE = '''
"""A model with all that a checkpoint has to keep: momenta, running statistics, random numbers."""

from tinygrad_cnn import nn


class Net(nn.Module):
    def __init__(self, input_shape, classes, rng):
        self.conv = nn.Conv2d(input_shape[0], 2, 5, stride=3, rng=rng)
        self.norm = nn.BatchNorm2d(2)
        self.dropout = nn.Dropout(0.3, rng=rng)
        self.fc = nn.Linear(2 * 8 * 8, classes, rng=rng)
        self.flatten = nn.Flatten()

    def forward(self, x):
        return self.fc(self.dropout(self.flatten(self.norm(self.conv(x)))))
'''


@pytest.fixture(scope="session")
def few() -> Split:
    """90 digits to train with and 50 to test with."""
    split = digits()
    return Split(split.train.balanced(9), split.test.balanced(5))


@pytest.fixture(scope="session")
def few_file(few: Split, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same as a file that `tinygrad_cnn.data.load` reads."""
    path = tmp_path_factory.mktemp("data") / "few.npz"
    save(path, few.train, few.test)
    return str(path)


@pytest.fixture(scope="session")
def net_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model of one's own, as the command line names it."""
    path = tmp_path_factory.mktemp("model") / "net.py"
    path.write_text(MODEL_SOURCE, encoding="utf-8")
    return f"{path}:Net"


@pytest.fixture
def prepared(few_file: str, net_file: str):
    """Make a training run with few digits and a small model."""

    def make(model: str | None = None, **chosen: object) -> TrainingRun:
        settings = {"epochs": 3, "batch_size": 16, "augment": "shift", **chosen}
        return TrainingRun.new(few_file, model or net_file, TrainingSettings(**settings))

    return make


@pytest.fixture(scope="session")
def trained(
    few_file: str, net_file: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TrainingRun, RunFolder]:
    """A run of two epochs, and its folder, which no test changes."""
    training = TrainingSettings(epochs=2, batch_size=30)
    training_run = TrainingRun.new(few_file, net_file, training)
    run = folder(tmp_path_factory.mktemp("trained"))
    training_run.train(run)
    return training_run, run


@pytest.fixture
def copy(trained: tuple[TrainingRun, RunFolder], tmp_path: Path) -> RunFolder:
    """A copy of that folder."""
    return RunFolder(Path(shutil.copytree(trained[1].path, tmp_path / "run")))
