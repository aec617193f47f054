"""The command line as a process: help, version, what it imports, signals."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.cli_results import ok
from typer.testing import Result

from tinygrad_cnn.train import History, load_run

Call = Callable[..., Result]


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
