"""A file of the current folder that has the name of a module is not run in its place."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.shadowing import shadow

import tinygrad_cnn

CHILDREN = """
import os, sys
from tinygrad_cnn.bench.process import Worker
from tinygrad_cnn.data import DataLoader
from tinygrad_cnn.support.processes import SAFE_PATH, environment
from multiprocessing import get_context

if __name__ == "__main__":
    batches = list(DataLoader([0.0, 1.0], 2, num_workers=1))
    with Worker("numpy", sys.executable, threads=1) as worker:
        worker.ask("hello")
    process = get_context("spawn").Process(target=os.getcwd)
    with environment(SAFE_PATH):  # as experiments start theirs
        process.start()
    process.join()
    print(len(batches), process.exitcode, SAFE_PATH.keys() & os.environ.keys())
"""


def test_no_process_imports_from_the_current_folder(tmp_path: Path) -> None:
    program, here = tmp_path / "program.py", tmp_path / "here"
    program.write_text(CHILDREN)
    here.mkdir()
    shadow(here)
    root = str(Path(tinygrad_cnn.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, str(program)],  # its own folder is on its path, the current one is not
        cwd=here,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.stdout, done.stderr) == ("1 0 set()\n", "")
