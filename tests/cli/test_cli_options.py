"""Every command and option: the help shows defaults and choices, a bad value is repeated."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import Result

from tinygrad_cnn.check.ops import EXAMPLES
from tinygrad_cnn.cli import app
from tinygrad_cnn.train import RECIPES, TrainingSettings

Call = Callable[..., Result]
Help = Callable[[str, str], str]

COMMANDS = typer.main.get_command(app).commands
OPTIONS = [
    (command, option)
    for command in COMMANDS
    for option in COMMANDS[command].params
    if option.name != "help"
]
WITH_VALUE = [(c, p) for c, p in OPTIONS if not getattr(p, "is_flag", False)]
UNSET = {  # without a value, the command does something else, or refuses
    ("train", "resume"),
    ("train", "config"),
    ("derive", "wrt"),
    ("bench", "figure"),
    ("bench", "page"),
    ("bench", "compare"),
    ("experiment", "names"),
    ("experiment", "write"),
}
REQUIRED = {"draw": ["mlp"], "derive": ["mlp"], "experiment": ["activations"]}
FOLDERS = {
    ("train", "out"),
    ("experiment", "out"),
    ("sweep", "out"),
    ("experiment", "write"),
    ("studio", "data_dir"),
}


def ids(pairs: list[tuple[str, Any]]) -> list[str]:
    return [f"{command} {param.name}" for command, param in pairs]


@pytest.fixture
def help_of(call: Call, monkeypatch: pytest.MonkeyPatch) -> Help:
    """Return a parameter's line of a command's help."""
    monkeypatch.setenv("COLUMNS", "500")

    def line(command: str, name: str) -> str:
        rows = (row.strip("│ ") for row in call(command, "--help").stdout.splitlines())
        return next(row for row in rows if re.match(rf"(\* +)?{re.escape(name)}\s", row))

    return line


def flag_of(param: Any) -> str:
    return param.opts[0] if param.opts[0].startswith("-") else param.metavar


@pytest.mark.parametrize(("command", "param"), WITH_VALUE, ids=ids(WITH_VALUE))
def test_the_help_shows_the_default(help_of: Help, command: str, param: Any) -> None:
    shown = help_of(command, flag_of(param))
    if param.required or (command, param.name) in UNSET:
        assert "default" not in shown
    elif param.default is None or isinstance(param.show_default, str):
        assert f"[default: ({param.show_default})]" in shown
    else:
        assert f"[default: {param.default}]" in shown


@pytest.mark.parametrize(("command", "param"), WITH_VALUE, ids=ids(WITH_VALUE))
def test_a_bad_value_exits_2_and_is_repeated(
    call: Call, help_of: Help, command: str, param: Any
) -> None:
    bad = "no!such"
    if (command, param.name) in FOLDERS:  # any name will do, but not below a file
        Path("file").touch()
        bad = "file/below"
    if param.name == "host":
        bad = "no/host"
    given = [] if not flag_of(param).startswith("-") else REQUIRED.get(command, [])
    of_run = command in ("evaluate", "predict", "export", "import")
    if of_run and given == [] and param.name not in ("run", "file"):
        pytest.skip("needs a trained run: see test_cli_use.py and test_cli_export.py")
    named = [param.opts[0]] if flag_of(param).startswith("-") else []
    after = ["image.png"] if command == "predict" else []
    result = call(command, *given, *named, bad, *after)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert bad in result.stderr or param.name == "token"  # which is a secret
    assert not re.search(r"Error|Traceback", result.stderr)
    listed = re.search(r"expected (?:one|some) of ([^;:]*)", result.stderr)
    if listed and param.name not in (
        "model",
        "names",
        "wrt",
        "only",
        "ops",
    ):  # these take other names too
        shown = help_of(command, flag_of(param))
        for name in re.split(r", (?:or )?", listed[1].strip().replace("'", "")):
            assert name in shown


def test_a_default_in_the_help_is_the_one_that_holds(help_of: Help) -> None:
    assert help_of("check", "--examples").endswith(f"[default: ({EXAMPLES})]")
    for name in ("epochs", "batch_size", "optimizer", "lr", "schedule", "augment", "seed"):
        shown = help_of("train", f"--{name.replace('_', '-')}").partition("[default:")[2]
        for settings in (*RECIPES.values(), TrainingSettings()):
            assert str(getattr(settings, name)) in shown


def test_the_exit_codes_are_in_the_help(call: Call) -> None:
    text = " ".join(call("--help").stdout.split())
    assert "Exit codes: 0, success; 1, the work failed" in text
    assert "2, the call was wrong" in text


@pytest.mark.parametrize(
    "command",
    [
        ["check", "own.py"],
        ["draw", "own.py:Net"],
        ["experiment", "own.py"],
        ["train", "--model", "own.py:Net"],
    ],
)
@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("x = 1\ndef (\n", "SyntaxError: invalid syntax"),
        ("\n1 / 0\n", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_file_that_cannot_be_imported_exits_2_with_its_line(
    call: Call, tmp_path: Path, command: list[str], source: str, cause: str
) -> None:
    (tmp_path / "own.py").write_text(source, encoding="utf-8")
    result = call(*command)
    assert result.exit_code == 2
    assert result.stderr == f"error: own.py, line 2: importing it failed: {cause}\n"
