"""Standard streams that are closed, full or of another encoding, in processes of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

posix = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


def run(shell: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a line of the shell, in which $CLI is the command."""
    root = Path(__file__).resolve().parents[2]
    environment = {
        **os.environ,
        "PYTHONPATH": str(root),
        "CLI": f"{sys.executable} -m tinygrad_cnn",
    }
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {shell}"],
        cwd=folder, env={**environment, **variables}, capture_output=True, text=True, check=False,
        encoding="utf-8", errors="replace",
    )  # fmt: skip


@posix
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_output_is_named(tmp_path: Path, unbuffered: str) -> None:
    result = run("$CLI --version > /dev/full", tmp_path, PYTHONUNBUFFERED=unbuffered)
    expected = (1, "error: standard output: No space left on device\n")
    assert (result.returncode, result.stderr) == expected


@posix
def test_a_closed_output_is_quiet(tmp_path: Path) -> None:
    result = run("$CLI --version | true", tmp_path)
    assert (result.returncode, result.stderr) in [(141, ""), (0, "")]  # 0 if all fitted in the pipe


@posix
def test_a_training_whose_output_is_closed_says_what_is_kept(tmp_path: Path, few_file: str) -> None:
    command = f"$CLI train --data {few_file} --model mlp --epochs 200 --out out"
    result = run(f"{command} | head -n 7", tmp_path)
    assert result.returncode == 141
    assert re.fullmatch(
        r"error: the standard output was closed; fit: raised at the end of epoch \d+; out has \d+ "
        r"finished epochs?\n",
        result.stderr,
    )


@posix
def test_closed_streams_do_no_harm(tmp_path: Path, few_file: str) -> None:
    command = f"$CLI train --data {few_file} --model mlp --epochs 1 --out"
    result = run(f"{command} out <&- >&- 2>&-", tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert (tmp_path / "out" / "weights.safetensors").is_file()


@posix
def test_a_terminal_without_unicode_gets_question_marks(tmp_path: Path, few_file: str) -> None:
    command = f"$CLI train --data {few_file} --model mlp --epochs 1"
    result = run(command, tmp_path, PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stderr) == (0, "")
    assert "1 ? 28 ? 28, 10 classes" in result.stdout
