"""``train --config`` and ``--print-config``: the file stands for the options."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import example, given
from hypothesis import strategies as st
from typer.testing import Result

from tinygrad_cnn.cli import app
from tinygrad_cnn.cli.config import NO_KEYS, OF_PARTS, TrainArguments, to_toml
from tinygrad_cnn.train import (
    AUGMENTATIONS,
    METRICS,
    OPTIMIZERS,
    SCHEDULES,
    RunFolder,
    TrainingRun,
    TrainingSettings,
)

Call = Callable[..., Result]
TRAIN = typer.main.get_command(app).commands["train"]


def parsed(*arguments: str) -> TrainArguments:
    """Return what a command line asks for, without training."""
    return TrainArguments.of(TRAIN.make_context("train", list(arguments)).params)


texts = st.text(st.characters(codec="utf-8"))
finite = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers() | finite | texts
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.tuples(inner, inner))
values |= st.sampled_from([math.inf, -math.inf, math.nan])
names = st.text(st.characters(codec="utf-8", exclude_characters="="), min_size=1)
counts = st.none() | st.integers(1, 10**6)
chosen = st.fixed_dictionaries(
    {
        "data": st.none() | texts.filter(bool),
        "model": st.none() | texts.filter(bool),
        "epochs": counts,
        "batch_size": st.none() | st.integers(0, 999),
        "optimizer": st.none() | st.sampled_from(list(OPTIMIZERS)),
        "lr": st.none() | st.floats(min_value=1e-300, max_value=1e300),
        "schedule": st.none() | st.sampled_from(list(SCHEDULES)),
        "augment": st.none() | st.sampled_from(list(AUGMENTATIONS)),
        "weight_decay": st.none() | st.floats(0.0, 1.0),
        "seed": st.none() | st.integers(0, 2**70),
        "threads": counts,
        "val_split": st.none() | st.floats(0.0, 1.0, exclude_max=True),
        "metrics": st.none() | st.lists(st.sampled_from(list(METRICS)), unique=True),
        "size": st.none() | st.tuples(st.integers(1, 999), st.integers(1, 999)),
        "grayscale": st.none() | st.booleans(),
        "options": st.dictionaries(names, values).map(
            lambda table: [("model", name, value) for name, value in table.items()]
        ),
    }
)


def normal(asked: TrainArguments) -> TrainArguments:
    """Return it with lists for tuples among the options, as settings have them."""
    options = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asked.model_options.items()
    }
    return TrainArguments(asked.data, asked.model, asked.training, options, asked.reading)


@given(chosen)
@example(
    {
        **dict.fromkeys(["data", "model", "size", "grayscale"]),
        "options": [
            ("model", "a b", "'"),
            ("model", "5", "5"),
            ("model", "\x7f", "\x7f"),
            ("model", "nan", "nan"),
            ("model", "none", None),
            ("optimizer", "betas", (0.5, 0.75)),
        ],
    }
)
def test_a_printed_file_asks_for_the_same(
    tmp_path_factory: pytest.TempPathFactory, given: dict[str, Any]
) -> None:
    asked = TrainArguments.of(given)
    path = tmp_path_factory.getbasetemp() / "run.toml"
    path.write_text(asked.to_toml(), encoding="utf-8")
    again = parsed("--config", str(path))
    assert repr(normal(again)) == repr(normal(asked))  # 1 is not True, and 1.0 is neither
    assert again.to_toml() == asked.to_toml()


plain = st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
tables = st.dictionaries(
    texts,
    st.recursive(plain, lambda inner: st.lists(inner))
    | st.dictionaries(texts, st.dictionaries(texts, plain, min_size=1), min_size=1),
)


@given(tables)
def test_toml_is_what_a_reader_of_toml_finds(table: dict[str, Any]) -> None:
    found = tomllib.loads(to_toml({"\0": None} | table))
    assert {name: repr(value) for name, value in found.items()} == {
        name: repr(value) for name, value in table.items()
    }


def test_every_setting_is_an_option_and_every_option_a_key(tmp_path: Path) -> None:
    params = {param.name for param in TRAIN.params}
    assert {field.name for field in fields(TrainingSettings)} - set(OF_PARTS.values()) <= params
    assert params >= NO_KEYS - {"help"}


def test_the_command_line_comes_before_the_file_before_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(
        'optimizer = "sgd"\nbatch_size = 16\nepochs = 3\n[option.optimizer]\nmomentum = 0.5'
    )
    asked = parsed("--epochs", "4", "--config", str(path), "--lr", "0.25").training
    assert (asked.optimizer, asked.lr, asked.batch_size, asked.epochs) == ("sgd", 0.25, 16, 4)
    assert (asked.augment, asked.optimizer_options) == ("affine", {"momentum": 0.5})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("epoch = 3", "unknown key 'epoch'; did you mean 'epochs'?"),
        ("zzz = 3", "unknown key 'zzz'; expected augment, batch-size, "),
        ("resume = 'run'", "unknown key 'resume'; expected augment"),
        ("batch_size = 3\nbatch-size = 3", "'batch-size' is given twice"),
        ("epochs = 3.5", "invalid value for '--epochs': '3.5', expected an integer >= 1"),
        ("epochs = true", "epochs is True, expected a number, a text or a list of them"),
        ("epochs = {a = 1}", "epochs is {'a': 1}, expected a number"),
        ("lr = 1979-05-27", "lr is datetime.date(1979, 5, 27), expected a number"),
        ("quiet = 1", "quiet is 1, expected true or false"),
        ("metrics = ['f2']", "invalid value for '--metrics': 'f2', expected some of top5"),
        ("option = 3", "option is 3, expected tables such as [option.optimizer]"),
        ("[option.net]\na = 1", "option: unknown part 'net'; expected model, optimizer, schedule"),
        ("[option.optimzer]\na = 1", "unknown part 'optimzer'; did you mean 'optimizer'?"),
        ("[option.model]\na = 07:32:00", "option.model.a is datetime.time(7, 32), expected"),
        ("epochs = x", "is not valid TOML: Invalid value (at line 1, column 10)"),
        ("a = " + "[" * 9999, "is not valid TOML: "),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_by_name(call: Call, text: str, says: str) -> None:
    Path("run.toml").write_text(text, encoding="utf-8")
    result = call("train", "--config", "run.toml")
    assert result.exit_code == 2
    says = "is nested too deeply" if "[[[" in text and "nested" in result.stderr else says
    assert result.stderr.startswith("error: run.toml: ")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_bad_value_on_the_command_line_is_not_blamed_on_the_file(call: Call) -> None:
    Path("run.toml").write_text("epochs = 3")
    result = call("train", "--config", "run.toml", "--epochs", "x")
    assert result.stderr.startswith("error: invalid value for '--epochs'")
    result = call("train", "--config", "run.toml", "--resume", "run")
    assert result.stderr == "error: --resume uses the settings of run; leave out --config\n"


NET = """
from tinygrad_cnn import nn

class Net(nn.Sequential):
    def __init__(self, classes, rng):
        super().__init__(nn.Flatten(), nn.Linear(784, classes, rng=rng))
"""


def test_what_is_printed_trains_the_same_run(call: Call, few_file: str) -> None:
    Path("net.py").write_text(NET)
    options = ["--data", few_file, "--model", "net.py:Net", "--epochs", "1", "--quiet"]
    options += ["--option", "optimizer.eps=1e-6", "--metrics", "f1,top5", "--out", "a"]
    printed = call("train", *options, "--print-config").stdout
    assert not Path("a").exists()
    for wrong in (["--patience", "2"], ["--option", "model.a=1"], ["--data", ""], ["--out", "."]):
        assert call("train", *options, *wrong, "--print-config").exit_code == 2
    assert call("train", *options).exit_code == 0
    Path("run.toml").write_text(printed)
    assert tomllib.loads(printed)["out"] == "a"
    asked = parsed("--config", "run.toml")
    new = TrainingRun.new(
        asked.data, asked.model, asked.training, asked.model_options, **asked.reading
    )
    settings = RunFolder(Path("a")).read_settings()
    assert new.settings == settings

    Path("again.toml").write_text(call("train", "--resume", "a", "--print-config").stdout)
    again = parsed("--config", "again.toml")
    assert again.training == asked.training
    changed = call("train", "--resume", "a", "--epochs", "7", "--print-config").stdout
    assert tomllib.loads(changed)["epochs"] == 7
    refused = call("train", "--resume", "a", "--lr", "0.1", "--print-config").stderr
    assert "leave out --lr" in refused
    assert (again.model, again.data) == (
        f"a{os.sep}model.py:Net",
        settings.data.source,
    )
