"""``tinygrad-cnn check``: a table of what was found, and who is to blame."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

import tinygrad_cnn as tg

Call = Callable[..., Result]

SWISH = """
import numpy as np
import tinygrad_cnn as tg

@tg.op(formula="x·σ(x)", elementwise=True)
def swish(x):
    return x / (1 + np.exp(-x))

@swish.derivative("x", formula="g·σ(x)·(1 + x − y)")
def _(g, *, x, y):
    return g * tg.sigmoid(x) * (1 + x - y)

swish.calls(lambda draw, s: draw(s.arrays((3,))))
"""


@pytest.fixture
def file(tmp_path: Path, ops_of_its_own: None) -> Path:
    path = tmp_path / "activations.py"
    path.write_text(SWISH, encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def forget() -> object:
    yield
    sys.modules.pop("activations", None)


def test_ops_are_checked_and_shown_in_a_table(call: Call) -> None:
    result = call("check", "mul", "relu", "--examples", 5)
    assert result.exit_code == 0, result.output
    header, *rows, _, total = result.stdout.splitlines()
    assert header.split() == ["op", "input", "orders", "method", "worst", "error", "examples",
                              "largest", "time"]  # fmt: skip
    assert [row.split()[:5] for row in rows] == [
        ["mul", "a", "1", "to", "2"],
        ["b", "1", "to", "2", "complex"],
        ["relu", "x", "1", "to", "2"],
    ]
    assert total == "2 of 2 ops are correct"


def test_a_file_of_the_users_is_run_and_its_ops_are_checked(call: Call, file: Path) -> None:
    result = call("check", file)
    assert result.exit_code == 0, result.output
    assert "swish  x      1 to 2  central" in result.stdout
    assert result.stdout.endswith("1 of 1 op is correct\n")


def test_a_wrong_op_is_named_with_the_smallest_example(call: Call, file: Path) -> None:
    file.write_text(SWISH.replace("x - y", "x"), encoding="utf-8")
    result = call("check", file, "neg", "--examples", 5)
    assert result.exit_code == 1
    assert "swish breaks “backward is the derivative of the forward”, for x" in result.stdout
    assert "example: swish(x=np.array(" in result.stdout
    assert result.stdout.endswith("1 of 2 ops are correct\n")


def test_an_op_without_calls_is_not_checked_and_not_called_wrong(call: Call, file: Path) -> None:
    undeclared = SWISH.partition("swish.calls(")[0].replace(", elementwise=True", "")
    file.write_text(undeclared, encoding="utf-8")
    result = call("check", file, "neg", "--examples", 5)
    assert result.exit_code == 1
    assert "swish was not checked: it declares no calls; add" in result.stdout
    assert "wrong" not in result.stdout
    assert result.stdout.endswith("1 of 2 ops are correct, 1 not checked\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rely"], "there is no op 'rely'; did you mean relu?"),
        (["zzz"], f"there is no op 'zzz'; expected one of {', '.join(tg.OPS)}"),
        (["nowhere.py"], "nowhere.py: there is no such file"),
        (["empty.py"], "empty.py: registers no op"),
        (["relu", "--examples", "0"], "examples"),
        (["relu", "--seed", "-1"], "'--seed': '-1', expected an integer >= 0"),
    ],
)
def test_what_is_no_op_is_refused(
    call: Call, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "empty.py").write_text("")
    result = call("check", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_without_hypothesis_it_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['hypothesis'] = None; sys.argv[1:] = ['check', 'relu']; "
        "from tinygrad_cnn.cli import main; main()"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=Path(tg.__path__[0]).parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert 'pip install "tinygrad_cnn[check]"' in done.stderr
