"""What the tests of the command line share: a few digits, a trained run, a way to call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.datasets import save
from typer.main import get_command
from typer.testing import CliRunner, Result

from tinygrad_cnn.cli import app
from tinygrad_cnn.data import digits

Call = Callable[..., Result]

COMMAND = get_command(app)  # made once, not for each call


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Call ``tinygrad-cnn`` in an empty folder; what it prints has 100 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("TINYGRAD_CNN_DEBUG", raising=False)
    monkeypatch.delenv("TINYGRAD_CNN_DATA", raising=False)
    monkeypatch.setattr("typer.testing._get_command", lambda _: COMMAND)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="session")
def few_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """90 digits to train with and 50 to test with."""
    split = digits()
    train, test = split.train.balanced(9), split.test.balanced(5)
    return save(tmp_path_factory.mktemp("data") / "few.npz", train, test)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learned the embedded digits well enough to be asked."""
    path = tmp_path_factory.mktemp("runs") / "run"
    arguments = ["train", "--epochs", "1", "--augment", "none", "--quiet", "--out", str(path)]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return path
