"""Random command lines: each error is one line, with a documented exit code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.command_lines import STATUSES, call, command_line, make_files, without_work
from support.machine import lengthy
from support.readers import bounded


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data, models and runs that the command lines name."""
    make_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("TINYGRAD_CNN_DEBUG", "TINYGRAD_CNN_DATA"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def check(seeds: range) -> None:
    with without_work():
        for seed in seeds:
            words = command_line(seed)
            with bounded():
                status, _, errors = call(words)
            shown = f"seed {seed}: {' '.join(words)[:500]!r} exits {status}: {errors[-500:]}"
            assert status in STATUSES, shown
            lines = [line for line in errors.splitlines() if not line.startswith("warning: ")]
            assert all(line.startswith("error: ") for line in lines), shown
            assert len(lines) == 1 if status == 2 else len(lines) <= status, shown
            assert not re.search(r"Traceback|\(--debug shows where\)", errors), shown


@pytest.mark.usefixtures("folder")
def test_a_random_call_works_or_is_refused_in_one_line() -> None:
    check(range(80))


@lengthy
@pytest.mark.usefixtures("folder")
def test_a_thousand_random_calls_work_or_are_refused_in_one_line() -> None:
    check(range(1_000))
