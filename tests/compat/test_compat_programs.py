"""Programs written for PyTorch give its numbers when only their imports are changed.

`support/programs_recorded.py` recorded what they compute with PyTorch. Where
`TINYGRAD_CNN_PYTHON_TORCH` names an interpreter that has it, whole arrays are compared too.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support import programs_recorded
from support.programs_recorded import (
    COMPAT,
    FLOOR,
    PROGRAMS,
    TOLERANCE,
    difference,
    ported,
    recorded,
    run,
    source,
    summary,
)

import tinygrad_cnn as tg
import tinygrad_cnn.compat.torch as torch

RECORDED = recorded()
PYTHON = os.environ.get("TINYGRAD_CNN_PYTHON_TORCH")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Return what PyTorch computes here and now, whole arrays."""
    if not PYTHON:
        return {}
    file = tmp_path_factory.mktemp("programs") / "whole.npz"
    subprocess.run([PYTHON, programs_recorded.__file__, "--whole", str(file)], check=True)
    return dict(np.load(file))


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_gives_pytorchs_numbers(program: str, whole: dict[str, np.ndarray]) -> None:
    with tg.default_dtype("f8"):
        found = run(program, ported(source(program)), torch)
    expected = RECORDED[program]
    assert list(found) == list(expected)
    far = {}
    for name, (shape, numbers) in expected.items():
        assert list(found[name].shape) == shape, name
        gap = difference(name, found[name], numbers)
        if whole:
            theirs = whole[f"{program}:{name}"]
            norm = max(float(np.linalg.norm(theirs)), FLOOR)
            gap = max(gap, float(np.linalg.norm(found[name] - theirs)) / norm)
        if not gap <= TOLERANCE:
            far[name] = gap
    assert not far


def test_only_lines_of_imports_change() -> None:
    for program in PROGRAMS:
        text = source(program)
        before, after = text.splitlines(), ported(text).splitlines()
        changed = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
        assert changed, program
        for old, new in changed:
            assert old.split()[0] in ("import", "from")
            assert COMPAT in new
        assert "tinygrad" not in text


def test_a_summary_finds_a_change_of_any_kind() -> None:
    value = np.random.default_rng(0).normal(size=(3, 4))
    numbers = summary("w", value)
    assert difference("w", value, numbers) == 0.0
    changed = value.copy()
    changed[1, 2] += 1e-8
    for other in (changed, value[::-1], -value, value * (1.0 + 1e-8)):
        assert difference("w", np.ascontiguousarray(other), numbers) > TOLERANCE


def test_the_recorded_programs_are_the_folders() -> None:
    assert sorted(RECORDED) == PROGRAMS
    assert Path(programs_recorded.FILE).stat().st_size < 300_000
