"""``tinygrad-cnn experiment``: what it lists, does, refuses and says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.tiny_experiment import own
from typer.testing import Result

from tinygrad_cnn.experiments.gallery import NAMES

Call = Callable[..., Result]
THREE = """{
    "one": {"factor": 1},
    "two": {"factor": 2, "trouble": "raises"},
    "three": {"factor": 3, "trouble": "lacks"},
}"""


def test_every_experiment_is_listed_with_its_question(call: Call) -> None:
    result = call("experiment", "--list")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert [line.split()[0] for line in lines] == list(NAMES)
    assert all("?  0 of " in line for line in lines)


def test_what_is_missing_is_done_and_the_rest_is_not(call: Call, tmp_path: Path) -> None:
    path = own(tmp_path)
    first = call("experiment", path, "--out", "runs", "--seeds", "1")
    assert first.exit_code == 0
    assert first.output.startswith("3 runs, 0 of them already done; ")
    assert "3/3  tiny: 3 factor, seed 0  took 0:0" in first.output
    second = call("experiment", path, "--out", "runs", "--seeds", "2", "--jobs", "1")
    assert second.output.startswith(
        "6 runs, 3 of them already done; 1 in parallel; results in runs"
    )
    assert "1/3  tiny: 1 factor, seed 1  took 0:0" in second.output
    assert (
        "6 of 6 runs" in call("experiment", path, "--out", "runs", "--seeds", "2", "--list").output
    )


def test_one_variant_alone_is_done(call: Call, tmp_path: Path) -> None:
    path = own(tmp_path)
    result = call("experiment", path, "--out", "runs", "--only", "2 factor", "--only", "3-factor")
    assert result.output.startswith("6 runs, 0 of them already done")
    files = {path.name.partition("--")[0] for path in Path("runs/tiny").iterdir()}
    assert files == {"2-factor", "3-factor"}
    result = call("experiment", path, "--out", "runs", "--only", "4 factor")
    assert result.stderr == (
        "error: experiment: --only is '4 factor', expected one of 1 factor, 2 factor, 3 factor\n"
    )


def test_what_fails_and_what_is_lacking_is_said(call: Call, tmp_path: Path) -> None:
    result = call("experiment", own(tmp_path, THREE), "--out", "runs", "--seeds", "1")
    assert result.exit_code == 1
    assert "tiny: two, seed 0  failed: ArithmeticError: no such luck" in result.output
    assert "tiny: runs skipped: Unavailable: there is no such machine" in result.output
    assert 'raise ArithmeticError("no such luck")' in result.output
    assert "1 of 3 runs failed; run the same command to retry." in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "error: experiment: no NAME given, expected one or more of activations, "),
        (["nonsense"], "error: experiment: name is 'nonsense', expected one of activations, "),
        (["no.py"], "error: no.py: there is no such file"),
        (["activations", "--seeds", "0"], "error: invalid value for '--seeds': '0', expected"),
        (["activations", "--jobs", "0"], "error: invalid value for '--jobs': '0', expected"),
    ],
)
def test_bad_input_is_refused(call: Call, arguments: list[str], message: str) -> None:
    result = call("experiment", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(message)


def test_a_file_without_an_experiment_is_refused(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "empty.py"
    path.write_text("experiment = 1\n", encoding="utf-8")
    result = call("experiment", path)
    assert result.exit_code == 2
    assert "has no Experiment called 'experiment'" in result.stderr


def test_the_page_is_written(call: Call, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra plots")
    path = own(tmp_path)
    call("experiment", path, "--out", "runs", "--seeds", "1")
    Path("docs").mkdir()
    result = call("experiment", path, "--out", "runs", "--seeds", "1", "--write", "docs")
    assert result.exit_code == 0
    assert result.output.splitlines()[0] == "tiny: 3 runs, docs/efficiency/tiny.csv"
    assert "12 rows." in Path("docs/efficiency.md").read_text(encoding="utf-8")
