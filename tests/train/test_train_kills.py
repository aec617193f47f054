"""A training that is killed again and again ends with the bits of one that is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.machine import lengthy

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(os.name != "posix", reason="forks")
@pytest.mark.parametrize("kills", [6, pytest.param(200, marks=lengthy)])
def test_a_killed_training_ends_with_the_same_bits(kills: int) -> None:
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-m", "support.killing", str(kills), "0"],
        env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{kills} kills, 0 runs that ended otherwise" in done.stdout
